import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import { World } from '../support/start-proxy.js';

/** Ways to show a condition something else than the service behind will read. */

const PRINCIPALS = 'principals: ["spiffe://a.test/web"], destinations: [r1]';
const READ = `version: 1
default: deny
reads: { headers: [x-region], query: [dry_run] }
rules:
  - { id: admin, effect: allow, principals: ["spiffe://a.test/admin"], destinations: [r1] }
  - { id: eu, effect: allow, ${PRINCIPALS}, methods: [GET], when: 'request.headers["x-region"] == "eu"' }
  - { id: dry, effect: allow, ${PRINCIPALS}, methods: [OPTIONS], when: 'request.query["dry_run"] == "true"' }
  - { id: all, effect: allow, ${PRINCIPALS}, methods: [DELETE] }
  - { id: not-us, effect: deny, ${PRINCIPALS}, methods: [DELETE], when: '"x-region" in request.headers && request.headers["x-region"] == "us"' }
`;

async function start(t: Test, policy = READ): Promise<World> {
  const world = await World.start({ policy });
  t.teardown(() => world.close());
  return world;
}

const askOf = (method: string, target: string, ...lines: readonly string[]): string =>
  `${method} ${target} HTTP/1.1\r\nHost: svc.test\r\n${lines.map((line) => `${line}\r\n`).join('')}\r\n`;

t.test('a header in another spelling, which a lax service takes for it, decides nothing', async (t) => {
  const world = await start(t);
  const client = await world.client();
  const asked: readonly (readonly [string, number, string])[] = [
    [askOf('GET', '/public/a', 'X-Region: eu'), 200, 'eu'],
    [askOf('GET', '/public/a', 'X-Region: eu', 'X_Region: us'), 403, 'default'],
    [askOf('GET', '/public/a', 'X_Region: us', 'X-Region: eu'), 403, 'default'],
    [askOf('GET', '/public/a', 'X-Region: eu', 'x.region: us'), 403, 'default'],
    [askOf('GET', '/public/a', 'X_Region: eu'), 403, 'default'],
    [askOf('GET', '/public/a', 'X-Region: eu', 'X-Region: us'), 403, 'default'],
    [askOf('DELETE', '/public/a', 'X_Region: us'), 403, 'not-us'],
    [askOf('DELETE', '/public/a', 'x-region: eu', 'X_REGION: us'), 403, 'not-us'],
  ];
  for (const [bytes, status] of asked) t.equal((await client.ask(bytes))[0]?.status, status, bytes);
  const records = await world.untilRecords(asked.length);
  t.same(
    records.map(({ decision }) => decision.rule),
    asked.map(([, , rule]) => rule),
  );
  t.match(records[1], {
    decision: { conditionErrors: [{ rule: 'eu', error: 'header x-region is there in another spelling' }] },
  });
  t.notOk('x-region' in records[1]!.request.headers, 'whoever replays it cannot tell it either');
  t.equal(world.upstream.requests.length, 1);
  await holdInvariants(t, world);
});

t.test(
  'a query parameter behind a semicolon, or spelt as a lax service takes it, decides nothing',
  async (t) => {
    const world = await start(t);
    const client = await world.client();
    const asked: readonly (readonly [string, number])[] = [
      ['?dry_run=true', 200],
      ['?a=b;c&dry_run=true', 200],
      ['?dry_run=true;dry_run=false', 403],
      ['?dry_run=true&a;dry_run=false', 403],
      ['?dry_run=true&DRY_RUN=false', 403],
      ['?dry_run=true&dry_run[]=false', 403],
      ['?dry_run=true&%20dry_run=false', 403],
    ];
    for (const [query, status] of asked)
      t.equal((await client.ask(askOf('OPTIONS', `/public/a${query}`)))[0]?.status, status, query);
    t.equal(world.upstream.requests.length, 2);
  },
);

t.test(
  'a caller cannot make a record long, or slow to make, by leaving out what a thousand rules read',
  async (t) => {
    const rules = Array.from(
      { length: 1000 },
      (_, i) =>
        `  - { id: r-${i}, effect: allow, ${PRINCIPALS}, when: 'request.headers["x-region"] == "z${i}"' }\n`,
    );
    const world = await start(
      t,
      `version: 1\ndefault: deny\nreads: { headers: [x-region] }\nrules:\n${rules.join('')}`,
    );
    const client = await world.client();
    t.equal((await client.ask(askOf('GET', '/public/a')))[0]?.status, 403);
    const [record] = await world.untilRecords(1);
    t.equal(record?.decision.conditionErrors.length, 16, 'the first say enough');
    t.match(record?.decision.conditionErrors[0], { rule: 'r-0', error: /absent/ });
  },
);

t.test('a name that every object has is recorded like any other', async (t) => {
  const world = await start(t, READ.replace('[dry_run]', '[dry_run, __proto__]'));
  const client = await world.client();
  t.equal((await client.ask(askOf('OPTIONS', '/public/a?dry_run=true&__proto__=x')))[0]?.status, 200);
  const [record] = await world.untilRecords(1);
  t.same(Object.entries(record?.request.query), [
    ['dry_run', 'true'],
    ['__proto__', 'x'],
  ]);
});
