import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { runReplay } from '../../src/cli/replay.js';
import type { Svid } from '../support/pki.js';
import type { RawClient } from '../support/raw-client.js';
import { answerOk } from '../support/recorder-upstream.js';
import { recordText } from '../support/records.js';
import { MAIN, ProcessWorld } from '../support/run-process.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const ACCEPT = createHash('sha1').update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: ${KEY}\r\nSec-WebSocket-Version: 13\r\n`;
const SWITCH = `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${ACCEPT}\r\n\r\n`;

const ROUTES = `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u }
      - { name: r4, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }
      - { name: r6, host: svc.test, path: /files/**, upstream: u, encodedSlash: allow }
      - { name: r5, host: locked.test, path: /**, upstream: u }`;
const POLICY = `version: 1
default: deny
reads: { headers: [x-region], query: [dry_run] }
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/**", "spiffe://b.test/**"], destinations: [r1], methods: [GET, HEAD, POST] }
  - { id: no-secrets, effect: deny, principals: ["spiffe://a.test/**"], destinations: [u], paths: ["/*/secret/**"] }
  - { id: admin-eu, effect: allow, principals: ["spiffe://a.test/*"], destinations: [r2], when: 'request.headers["x-region"] == "eu"' }
  - { id: dry, effect: allow, principals: ["spiffe://b.test/**"], destinations: [u], when: 'request.query["dry_run"] == "1" && credential.remaining > duration("1m") && !connection.resumed' }
  - { id: ws, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r4] }
  - { id: files, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r6], paths: ["/files/*", "/files/a/b"] }
`;
const REGISTRY = `version: 1
unregistered: deny
identities:
  - { id: "spiffe://a.test/**", owner: team-a, environment: prod }
  - { id: "spiffe://b.test/web", owner: team-b }
`;

/** One request of a generated mix, and who sends it. */
interface Asked {
  readonly who: 'web' | 'admin' | 'bweb' | 'stranger';
  readonly bytes: string;
  readonly upgrades: boolean;
}

const lineOf = (name: string, value: string | undefined): string =>
  value === undefined ? '' : `${name}: ${value}\r\n`;

const mix: fc.Arbitrary<Asked> = fc
  .record({
    who: fc.constantFrom('web' as const, 'admin' as const, 'bweb' as const, 'stranger' as const),
    method: fc.constantFrom('GET', 'POST', 'DELETE'),
    host: fc.constantFrom('svc.test', 'svc.test', 'svc.test', 'SVC.test:443', 'locked.test', 'other.test'),
    path: fc.constantFrom(
      '/public/a',
      '/public/SECRET/b',
      '/public/%20',
      '/public/../admin/x',
      '/admin/x',
      '/admin/x%2Fy',
      '/files/a%2Fb',
      '/files/a%2Fc',
      '/nowhere',
      '/ws',
      '/ws',
    ),
    query: fc.constantFrom('', '?dry_run=1', '?dry_run=0', '?dry_run=1&token=hidden'),
    region: fc.constantFrom(undefined, 'eu', 'us'),
    upgrades: fc.boolean(),
  })
  .map(({ who, method, host, path, query, region, upgrades }) => {
    // Where no route was found, its record does not say what it wanted to become.
    const asks = upgrades && path === '/ws' && host !== 'other.test';
    const head = `${asks ? 'GET' : method} ${path}${query} HTTP/1.1\r\n${lineOf('Host', host)}${lineOf('X-Region', region)}`;
    return { who, bytes: `${head}${asks ? UPGRADE : ''}\r\n`, upgrades: asks };
  });

const generated = (): readonly Asked[] => fc.sample(mix, { numRuns: 200, seed: 4 });

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({
    routes: ROUTES,
    policy: POLICY,
    extra: 'registry: registry.yaml',
    files: { 'registry.yaml': REGISTRY },
    ...options,
  });
  world.upstream.respond = (connection, fresh) => {
    if (/^upgrade: websocket/im.test(fresh)) connection.socket.write(SWITCH);
    else answerOk(connection);
  };
  t.teardown(() => world.close());
  return world;
}

/** Sends them one after another, on one connection of each identity as long as it stays; their records, in order. */
async function send(world: World, asked: readonly Asked[]): Promise<readonly ReadRecord[]> {
  const stranger = await world.caB.issue('spiffe://b.test/stranger');
  const { web, admin, bweb } = world;
  const identities: Readonly<Record<Asked['who'], Svid>> = { web, admin, bweb, stranger };
  const open = new Map<string, RawClient>();
  const before = requestsIn(world).length;
  for (const { who, bytes, upgrades } of asked) {
    const client = (upgrades ? undefined : open.get(who)) ?? (await world.client(identities[who]));
    client.received = '';
    const [answer] = await client.ask(bytes);
    if (upgrades) client.destroy();
    else if (answer?.headers.connection === 'close') open.delete(who);
    else open.set(who, client);
  }
  for (const client of open.values()) client.destroy();
  const all = asked.length + before;
  await waitFor(
    () => requestsIn(world).length === all,
    10_000,
    () => `${requestsIn(world).length} of ${all} records`,
  );
  return requestsIn(world).slice(before);
}

