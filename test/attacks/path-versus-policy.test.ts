import fc from 'fast-check';
import t, { type Test } from 'tap';
import { isBlocked, statusesOf } from '../support/blocked.js';
import { holdInvariants, readingsOf } from '../support/invariants.js';
import { World, waitFor } from '../support/start-proxy.js';

async function start(t: Test, options: Parameters<typeof World.start>[0] = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

const get = (target: string): string => `GET ${target} HTTP/1.1\r\nHost: svc.test\r\n\r\n`;

const AMBIGUOUS = [
  '/public/../admin/x',
  '/public/./../admin/x',
  '/public/..',
  '/public/.',
  '/public/%2e%2e/admin/x',
  '/public/%2E%2e/admin/x',
  '/public/.%2e/admin/x',
  '/public/..%2fadmin/x',
  '/public/..%2Fadmin/x',
  '/public/%2e%2e%2fadmin/x',
  '/public%2f..%2fadmin/x',
  '/public/..%252fadmin/x',
  '/public/%252e%252e/admin/x',
  '/public/..%255cadmin/x',
  '/public/..%25252fadmin/x',
  '//admin/x',
  '///admin/x',
  '/public//../admin/x',
  '/public//a',
  '/public\\..\\admin\\x',
  '/public\\a',
  '/public/..\\admin/x',
  '/public/%5c..%5cadmin/x',
  '/admin;v=1/x',
  '/public/..;/admin/x',
  '/public/..;v=1/admin/x',
  '/public/;/../admin/x',
  '/public/a;b',
  '/public/..%3b/admin/x',
  '/admin%00.png',
  '/public/%00/../admin/x',
  '/public/a%00',
  '/public/%0d%0aX:%20y',
  '/public/a%0a',
  '/public/%7f',
  '/public/%c0%ae%c0%ae/admin/x',
  '/public/%c0%af../admin',
  '/public/%e0%80%af',
  '/public/%ff',
  '/public/%ed%a0%80',
  '/public/%',
  '/public/%2',
  '/public/%zz',
  '/public/%u002e%u002e/admin/x',
  '/public/%ef%bc%8e%ef%bc%8e%ef%bc%8fadmin/x',
  '/public/..%20/admin/x',
  '/public/%20../admin/x',
  '/%70ublic/a',
  '/public/%61',
  '/public/<x>',
  '/public/"x"',
  '/public/{x}',
  '/public/a|b',
  '/public/a^b',
  '/public/`',
] as const;

t.test('P043-P052 a path that two servers might read differently is 400 and goes nowhere', async (t) => {
  const world = await start(t);
  for (const target of AMBIGUOUS) {
    // a target the parser itself will not have is request_malformed
    await isBlocked(t, world, get(target), { reason: ['path_ambiguous', 'request_malformed'], status: 400 });
  }
  for (const target of [
    '/public/#/../admin/x',
    '/public/a#b',
    '#',
    'admin/x',
    '*',
    '?x',
    'public',
    '\\admin',
    '%2fadmin',
  ]) {
    await isBlocked(t, world, get(target), {
      reason: ['path_ambiguous', 'target_malformed', 'request_malformed'],
      status: 400,
    });
  }
  await holdInvariants(t, world);
});

t.test('P050, P053 a prefix ends at a segment and case matters', async (t) => {
  const world = await start(t);
  for (const [target, reason] of [
    ['/ADMIN/x', 'route_not_found'],
    ['/Admin/x', 'route_not_found'],
    ['/admin', 'no_rule_matched'],
    ['/admin/', 'no_rule_matched'],
    ['/administrator', 'route_not_found'],
    ['/publicity', 'route_not_found'],
    ['/public-x/a', 'route_not_found'],
    ['/PUBLIC/a', 'route_not_found'],
    ['/upload/', 'route_not_found'],
    ['/uploads', 'route_not_found'],
    ['/', 'route_not_found'],
    ['/.well-known/x', 'route_not_found'],
    ['/...', 'route_not_found'],
    ['/livez', 'route_not_found'],
    ['/metrics', 'route_not_found'],
    ['/snapshot', 'route_not_found'],
  ] as const) {
    await isBlocked(t, world, get(target), { reason, status: [403, 404] });
  }
  await holdInvariants(t, world);
});

t.test('P054 what is let through arrives octet for octet', async (t) => {
  const world = await start(t);
  const client = await world.client();
  const targets = [
    '/public/a?/../admin/x',
    '/public/a?x=%2e%2e%2fadmin&y=%00&&=;\\"<>',
    '/public/a??',
    '/public/a?',
    '/public/',
    '/public',
    '/public/a%20b',
    '/public/caf%C3%A9',
    '/public/caf%c3%a9',
    '/public/...',
    '/public/..a',
    '/public/a..',
    "/public/a:b@c!$&'()*+,=~_-.",
    '/public/100%25',
  ];
  for (const target of targets) {
    const [answer] = await client.ask(get(target));
    t.equal(answer?.status, 200, target);
    t.equal(world.upstream.requests.at(-1)?.target, target);
  }
  const records = await world.untilRecords(targets.length);
  t.same(
    records.map(({ request }) => request.path),
    targets.map((target) => target.split('?')[0]),
    'the record holds the path that was judged, and no query',
  );
  await holdInvariants(t, world);
});

t.test('absolute-form is judged and forwarded as the origin-form it means', async (t) => {
  const world = await start(t);
  const client = await world.client();
  for (const target of [
    'http://svc.test/public/a?q',
    'https://svc.test/public/a?q',
    'HTTP://SVC.TEST/public/a?q',
  ]) {
    const [answer] = await client.ask(get(target));
    t.equal(answer?.status, 200, target);
    t.equal(world.upstream.requests.at(-1)?.target, '/public/a?q');
    t.equal(world.upstream.requests.at(-1)?.header('host'), 'svc.test');
  }
  await world.untilRecords(3);
  for (const target of [
    'http://svc.test/public/../admin/x',
    'http://svc.test//admin/x',
    'http://svc.test\\admin/x',
    'http://svc.test@locked.test/x',
    'http://locked.test@svc.test/public/a',
    'http://svc.test:443/public/a',
    'http:///public/a',
    'http:/public/a',
    'ftp://svc.test/public/a',
    'javascript:alert(1)',
    'http://svc.test',
    'http://svc.test?/public/a',
    'http://svc.test#/public/a',
  ]) {
    await isBlocked(t, world, get(target), {
      reason: [
        'path_ambiguous',
        'target_malformed',
        'host_malformed',
        'request_malformed',
        'route_not_found',
      ],
    });
  }
  await holdInvariants(t, world);
});

t.test(
  'an encoded slash crosses only where its route allows it, and only if both readings are allowed',
  async (t) => {
    const routes = `
      - { name: r1, host: svc.test, path: /public/**, upstream: u, encodedSlash: allow }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u }`;
    const policy = `version: 1
default: deny
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/**"], destinations: [r1] }
  - { id: secret, effect: deny, principals: ["spiffe://a.test/web"], destinations: [r1], paths: ["/public/secret/**"] }
`;
    const world = await start(t, { routes, policy });
    const client = await world.client();
    const [answer] = await client.ask(get('/public/a%2Fb%2fc'));
    t.equal(answer?.status, 200);
    t.equal(world.upstream.requests.at(-1)?.target, '/public/a%2Fb%2fc');
    await world.untilRecords(1);
    for (const target of ['/public/secret%2fx', '/public/secret%2F', '/public/secret/a%2fb']) {
      await isBlocked(t, world, get(target), { reason: 'policy_denied', status: 403 });
    }
    for (const target of [
      '/public/..%2fadmin/x',
      '/public/a%2f..%2f..%2fadmin',
      '/public%2f%2fa',
      '/public/a%252fb',
    ]) {
      await isBlocked(t, world, get(target), { reason: 'path_ambiguous', status: 400 });
    }
    await holdInvariants(t, world);
  },
);

const TOKENS = ['/', '.', '..', '%2f', '%2e', '%5c', '%25', ';', '\\', '?', '#', 'a', 'A', 'admin', 'public'];
const target: fc.Arbitrary<string> = fc
  .array(fc.constantFrom(...TOKENS), { minLength: 1, maxLength: 10 })
  .chain((tokens) =>
    fc.constantFrom(`/${tokens.join('')}`, `/public/${tokens.join('')}`, `/public/${tokens.join('/')}`),
  );

t.test(
  'P055 of 2,000 pipelined targets each is judged alone and none reads as /admin at the upstream',
  async (t) => {
    const world = await start(t);
    const targets = fc.sample(target, { numRuns: 2000, seed: 20_261_122 });
    let client = await world.client();
    let answered = 0;
    // Some of the refusals close the connection: the rest of the batch is sent again on the next one.
    while (answered < targets.length) {
      const batch = targets.slice(answered, answered + 100);
      client.send(batch.map(get).join(''));
      await client.until(() => statusesOf(client).length >= batch.length);
      answered += statusesOf(client).length;
      client.destroy();
      client = await world.client();
    }
    t.equal(answered, targets.length);
    const crossed = world.upstream.requests.map((request) => request.target);
    t.ok(crossed.length > 100, `${crossed.length} crossed`);
    const asked = new Set(targets);
    t.same(
      crossed.filter((path) => !asked.has(path)),
      [],
      'what crossed is octet for octet what was asked',
    );
    t.same(
      crossed.filter((path) => readingsOf(path).some((reading) => /^\/admin(\/|$)/.test(reading))),
      [],
    );
    await waitFor(() => world.exchanges.length >= answered);
    t.equal(world.exchanges.length, answered, 'one record a request');
    await holdInvariants(t, world);
  },
);
