import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Collector, hangs, resets, says, takes } from '../support/collector.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const DENIED = 'GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
const TRACE = '16a2f4f95d3ad2ba9914de17f5bf9c40';

type Test = { teardown(handler: () => unknown): void };

async function start(t: Test, collector: Collector, more = ''): Promise<World> {
  const audit = `audit.ndjson, otlp: { url: "${collector.url}", timeout: 500ms${more} }`;
  const world = await World.start({ audit });
  t.teardown(() => world.close());
  return world;
}

async function open(t: Test, tls?: { cert: string; key: string }): Promise<Collector> {
  const collector = await new Collector(tls).open();
  t.teardown(() => collector.close());
  return collector;
}

const fileOf = (world: World): string => readFileSync(join(world.dir, 'audit.ndjson'), 'utf8');
const lostOf = (world: World): ReadRecord[] =>
  world.records.filter(({ event }) => event === 'audit.export_lost').map(({ lost }) => lost);
const saidBy = ({ diagnostics }: World, message: string): object[] =>
  diagnostics.filter((said) => said.message.includes(message)).map(({ detail }) => detail);

async function ask(world: World, requests: number, request = GET): Promise<void> {
  const client = await world.client();
  for (let i = 0; i < requests; i++) await client.ask(request);
  client.destroy();
}

const untilTaken = (collector: Collector, wanted: (text: string) => boolean): Promise<void> =>
  waitFor(
    () => wanted(collector.text),
    10_000,
    () => `the collector, which has ${collector.text}`,
  );

const seqs = (text: string): number[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as ReadRecord).seq);

async function metric(world: World, result: string): Promise<number> {
  const line = new RegExp(`^countersign_audit_exported_total\\{result="${result}"\\} (\\d+)$`, 'm');
  return Number(line.exec(await world.metrics())?.[1] ?? 0);
}

t.test('a collector gets every line of the file, byte for byte, to the last one', async (t) => {
  const collector = await open(t);
  const world = await start(t, collector);
  const client = await world.client();
  await client.ask(
    `GET /public/%C3%A9?x=1 HTTP/1.1\r\nHost: svc.test\r\ntraceparent: 00-${TRACE}-00f067aa0ba902b7-01\r\n\r\n`,
  );
  await client.ask(DENIED);
  await ask(world, 40);
  await world.untilRecords(42);
  await untilTaken(collector, (text) => text.split('\n').length > 42);
  t.equal(await metric(world, 'exported'), collector.taken.length);
  await world.app.close();
  t.equal(collector.text, fileOf(world));
  t.match(collector.text, /"event":"process.stopped"/);
  t.equal(saidBy(world, 'collector').length, 0);
  const [first] = collector.asked;
  t.match(first, { path: '/v1/logs', headers: { 'content-type': 'application/x-protobuf' } });
});

t.test('stores can search: attributes, severity, time, trace and resource', async (t) => {
  const collector = await open(t);
  const world = await start(t, collector, ', serviceName: payments');
  const client = await world.client();
  await client.ask(
    `GET /public/a HTTP/1.1\r\nHost: svc.test\r\ntraceparent: 00-${TRACE}-00f067aa0ba902b7-01\r\n\r\n`,
  );
  await client.ask(DENIED);
  await world.untilRecords(2);
  await world.app.close();
  const [allowed, denied] = collector.taken.filter(({ eventName }) => eventName === 'countersign.access');
  const line = JSON.parse(String(allowed?.body)) as ReadRecord;
  t.same(allowed?.attributes, {
    'countersign.event': 'access',
    'countersign.seq': line.seq,
    'countersign.stream.id': line.stream.id,
    'countersign.stream.boot': line.stream.boot,
    'countersign.stream.worker': 0,
    'countersign.principal.id': 'spiffe://a.test/web',
    'countersign.destination': 'u',
    'countersign.effect': 'allow',
    'countersign.reason': 'rule_allowed',
    'countersign.rule': 'public',
    'countersign.status': 200,
  });
  t.match(allowed, { severity: '9 INFO', traceId: TRACE, resource: { 'service.name': 'payments' } });
  t.equal(Number(BigInt(allowed?.timeUnixNano ?? '0') / 1_000_000n), Date.parse(line.time));
  t.match(denied, { severity: '13 WARN', attributes: { 'countersign.reason': 'no_rule_matched' } });
});

