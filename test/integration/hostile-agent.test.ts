import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import t, { type Test } from 'tap';
import { type Offered, WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import {
  workloadCodecOptions,
  workloadDescriptor,
  type X509SvidResponse,
} from '../../src/identity/workload-proto.js';
import { mintRoot, type Svid } from '../support/pki.js';
import { endWith, frame, grpcHeaders, startRawGrpcServer } from '../support/raw-grpc-server.js';
import { answerOk } from '../support/recorder-upstream.js';
import { GET, refusalsOf, sourceOf } from '../support/sources.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';
import { svidMessage, svidResponse } from '../support/workload-client.js';

/** What a broken or hostile agent can do to the whole sidecar: nothing but hold up its own news. */

const SOURCE = 'workload-api';
/** The agent is asked again after 1 to 1.25 s, then 2 to 2.5 s. */
const RETRY_MS = 6000;

const codec = fromJSON(workloadDescriptor, workloadCodecOptions).X509SVIDResponse as MessageTypeDefinition<
  object,
  object
>;
const framed = (response: X509SvidResponse): Buffer => frame(codec.serialize(response));

const responseOf = ({ caA, caB }: World, own: Svid): X509SvidResponse =>
  svidResponse([svidMessage(own, caA)], { federatedBundles: { 'spiffe://b.test': caB.certDer } });

const renewed = (world: World): Promise<Svid> =>
  world.caA.issue(world.own.uri, { otherSans: ['DNS:svc.test', 'DNS:localhost'] });

const socketOf = (world: World): string => `${world.dir}/agent.sock`;

async function prepared(t: Test): Promise<{ world: World; options: WorldOptions }> {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const options = {
    identity: `workloadApi: { socket: "unix://${socketOf(world)}" }`,
    trust: `
  - { trustDomain: a.test, bundle: { workloadApi: true } }
  - { trustDomain: b.test, bundle: { workloadApi: true } }`,
  };
  world.writeConfig(options);
  return { world, options };
}

async function startAgent(t: Test, world: World, offered: Offered): Promise<WorkloadApiServer> {
  const agent = await WorkloadApiServer.listen(`unix:${socketOf(world)}`);
  t.teardown(() => agent.close());
  agent.offer('FetchX509SVID', offered);
  return agent;
}

async function withAgent(
  t: Test,
  clock: { skewMs: number } = { skewMs: 0 },
): Promise<{ world: World; agent: WorkloadApiServer }> {
  const { world, options } = await prepared(t);
  const agent = await startAgent(t, world, responseOf(world, world.own));
  await world.run({ ...options, nowMs: () => Date.now() + clock.skewMs });
  await world.app.ready;
  return { world, agent };
}

/** With an agent whose every byte the test writes; the first call is answered well. */
async function withRawAgent(
  t: Test,
  next: (stream: ServerHttp2Stream, call: number) => void,
): Promise<{ world: World; first: ServerHttp2Stream }> {
  const { world, options } = await prepared(t);
  const streams: ServerHttp2Stream[] = [];
  await startRawGrpcServer(t, socketOf(world), (stream, call) => {
    stream.respond(grpcHeaders, { waitForTrailers: true });
    streams.push(stream);
    if (call === 0) stream.write(framed(responseOf(world, world.own)));
    else next(stream, call);
  });
  await world.run(options);
  await world.app.ready;
  return { world, first: streams[0]! };
}

/** On the connection that is open, on new ones of both domains, and as the kubelet sees it. */
async function serves(t: Test, world: World, open: { ask(bytes: string): Promise<{ status: number }[]> }) {
  t.equal((await open.ask(GET))[0]?.status, 200, 'the open connection');
  for (const svid of [world.web, world.bweb]) {
    const fresh = await world.client(svid);
    t.equal((await fresh.ask(GET))[0]?.status, 200, `a new connection of ${svid.uri}`);
    fresh.destroy();
  }
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200, 'ready');
}

const untilRefused = (world: World): Promise<void> =>
  waitFor(
    () => refusalsOf(world, SOURCE).length > 0,
    15_000,
    () => 'a word on the agent',
  );

/** Nothing is left of the problem, and news arrive again. */
async function recovers(t: Test, world: World, next: Svid): Promise<void> {
  await world.untilSnapshot(({ own }) => own.serial === next.serial, RETRY_MS);
  await waitFor(async () => (await sourceOf(world, SOURCE)).lastError === undefined);
  const ready = await fetch(`${world.adminUrl}/readyz`);
  t.equal(ready.status, 200);
  t.notMatch(await ready.text(), SOURCE, 'nothing is said against it any more');
}