/** One of each request: that of its start, where it has two. */
const requestsIn = (world: World): ReadRecord[] =>
  world.records
    .filter(({ event, phase }) => event === 'access' && phase !== 'end')
    .sort((a, b) => (a.id < b.id ? -1 : 1)); // as they began: they are written as they end

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly json: ReadRecord;
}

async function replay(world: World, ...args: readonly string[]): Promise<Ran> {
  let [out, err] = ['', ''];
  const io = {
    stdout: (text: string) => {
      out += text;
    },
    stderr: (text: string) => {
      err += text;
    },
    env: {},
    cwd: world.dir,
  };
  const code = await runReplay(args, io);
  if (err !== '') throw new Error(err);
  return { code, out, json: out.startsWith('{') ? JSON.parse(out) : {} };
}

const answerOf = ({ decision }: ReadRecord): string =>
  decision.effect === 'allow' ? 'allow' : `deny ${decision.reason}`;

t.test(
  'under the configuration that they were recorded under no answer changes, and no rule either',
  async (t) => {
    const world = await start(t);
    const records = await send(world, generated());
    const kinds = new Set(records.map(({ decision }) => `${decision.reason} ${decision.rule}`));
    for (const kind of [
      'rule_allowed public',
      'rule_allowed admin-eu',
      'rule_allowed dry',
      'rule_allowed ws',
      'rule_allowed files',
      'policy_denied no-secrets',
      'no_rule_matched default',
      'identity_unregistered registry',
      'route_not_found undefined',
      'path_ambiguous undefined',
      'misdirected_request undefined',
    ])
      t.ok(kinds.has(kind), kind);
    const { code, json } = await replay(
      world,
      '-c',
      'countersign.yaml',
      '--audit',
      'audit.ndjson',
      '--all',
      '--json',
    );
    t.same(json.groups, []);
    t.equal(code, 0);
    t.equal(json.requests, 200);
    t.equal(json.unchanged, json.judged);
    t.ok(json.judged > 120, `${json.judged} judged`);
  },
);

/** Another configuration, piece by piece; each lets some in and keeps others out. */
const CHANGES: readonly (readonly [string, (world: World) => void])[] = [
  [
    'other rules',
    (world) =>
      world.replace(
        'policy.yaml',
        POLICY.replace('methods: [GET, HEAD, POST]', 'methods: [DELETE]')
          .replace(
            'when: \'request.headers["x-region"] == "eu"\'',
            'when: \'request.headers["x-region"] != "eu"\'',
          )
          .replace(
            '["spiffe://a.test/web"], destinations: [r4]',
            '["spiffe://a.test/admin"], destinations: [r4]',
          )
          .replace('"/files/a/b"', '"/files/a/c"'),
      ),
  ],
  [
    'other routes',
    (world) =>
      world.replace(
        'countersign.yaml',
        world
          .configText({ routes: ROUTES, extra: 'registry: registry.yaml' })
          .replace('host: svc.test, path: /public/**', 'path: /**')
          .replace('path: /admin/**, upstream: u', 'path: /admin/**, upstream: u, encodedSlash: allow')
          .replace(', upgrade: [websocket]', ''),
      ),
  ],
  [
    'another registry',
    (world) => world.replace('registry.yaml', REGISTRY.replace('b.test/web', 'b.test/stranger')),
  ],
];

for (const [name, change] of CHANGES) {
  t.test(
    `${name}: what replay says of the recorded requests is what the sidecar answers to the same ones`,
    async (t) => {
      const world = await start(t);
      const asked = generated();
      const then = await send(world, asked);
      writeFileSync(join(world.dir, 'then.ndjson'), readFileSync(join(world.dir, 'audit.ndjson')));
      const { sequence } = await world.snapshot();
      change(world);
      await world.untilSnapshot((snapshot) => snapshot.sequence > sequence);
      const now = await send(world, asked);
      const expected = then.flatMap((record, i) =>
        record.decision.effect === now[i]!.decision.effect
          ? []
          : [`${record.principal.id} ${answerOf(record)} -> ${answerOf(now[i]!)}`],
      );
      const { code, json } = await replay(
        world,
        '-c',
        'countersign.yaml',
        '--audit',
        'then.ndjson',
        '--json',
      );
      t.equal(code, 1);
      const { deny_to_allow: more, allow_to_deny: fewer } = json.changed;
      t.ok(more > 0 && fewer > 0, JSON.stringify(json.changed));
      for (const { was, now: is, identity, requests, unknown } of json.groups) {
        // Records hold what conditions read where policy was asked.
        if (is === undefined)
          t.match([was.reason, unknown], [/^(route_not_found|path_ambiguous)$/, /^request\./]);
        const change = is && `${identity} ${answerOf({ decision: was })} -> ${answerOf({ decision: is })}`;
        for (let i = 0; change !== undefined && i < requests; i++) takeOne(t, expected, change);
      }
      for (const left of expected)
        t.match(left, / deny (route_not_found|path_ambiguous) -> /, 'cannot be told');
      t.ok(expected.length <= json.changed.undecidable);
    },
  );
}

