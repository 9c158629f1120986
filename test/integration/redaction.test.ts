import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { World } from '../support/start-proxy.js';

const TEMPLATES = 'pathTemplates: ["/public/{id}", "/public/summary", "/public/{id}/lines/*", "/upload/**"]';
const SECRET = 'jane-doe-1979';

async function start(t: Test, audit: string): Promise<World> {
  const world = await World.start({ audit: `audit.ndjson, ${audit}` });
  t.teardown(() => world.close());
  return world;
}

const textOf = (world: World): string => readFileSync(`${world.dir}/audit.ndjson`, 'utf8');

t.test(
  'a template is recorded in place of the path, of several the most specific, and the record says so',
  async (t) => {
    const world = await start(t, TEMPLATES);
    const asked: readonly (readonly [string, string])[] = [
      [`/public/${SECRET}`, '/public/{id}'],
      ['/public/summary', '/public/summary'],
      [`/public/${SECRET}/lines/9?q=${SECRET}`, '/public/{id}/lines/*'],
      [`/public/${SECRET}/other`, '/**'],
      [`/public/${SECRET}/`, '/**'],
      [`/no-route/${SECRET}`, '/**'],
      [`/upload/${SECRET}/x/y`, '/upload/**'],
    ];
    for (const [path] of asked)
      await (await world.client()).ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\nConnection: close\r\n\r\n`);
    const records = await world.untilRecords(asked.length);
    t.same(
      records.map(({ request }) => request.path),
      asked.map(([, path]) => path),
    );
    t.ok(records.every(({ request }) => request.redacted === true && request.truncated === undefined));
    t.match(
      world.upstream.bytes,
      `/public/${SECRET}/lines/9?q=${SECRET}`,
      'the service gets the path itself',
    );
    t.notMatch(textOf(world), SECRET);
  },
);

t.test(
  'the path of a request that was refused as malformed or ambiguous is not recorded either',
  async (t) => {
    const world = await start(t, TEMPLATES);
    const heads = [
      `GET /public/${SECRET}/../x HTTP/1.1\r\nHost: svc.test`,
      `GET /public//${SECRET} HTTP/1.1\r\nHost: svc.test`,
      `GET /public/%zz${SECRET} HTTP/1.1\r\nHost: svc.test`,
      `GET http://svc.test/${SECRET}/%2e%2e HTTP/1.1\r\nHost: svc.test`,
      `GET ${SECRET} HTTP/1.1\r\nHost: svc.test`,
      `CONNECT ${SECRET}:443 HTTP/1.1\r\nHost: svc.test`,
      `GET /public/${'x'.repeat(9000)}${SECRET} HTTP/1.1\r\nHost: svc.test`,
      `GET /public/${SECRET} HTTP/1.1\r\nHost: a\r\nHost: b`,
      `BREW /public/${SECRET} HTTP/1.1\r\nHost: svc.test`,
      `GET /public/${SECRET} HTTP/1.1\r\nHost: svc.test\r\nBad Name: x`,
    ];
    for (const head of heads) {
      const client = await world.client();
      client.send(`${head}\r\nConnection: close\r\n\r\n`);
    }
    const records = await world.untilRecords(heads.length);
    for (const { request } of records)
      t.ok(request.path === undefined || request.redacted === true, JSON.stringify(request));
    t.notMatch(textOf(world), SECRET);
    t.notMatch(JSON.stringify(world.diagnostics), SECRET);
  },
);

t.test(
  'named headers and query parameters are recorded with their values, and nothing else of them',
  async (t) => {
    const world = await start(t, 'headers: [x-tenant, user-agent], query: [page]');
    const client = await world.client();
    await client.ask(
      `GET /public/a?page=2&name=${SECRET} HTTP/1.1\r\nHost: svc.test\r\nX-Tenant: blue\r\nX-Tenant: green\r\nX-Other: ${SECRET}\r\n\r\n`,
    );
    const [record] = await world.untilRecords(1);
    t.same(record?.request.headers, { 'x-tenant': 'blue, green', 'user-agent': null });
    t.same(record?.request.query, { page: '2' });
    t.equal(record?.request.path, '/public/a');
    t.equal(record?.request.redacted, undefined);
    t.notMatch(textOf(world), SECRET);
  },
);