t.test(
  'a collector that is away at the start, and then there, gets everything; it is said once',
  async (t) => {
    const collector = await open(t);
    const { port } = collector;
    await collector.close();
    const world = await start(t, collectorAt(port));
    await ask(world, 5);
    await world.untilRecords(5);
    await waitFor(() => saidBy(world, 'does not take records').length > 0);
    const later = await new Collector().open(port);
    t.teardown(() => later.close());
    await untilTaken(later, (text) => text.split('"event":"access"').length > 5);
    await world.app.close();
    t.equal(later.text, fileOf(world));
    t.equal(saidBy(world, 'does not take records').length, 1);
    t.match(saidBy(world, 'does not take records')[0], { problem: /ECONNREFUSED/ });
    t.same(saidBy(world, 'exported again'), [{ givenUp: 0 }]);
    t.same(lostOf(world), []);
  },
);

/** Only its address. */
const collectorAt = (port: number): Collector => ({ url: `http://127.0.0.1:${port}/v1/logs` }) as Collector;

t.test('a busy collector is asked again when it says, not before, and nothing is lost', async (t) => {
  const collector = await open(t);
  collector.reply = says(503, { 'retry-after': '1' });
  const times: number[] = [];
  const world = await start(t, collector);
  await waitFor(() => collector.asked.length > 0);
  times.push(performance.now());
  collector.reply = (...args) => {
    times.push(performance.now());
    return takes()(...args);
  };
  await untilTaken(collector, (text) => text !== '');
  t.ok(times[1]! - times[0]! > 900, `${times[1]! - times[0]!} ms`);
  await world.app.close();
  t.equal(collector.text, fileOf(world));
});

t.test('a broken connection and one without an answer are tried again', async (t) => {
  for (const reply of [resets, hangs]) {
    const collector = await open(t);
    collector.reply = reply;
    const world = await start(t, collector);
    await ask(world, 3);
    await waitFor(() => saidBy(world, 'does not take records').length > 0);
    collector.reply = takes();
    await untilTaken(collector, (text) => text.includes('"event":"access"'));
    await world.app.close();
    t.equal(collector.text, fileOf(world), reply.name);
  }
});

t.test('a kept connection that the collector closed meanwhile is no outage', async (t) => {
  const collector = await open(t);
  const world = await start(t, collector);
  await untilTaken(collector, (text) => text !== '');
  for (const socket of collector.sockets) socket.destroy();
  await ask(world, 1);
  await untilTaken(collector, (text) => text.includes('"event":"access"'));
  t.same(saidBy(world, 'does not take records'), []);
});

t.test('what a collector refuses is counted, said once, and told in the stream', async (t) => {
  const collector = await open(t);
  collector.reply = says(400);
  const world = await start(t, collector);
  await ask(world, 4);
  await world.untilRecords(4);
  await waitFor(() => lostOf(world).length > 0);
  collector.reply = takes();
  await ask(world, 1);
  await untilTaken(collector, (text) => text.includes('audit.export_lost'));
  t.ok((await metric(world, 'refused')) >= 1);
  await world.app.close();
  const lost = lostOf(world);
  const has = seqs(collector.text);
  for (const { from, to, records, why, boot } of lost) {
    t.equal(why, 'refused');
    t.equal(records, to - from + 1);
    t.equal(boot, world.records[0]?.stream.boot);
  }
  const gone = lost.flatMap(({ from, to }) => Array.from({ length: to - from + 1 }, (_, i) => from + i));
  t.same(
    [...has, ...gone].sort((a, b) => a - b),
    seqs(fileOf(world)),
    'every record is there or told to be missing, and none is both',
  );
  t.equal(saidBy(world, 'records are not exported').length, 1);
  t.match(saidBy(world, 'does not take records'), [{ problem: 'it answered 400' }]);
});

t.test('a redirect is not followed, and a page that is no collector has taken nothing', async (t) => {
  const other = await open(t);
  const collector = await open(t);
  for (const [reply, problem] of [
    [says(307, { location: other.url }), /redirects are not followed/],
    [says(200, { 'content-type': 'text/html' }), /no collector: its answer is "text\/html"/],
  ] as const) {
    collector.reply = reply;
    const world = await start(t, collector);
    await waitFor(() => saidBy(world, 'does not take records').length > 0);
    t.match(saidBy(world, 'does not take records')[0], { problem });
    await world.app.close();
    t.ok(lostOf(world).length > 0);
  }
  t.equal(other.asked.length, 0);
});

