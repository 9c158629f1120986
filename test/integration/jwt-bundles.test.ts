import t from 'tap';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import { type IssuerKey, newIssuerKey } from '../support/key-sets.js';
import { changeConfig, GET, sourceOf } from '../support/sources.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';
import { svidMessage, svidResponse } from '../support/workload-client.js';

const [k1, k2] = [newIssuerKey('k1'), newIssuerKey('k2')];
const SVIDS = '\ntokens:\n  - { name: svids, kind: jwt-svid, audience: billing }\n';

/** As SPIRE gives them: without `use`. */
const offerOf = (...keys: readonly IssuerKey[]) => ({
  bundles: {
    'spiffe://a.test': Buffer.from(JSON.stringify({ keys: keys.map(({ jwk: { use: _, ...jwk } }) => jwk) })),
  },
});

async function agentWorld(t: { teardown(run: () => unknown): void }, extra = '') {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const agent = await WorkloadApiServer.listen(`unix:${world.dir}/agent.sock`);
  t.teardown(() => agent.close());
  agent.offer('FetchX509SVID', svidResponse([svidMessage(world.own, world.caA)]));
  agent.offer('FetchJWTBundles', offerOf(k1));
  const options = {
    identity: `workloadApi: { socket: "unix://${world.dir}/agent.sock" }`,
    trust: '\n  - { trustDomain: a.test, bundle: { workloadApi: true } }',
    policy:
      'version: 1\ndefault: deny\nrules:\n  - { id: all, effect: allow, principals: ["spiffe://a.test/**"], destinations: [r1] }\n',
    extra,
  };
  world.writeConfig(options);
  await world.run(options);
  await world.app.ready;
  return { world, agent };
}

const methodsOf = async (world: World): Promise<string[]> => {
  const { remote } = await sourceOf(world, 'workload-api');
  return remote.streams.map(({ method }: ReadRecord) => method).sort();
};

const changesOf = (world: World): string[] =>
  world.records.filter(({ event }) => event === 'trust.changed').map(({ detail }) => String(detail));

t.test('the agent is asked for the keys of JWT-SVIDs only where such tokens count', async (t) => {
  const { world } = await agentWorld(t);
  t.same(await methodsOf(world), ['FetchX509SVID']);
});

t.test('keys of JWT-SVIDs follow the agent', async (t) => {
  const { world, agent } = await agentWorld(t, SVIDS);
  t.same(await methodsOf(world), ['FetchJWTBundles', 'FetchX509SVID']);
  t.match((await world.snapshot()).tokens, [{ name: 'svids', kind: 'jwt-svid', keys: undefined }]);
  await waitFor(async () => (await sourceOf(world, 'workload-api')).lastError === undefined);
  agent.offer('FetchJWTBundles', offerOf(k1, k2));
  await waitFor(() => changesOf(world).some((detail) => /a\.test \+1 -0 keys/.test(detail)));
  const { trustRevision } = await world.snapshot();
  agent.offer('FetchJWTBundles', offerOf(k2));
  await waitFor(() => changesOf(world).some((detail) => /a\.test \+0 -1 keys/.test(detail)));
  t.not((await world.snapshot()).trustRevision, trustRevision);
});

t.test('an entry for JWT-SVIDs that comes later ends no connection', async (t) => {
  const { world, agent } = await agentWorld(t);
  const { trustRevision } = await world.snapshot();
  const client = await world.client();
  t.equal((await client.ask(GET))[0]?.status, 200);
  const called = agent.nextCall();
  changeConfig(world, (text) => text + SVIDS);
  t.equal((await called).method, 'FetchJWTBundles');
  await world.untilSnapshot(({ tokens }) => tokens.length === 1);
  t.equal((await client.ask(GET))[0]?.status, 200, 'on the connection that was open');
  await waitFor(async () => (await world.snapshot()).trustRevision !== trustRevision); // with its keys
  t.equal(agent.calls.filter(({ method }) => method === 'FetchX509SVID').length, 1, 'nothing was asked anew');
});