type Hostile = (world: World) => Promise<Offered> | Offered;

const hostile: readonly (readonly [string, Hostile, RegExp])[] = [
  ['garbage', () => Buffer.from('garbage'), /not a protobuf message/],
  [
    'a message that is cut short',
    (w) => codec.serialize(responseOf(w, w.own)).subarray(0, -1),
    /not a protobuf message, or cut short/,
  ],
  ['no SVID at all', () => Buffer.alloc(0), /svids is empty/],
  [
    'an SVID with the key of another',
    async (w) => {
      const [one, other] = [await renewed(w), await renewed(w)];
      const { x509SvidKey } = svidMessage(other, w.caA);
      return svidResponse([svidMessage(one, w.caA, { x509SvidKey })]);
    },
    /it is not the key of the certificate/,
  ],
  [
    'an SVID of another ID than it says',
    (w) => svidResponse([svidMessage(w.web, w.caA, { spiffeId: w.own.uri })]),
    /it is that of/,
  ],
  [
    'an SVID that has expired',
    async (w) => {
      const past = await w.caA.issue(w.own.uri, { notAfter: new Date(Date.now() - 1000) });
      return svidResponse([svidMessage(past, w.caA)]);
    },
    /expired/,
  ],
  [
    'an SVID that its own bundle does not vouch for',
    async (w) => {
      const stranger = await mintRoot('a.test');
      return svidResponse([svidMessage(await stranger.issue(w.own.uri), w.caA)]);
    },
    /does not verify under the bundle of a\.test/,
  ],
  [
    'a bundle that is a leaf',
    (w) => svidResponse([svidMessage(w.own, w.caA, { bundle: w.web.certDer })]),
    /CA/,
  ],
];

for (const [name, make, why] of hostile) {
  t.test(`${name}: refused whole and said once, the last good serves, the next good is taken`, async (t) => {
    const { world, agent } = await withAgent(t);
    const open = await world.client();
    const bad = await make(world);
    const before = (await world.snapshot()).trustRevision;
    agent.offer('FetchX509SVID', bad);
    await untilRefused(world);
    t.match(refusalsOf(world, SOURCE)[0]?.problem, why);
    for (const call of agent.calls) call.send(bad); // it insists
    await serves(t, world, open);
    const { own, trustRevision } = await world.snapshot();
    t.equal(own.serial, world.own.serial);
    t.equal(trustRevision, before, 'nothing of it is in force');
    t.match((await sourceOf(world, SOURCE)).lastError, why, '/snapshot says why');
    const next = await renewed(world);
    agent.offer('FetchX509SVID', responseOf(world, next));
    await recovers(t, world, next);
    t.equal(refusalsOf(world, SOURCE).length, 1, 'said once, however often it was sent');
    t.equal(world.records.filter(({ event }) => event === 'trust.refused').length, 1, 'one record');
    await serves(t, world, open);
  });
}

for (const [how, ending] of [
  ['ends as if all were well', (stream: ServerHttp2Stream) => endWith(stream, { 'grpc-status': '0' })],
  ['resets the stream', (stream: ServerHttp2Stream) => stream.close(2)],
  ['drops the connection', (stream: ServerHttp2Stream) => stream.session?.destroy()],
] as const) {
  t.test(`an agent that sends half a message and ${how}: served on, and news arrive again`, async (t) => {
    let next: Svid | undefined;
    const { world, first } = await withRawAgent(t, (stream) => {
      if (next !== undefined) stream.write(framed(responseOf(world, next)));
    });
    const open = await world.client();
    next = await renewed(world);
    const whole = framed(responseOf(world, next));
    first.write(whole.subarray(0, whole.length / 2), () => ending(first));
    await waitFor(() => first.closed);
    await serves(t, world, open);
    await recovers(t, world, next);
    t.ok(refusalsOf(world, SOURCE).length <= 1, 'said once at most');
    await serves(t, world, open);
  });
}

