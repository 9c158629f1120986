import type { ServerHttp2Stream } from 'node:http2';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import type { Test } from 'tap';
import { type Offered, WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import {
  workloadCodecOptions,
  workloadDescriptor,
  type X509SvidResponse,
} from '../../src/identity/workload-proto.js';
import type { Svid } from './pki.js';
import { frame, grpcHeaders, startRawGrpcServer } from './raw-grpc-server.js';
import { GET, refusalsOf, sourceOf } from './sources.js';
import { World, type WorldOptions, waitFor } from './start-proxy.js';
import { svidMessage, svidResponse } from './workload-client.js';

/** A sidecar that has all of its trust and its SVID from an agent, and the agent at a test's command. */

export const SOURCE = 'workload-api';
/** The agent is asked again after 1 to 1.25 s, then 2 to 2.5 s. */
const RETRY_MS = 6000;

export const codec = fromJSON(workloadDescriptor, workloadCodecOptions)
  .X509SVIDResponse as MessageTypeDefinition<object, object>;
export const framed = (response: X509SvidResponse): Buffer => frame(codec.serialize(response));

export const responseOf = ({ caA, caB }: World, own: Svid): X509SvidResponse =>
  svidResponse([svidMessage(own, caA)], { federatedBundles: { 'spiffe://b.test': caB.certDer } });

export const renewed = (world: World): Promise<Svid> =>
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

export async function startAgent(t: Test, world: World, offered: Offered): Promise<WorkloadApiServer> {
  const agent = await WorkloadApiServer.listen(`unix:${socketOf(world)}`);
  t.teardown(() => agent.close());
  agent.offer('FetchX509SVID', offered);
  return agent;
}

export async function withAgent(
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
export async function withRawAgent(
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
export async function serves(
  t: Test,
  world: World,
  open: { ask(bytes: string): Promise<{ status: number }[]> },
) {
  t.equal((await open.ask(GET))[0]?.status, 200, 'the open connection');
  for (const svid of [world.web, world.bweb]) {
    const fresh = await world.client(svid);
    t.equal((await fresh.ask(GET))[0]?.status, 200, `a new connection of ${svid.uri}`);
    fresh.destroy();
  }
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200, 'ready');
}

export const untilRefused = (world: World): Promise<void> =>
  waitFor(
    () => refusalsOf(world, SOURCE).length > 0,
    15_000,
    () => 'a word on the agent',
  );

/** Nothing is left of the problem, and news arrive again. */
export async function recovers(t: Test, world: World, next: Svid): Promise<void> {
  await world.untilSnapshot(({ own }) => own.serial === next.serial, RETRY_MS);
  await waitFor(async () => (await sourceOf(world, SOURCE)).lastError === undefined);
  const ready = await fetch(`${world.adminUrl}/readyz`);
  t.equal(ready.status, 200);
  t.notMatch(await ready.text(), SOURCE, 'nothing is said against it any more');
}