t.test('of a batch that is taken in part it is known how many are missing, and among which', async (t) => {
  const collector = await open(t);
  collector.reply = (...args) => takes(2, 'too long')(...args);
  const world = await start(t, collector);
  await ask(world, 5);
  await world.untilRecords(5);
  await waitFor(() => lostOf(world).length > 0);
  collector.reply = takes();
  await world.app.close();
  const [lost] = lostOf(world);
  t.equal(lost?.why, 'rejected');
  t.ok(lost?.records <= lost?.to - lost?.from + 1);
  t.match(saidBy(world, 'says something'), [{ message: 'too long' }]);
});

t.test('an end does not wait for a collector that is away, and says what it lacks', async (t) => {
  const collector = await open(t);
  collector.reply = hangs;
  const world = await start(t, collector);
  await ask(world, 3);
  await world.untilRecords(3);
  await waitFor(() => saidBy(world, 'does not take records').length > 0);
  const before = performance.now();
  await world.app.close();
  t.ok(performance.now() - before < 6000, `${performance.now() - before} ms`);
  const [lost] = lostOf(world);
  t.match(lost, { why: 'shutdown', from: 1 });
  t.ok(lost?.to >= 4, 'all but the very last ones');
});

t.test('requests do not wait for a collector', async (t) => {
  const collector = await open(t);
  collector.reply = hangs;
  const world = await start(t, collector);
  await waitFor(() => collector.asked.length > 0);
  const before = performance.now();
  await ask(world, 50);
  t.ok(
    performance.now() - before < 5000,
    'fifty requests, and one attempt of the export takes half a second',
  );
  t.equal((await world.untilRecords(50)).length, 50);
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200);
});

t.test(
  'https is verified, by the CA that is named; credentials are sent and stand nowhere else',
  async (t) => {
    const base = new World();
    t.teardown(() => base.close());
    await base.prepare();
    const server = await base.caA.issue('spiffe://a.test/collector', { otherSans: ['IP:127.0.0.1'] });
    const collector = await open(t, { cert: server.chainPem, key: server.keyPem });
    const headers = 'headers: { authorization: "Bearer s3cret-one", x-key: { file: key.txt } }';
    const files = { 'ca.pem': base.caA.certPem, 'key.txt': 's3cret-two\n' };
    const audit = (ca: string) =>
      `audit.ndjson, otlp: { url: "${collector.url}", timeout: 500ms, ${headers}${ca} }`;
    const world = await World.start({ files, audit: audit(', ca: ca.pem') });
    t.teardown(() => world.close());
    await untilTaken(collector, (text) => text !== '');
    t.match(collector.asked[0]?.headers, { authorization: 'Bearer s3cret-one', 'x-key': 's3cret-two' });
    world.replace('key.txt', 's3cret-new\n');
    await ask(world, 1);
    await waitFor(() => collector.asked.at(-1)?.headers['x-key'] === 's3cret-new');
    await world.app.close();

    const distrusting = await World.start({ files, audit: audit('') });
    t.teardown(() => distrusting.close());
    await waitFor(() => saidBy(distrusting, 'does not take records').length > 0);
    const asked = collector.asked.length;
    const snapshot = JSON.stringify(await distrusting.snapshot());
    await distrusting.app.close();
    t.equal(collector.asked.length, asked, 'nothing was sent to whom nobody vouches for');
    t.match(saidBy(distrusting, 'does not take records')[0], { problem: /certificate/ });
    const everything = [world, distrusting]
      .map((one) => JSON.stringify(one.diagnostics) + fileOf(one))
      .join();
    t.notMatch(everything + snapshot, /s3cret/);
  },
);

t.test('a file that the export needs and that is not there is found at the start', async (t) => {
  const audit = 'audit.ndjson, otlp: { url: "https://127.0.0.1:1/v1/logs", ca: none.pem }';
  await t.rejects(World.start({ audit }), { message: /cannot start: audit\.otlp: ENOENT.*none\.pem/ });
});