t.test('a value that two servers could read in two ways is in no record, and stops no request', async (t) => {
  const world = await start(t, 'headers: [x-tenant], query: [page]');
  const client = await world.client();
  const [answer] = await client.ask(
    'GET /public/a?page=1&page=2 HTTP/1.1\r\nHost: svc.test\r\nX_Tenant: blue\r\n\r\n',
  );
  t.equal(answer?.status, 200, 'nothing was decided by it');
  const [record] = await world.untilRecords(1);
  t.same(record?.request.headers, {});
  t.same(record?.request.query, {});
});

t.test('what is recorded changes with a reload, from the next request on', async (t) => {
  const world = await start(t, 'headers: [x-a]');
  const client = await world.client();
  const get = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\nX-A: 1\r\nX-B: 2\r\n\r\n';
  await client.ask(get);
  const before = (await world.snapshot()).sequence;
  world.replace(
    'countersign.yaml',
    world.configText({ audit: 'audit.ndjson, headers: [x-b], pathTemplates: ["/public/{name}"]' }),
  );
  await world.app.reload();
  await world.untilSnapshot(({ sequence }) => sequence !== before || before === undefined);
  client.received = '';
  await client.ask(get);
  const records = await world.untilRecords(2);
  t.match(records[0]?.request, { path: '/public/a', headers: { 'x-a': '1' } });
  t.match(records[1]?.request, { path: '/public/{name}', headers: { 'x-b': '2' }, redacted: true });
  t.equal(records[1]?.request.headers['x-a'], undefined);
  const [diagnosed] = world.diagnostics.filter(({ message }) => /restart/.test(message));
  t.equal(diagnosed, undefined, 'no restart is asked for');
});

t.test(
  'names that look like credentials, and headers that never cross, are refused where they stand',
  async (t) => {
    const wrong: readonly (readonly [string, RegExp])[] = [
      [
        'headers: [authorization]',
        /audit\.headers\[0\]: never crosses|audit\.headers\[0\]: looks like a credential/,
      ],
      ['headers: [x-api-key]', /audit\.headers\[0\]: looks like a credential, and records must not hold one/],
      ['headers: [x-tenant, cookie]', /audit\.headers\[1\]: looks like a credential/],
      ['headers: [X-Tenant]', /audit\.headers\[0\]: is written in lower case: x-tenant/],
      [
        'headers: [x-spiffe-id]',
        /audit\.headers\[0\]: never crosses as the client sent it, so it says nothing/,
      ],
      ['headers: [ocp-apim-subscription-key]', /audit\.headers\[0\]: looks like a credential/],
      ['query: [accessKey]', /audit\.query\[0\]: looks like a credential/],
      ['query: [api_key]', /audit\.query\[0\]: looks like a credential/],
      ['query: [access_token]', /audit\.query\[0\]: looks like a credential/],
      ['query: [page, sig]', /audit\.query\[1\]: looks like a credential/],
      ['query: [X-Amz-Signature]', /audit\.query\[0\]: looks like a credential/],
      ['pathTemplates: ["/a/{id"]', /audit\.pathTemplates\[0\]: "\{id": a \{name\}/],
      ['pathTemplates: ["/a/x{id}"]', /stands for a whole segment/],
      ['pathTemplates: ["a/{id}"]', /must begin with \//],
      ['pathTemplates: ["/a/../{id}"]', /such paths are refused/],
      [
        'pathTemplates: ["/a/{x}", "/b", "/a/{y}"]',
        /audit\.pathTemplates\[2\]: fits the same paths as pathTemplates\[0\]/,
      ],
    ];
    for (const [audit, message] of wrong)
      await t.rejects(World.start({ audit: `audit.ndjson, ${audit}` }), { message }, audit);
    await start(t, 'headers: [idempotency-key, x-partition-key, user-agent], query: [sort_key, state, page]');
  },
);