t.test('an agent that floods holds up no request, and the newest state is in force at its end', async (t) => {
  const { world, first } = await withRawAgent(t, () => undefined);
  const open = await world.client();
  const [one, two] = [await renewed(world), await renewed(world)];
  const flood = Buffer.concat(
    Array.from({ length: 60 }, (_, i) =>
      i % 3 === 2 ? frame(Buffer.from('garbage')) : framed(responseOf(world, i % 3 === 0 ? one : world.own)),
    ),
  );
  let isOver = false;
  const pump = (async () => {
    for (let i = 0; i < 60; i++) {
      if (!first.write(flood)) await once(first, 'drain');
      await new Promise((resolve) => setTimeout(resolve, 20)); // for more than a second, not in one burst
    }
    first.write(framed(responseOf(world, two)));
    isOver = true;
  })();
  let [asked, failed, longestMs] = [0, 0, 0];
  while (!isOver) {
    const from = performance.now();
    if ((await open.ask(GET))[0]?.status !== 200) failed++;
    longestMs = Math.max(longestMs, performance.now() - from);
    asked++;
  }
  await pump;
  t.equal(failed, 0);
  t.ok(asked > 20, `${asked} requests meanwhile`);
  t.ok(longestMs < 500, `the longest took ${Math.round(longestMs)} ms`);
  await recovers(t, world, two);
  const rotated = world.records.filter(({ event }) => event === 'svid.rotated').length;
  t.ok(rotated < 60, `${rotated} of 2400 messages came into force`);
  t.ok(refusalsOf(world, SOURCE).length < 60, 'and few were said');
  await serves(t, world, open);
});

t.test('an agent that restarts is said once, and its news are taken when it is back', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  const busy = await world.client();
  world.upstream.respond = () => undefined;
  busy.send(GET); // a request across it all
  await waitFor(() => world.upstream.requests.length === 1);
  world.upstream.respond = answerOk;
  agent.close();
  await untilRefused(world);
  t.match(refusalsOf(world, SOURCE)[0]?.problem, /CANCELLED|UNAVAILABLE/);
  await serves(t, world, open);
  t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), 'workload-api is refused', 'and told why');
  const next = await renewed(world);
  await startAgent(t, world, responseOf(world, next));
  await recovers(t, world, next);
  const held = world.upstream.connections[0]!;
  held.socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  await busy.until(() => busy.answers.length === 1);
  t.equal(busy.answers[0]?.status, 200);
  t.equal(refusalsOf(world, SOURCE).length, 1, 'said once');
  await serves(t, world, open);
});

t.test('an agent that comes back with the same state changes nothing but the complaint', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  const { sequence } = await world.snapshot();
  agent.close();
  await untilRefused(world);
  await startAgent(t, world, responseOf(world, world.own));
  await recovers(t, world, world.own);
  t.equal((await world.snapshot()).sequence, sequence, 'no new snapshot');
  await serves(t, world, open);
});

t.test('an agent that hangs after a restart is given up, said once, and asked again', async (t) => {
  const { world, agent } = await withAgent(t);
  const open = await world.client();
  agent.answer('FetchX509SVID', 'hang');
  for (const call of agent.calls) call.end();
  await agent.nextCall(); // asked again at once, and it says nothing
  await serves(t, world, open);
  await untilRefused(world); // 10 s, as docs/trust-sources.md says
  t.match(refusalsOf(world, SOURCE)[0]?.problem, /nothing came within 10 s/);
  await serves(t, world, open);
  agent.answer('FetchX509SVID', 'offer');
  const next = await renewed(world);
  agent.offer('FetchX509SVID', responseOf(world, next));
  await recovers(t, world, next);
  t.equal(refusalsOf(world, SOURCE).length, 1);
});

t.test(
  'an own SVID that ends while the agent is away: not ready, said, and ready with the next',
  async (t) => {
    const clock = { skewMs: 0 };
    const { world, agent } = await withAgent(t, clock);
    const day = { ttlMs: 24 * 3_600_000 };
    const open = await world.client(await world.caA.issue(world.web.uri, day));
    t.equal((await open.ask(GET))[0]?.status, 200);
    agent.close();
    await untilRefused(world);
    clock.skewMs = world.own.notAfter.getTime() - Date.now() + 60_000;
    const ready = await fetch(`${world.adminUrl}/readyz`);
    t.equal(ready.status, 503);
    t.equal(await ready.text(), 'not ready: the own SVID has expired\n');
    const told = (): unknown =>
      world.diagnostics.find(
        ({ level, message }) => level === 'error' && /own SVID is not acceptable/.test(message),
      );
    await waitFor(() => told() !== undefined);
    t.match(told(), { detail: { serial: world.own.serial, problem: /svid_expired/ } });
    t.match((await world.snapshot()).own.problem, /svid_expired/);
    t.equal(
      (await open.ask(GET))[0]?.status,
      200,
      'who is connected is served on: it is new peers who refuse us',
    );
    const next = await world.caA.issue(world.own.uri, { ...day, otherSans: ['DNS:svc.test'] });
    await startAgent(t, world, responseOf(world, next));
    await recovers(t, world, next);
    t.equal((await world.snapshot()).own.problem, undefined);
    t.equal((await open.ask(GET))[0]?.status, 200);
  },
);