function takeOne(t: Test, from: string[], text: string): void {
  const index = from.indexOf(text);
  t.ok(index >= 0, text);
  from.splice(index, 1);
}

t.test(
  'a header that the records do not hold makes undecidable what hangs on it, and nothing else',
  async (t) => {
    const world = await start(t, {
      policy: POLICY.replace('headers: [x-region]', 'headers: [x-region, x-team]'),
    });
    await send(world, [
      { who: 'web', bytes: GET, upgrades: false },
      { who: 'web', bytes: GET.replace('\r\n\r\n', '\r\nX-Team: a\r\n\r\n'), upgrades: false },
      { who: 'bweb', bytes: GET, upgrades: false },
    ]);
    const rule = (header: string): string =>
      `rules:\n  - { id: team, effect: deny, principals: ["spiffe://a.test/**"], destinations: [r1], when: '!("${header}" in request.headers)' }\n`;
    const policyOf = (header: string): string =>
      POLICY.replace('headers: [x-region]', `headers: [x-region, ${header}]`).replace(
        'rules:\n',
        rule(header),
      );
    world.write('new.yaml', world.configText({ routes: ROUTES }).replace('policy.yaml', 'new-policy.yaml'));
    world.write('new-policy.yaml', policyOf('x-team'));
    const known = await replay(world, '-c', 'new.yaml', '--audit', 'audit.ndjson', '--json');
    t.match(known.json, { changed: { allow_to_deny: 1, undecidable: 0 }, unchanged: 2 });
    world.write('new-policy.yaml', policyOf('x-squad'));
    const unknown = await replay(world, '-c', 'new.yaml', '--audit', 'audit.ndjson', '--json');
    t.equal(unknown.code, 1);
    t.match(unknown.json, { changed: { allow_to_deny: 0, undecidable: 2 }, unchanged: 1 });
    t.match(unknown.json.groups, [
      { identity: world.web.uri, unknown: /request\.headers.*x-squad/, requests: 2 },
    ]);
  },
);

t.test('the files of several workers, rotated and compressed ones too, are read as one', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const { world } = proxy;
  const ask = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) t.equal((await (await proxy.client()).ask(GET))[0]?.status, 200);
  };
  await ask(6);
  await waitFor(() => proxy.accesses.length === 6);
  const rotated = join(world.dir, 'audit.ndjson.1');
  renameSync(join(world.dir, 'audit.ndjson'), rotated);
  await ask(4); // each worker begins the new file in its own time
  const accesses = (file: string): number =>
    existsSync(file) ? readFileSync(file, 'utf8').split('"event":"access"').length - 1 : 0;
  const all = (): number => accesses(rotated) + accesses(join(world.dir, 'audit.ndjson'));
  await waitFor(() => all() === 10 && existsSync(join(world.dir, 'audit.ndjson')));
  writeFileSync(`${rotated}.gz`, gzipSync(readFileSync(rotated)));
  const files = ['--audit', 'audit.ndjson.1.gz', 'audit.ndjson'];
  const same = await replay(world, '-c', 'countersign.yaml', ...files, '--json');
  t.equal(same.code, 0);
  t.match(same.json, { judged: 10, unchanged: 10 });
  world.write('policy.yaml', 'version: 1\ndefault: deny\nrules: []\n');
  const none = await replay(world, '-c', 'countersign.yaml', ...files);
  t.equal(none.code, 1);
  t.match(none.out, 'allowed then, refused now: 10 requests\n  spiffe://a.test/web to u, 10 requests\n');
});

t.test('a great many records take no more memory than a few', async (t) => {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  world.writeConfig({ policy: 'version: 1\ndefault: deny\nrules: []\n' });
  const count = 300_000;
  await pipeline(
    function* () {
      // Each of another identity, so that no group is like another, and each answer changes.
      for (let i = 0; i < count; i += 100)
        yield Array.from(
          { length: 100 },
          (_, j) => `${recordText({ principal: { id: `spiffe://a.test/w/${i + j}` } })}\n`,
        ).join('');
    },
    createGzip({ level: 1 }),
    createWriteStream(join(world.dir, 'many.gz')),
  );
  const args = ['-c', join(world.dir, 'countersign.yaml'), '--audit', join(world.dir, 'many.gz'), '--json'];
  const child = spawn(process.execPath, ['--max-old-space-size=64', MAIN, 'replay', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
  });
  const [code] = await once(child, 'close');
  t.equal(code, 1);
  const json = JSON.parse(out) as ReadRecord;
  t.match(json, { judged: count, changed: { allow_to_deny: count }, brokenLines: 0 });
  t.equal(json.groups.length + json.ungrouped.allow_to_deny, count);
});
