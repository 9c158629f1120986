import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import { BundleServer, bundleDocument } from '../support/bundle-server.js';
import { mintRoot, type Svid } from '../support/pki.js';
import type { RawClient } from '../support/raw-client.js';
import { authoritiesOf, refusalsOf, sourceOf, untilAuthorities } from '../support/sources.js';
import { POLICY, World, type WorldOptions, waitFor } from '../support/start-proxy.js';
import { svidMessage, svidResponse } from '../support/workload-client.js';

const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';

const ask = async (client: RawClient): Promise<number> => (await client.ask(GET))[0]?.status ?? 0;

const reasonOf = async (world: World, svid: Svid): Promise<string> => {
  const client = await world.client(svid);
  const [answer] = await client.ask(GET);
  if (answer?.status === 200) return 'answered';
  return answer === undefined
    ? 'no answer'
    : (JSON.parse(answer.body.toString()) as { reason: string }).reason;
};

async function agentWorld(
  t: { teardown(handler: () => unknown): void },
  offer: (world: World, server: WorkloadApiServer) => void,
): Promise<{ world: World; server: WorkloadApiServer; options: WorldOptions }> {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const server = await WorkloadApiServer.listen(`unix:${world.dir}/agent.sock`);
  t.teardown(() => server.close());
  offer(world, server);
  const options = {
    identity: `workloadApi: { socket: "unix://${world.dir}/agent.sock" }`,
    trust: `
  - { trustDomain: a.test, bundle: { workloadApi: true } }
  - { trustDomain: b.test, bundle: { workloadApi: true } }`,
  };
  world.writeConfig(options);
  return { world, server, options };
}

/** b.test comes from an endpoint of the web's kind. */
async function endpointWorld(
  t: { teardown(handler: () => unknown): void },
  endpoint: string,
  entry = '',
): Promise<{ world: World; server: BundleServer; caPem: string; options: WorldOptions }> {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const web = await mintRoot('web.test');
  const server = await BundleServer.start(
    await web.issue('spiffe://web.test/x', { otherSans: ['DNS:localhost'] }),
  );
  t.teardown(() => server.close());
  const given = `url: "${server.url}", profile: https_web, ca: web-ca.pem${endpoint && `, ${endpoint}`}`;
  const options = {
    files: { 'web-ca.pem': web.certPem },
    trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { endpoint: { ${given} } }${entry && `, ${entry}`} }`,
  };
  return { world, server, caPem: web.certPem, options };
}

const responseOf = (world: World, own: Svid, withPartner = true) =>
  svidResponse([svidMessage(own, world.caA)], {
    federatedBundles: withPartner ? { 'spiffe://b.test': world.caB.certDer } : {},
  });

t.test('with an agent everything comes from it, and follows it on open connections', async (t) => {
  const { world, server, options } = await agentWorld(t, (world, server) =>
    server.offer('FetchX509SVID', responseOf(world, world.own)),
  );
  await world.run(options);
  await world.app.ready;
  const ours = await world.client(world.web);
  const partner = await world.client(world.bweb);
  t.equal(await ask(ours), 200);
  t.equal(await ask(partner), 200);

  const renewed = await world.caA.issue(world.own.uri, { otherSans: ['DNS:svc.test', 'DNS:localhost'] });
  server.offer('FetchX509SVID', responseOf(world, renewed));
  await world.untilSnapshot((snapshot) => snapshot.own.serial === renewed.serial);
  t.equal(await ask(ours), 200, 'a renewed SVID breaks no connection');
  const fresh = await world.client(world.web);
  t.equal(
    fresh.socket.getPeerX509Certificate()?.serialNumber.toLowerCase().replace(/^0+/, ''),
    renewed.serial,
  );

  server.offer('FetchX509SVID', responseOf(world, renewed, false));
  await partner.untilClosed();
  t.equal(await reasonOf(world, world.bweb), 'trust_bundle_empty', 'a domain that is missing is distrusted');
  t.equal(await ask(ours), 200);
});

t.test('without an agent nothing listens, and /readyz says what is waited for', async (t) => {
  const { world, server, options } = await agentWorld(t, () => undefined);
  server.answer('FetchX509SVID', 'hang');
  await world.run(options);
  t.equal(world.app.addresses.get('inbound'), undefined);
  const ready = await fetch(`${world.adminUrl}/readyz`);
  t.equal(ready.status, 503);
  t.match(await ready.text(), 'waiting for workload-api');
  server.answer('FetchX509SVID', 'offer');
  server.offer('FetchX509SVID', responseOf(world, world.own));
  for (const call of server.calls) call.send(responseOf(world, world.own));
  await world.app.ready;
  t.equal(await ask(await world.client(world.web)), 200);
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200);
});

t.test('an SVID that is taken back is shown to nobody, and what came with it verifies nobody', async (t) => {
  const { world, server, options } = await agentWorld(t, (world, server) =>
    server.offer('FetchX509SVID', responseOf(world, world.own)),
  );
  await world.run(options);
  await world.app.ready;
  const open = await world.client(world.web);
  t.equal(await ask(open), 200);
  server.answer('FetchX509SVID', { code: 7, details: 'no identity issued' });
  for (const call of server.calls) call.end(7, 'no identity issued');
  await open.untilClosed();
  await waitFor(
    async () => (await fetch(`${world.adminUrl}/readyz`)).status === 503,
    10_000,
    () => 'not ready',
  );
  const refused = await world.client(world.web);
  await refused.untilClosed();
  t.equal(refused.received, '', 'no handshake');
  const told = () =>
    world.records.find(({ event, decision }) => event === 'handshake' && decision.reason === 'not_ready');
  await waitFor(
    () => told() !== undefined,
    10_000,
    () => JSON.stringify(world.records),
  );
  t.match(told(), { decision: { detail: 'our own SVID was withdrawn' } });
});

t.test(
  'an SVID that does not stand before its own bundle is refused with all that came with it',
  async (t) => {
    const { world, server, options } = await agentWorld(t, (world, server) =>
      server.offer('FetchX509SVID', responseOf(world, world.own)),
    );
    await world.run(options);
    await world.app.ready;
    const { serial } = (await world.snapshot()).own;
    const other = await mintRoot('a.test');
    server.offer('FetchX509SVID', svidResponse([svidMessage(await other.issue(world.own.uri), world.caA)]));
    const snapshot = await world.untilSnapshot(({ sources }) =>
      sources.some(
        ({ name, lastError }: Record<string, string>) => name === 'workload-api' && lastError !== undefined,
      ),
    );
    t.equal(snapshot.own.serial, serial, 'the last good one stays');
    t.equal(await ask(await world.client(world.bweb)), 200, 'with its bundles');
  },
);

t.test('a bundle endpoint: refused and not ready until it has answered, then as it says', async (t) => {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const web = await mintRoot('web.test');
  const server = await BundleServer.start(
    await web.issue('spiffe://web.test/x', { otherSans: ['DNS:localhost'] }),
  );
  t.teardown(() => server.close());
  server.serve('', 503);
  const options = {
    files: { 'web-ca.pem': web.certPem },
    trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { endpoint: { url: "${server.url}", profile: https_web, ca: web-ca.pem, store: b.json } } }`,
  };
  world.writeConfig(options);
  await world.run(options);
  t.equal(await ask(await world.client(world.web)), 200, 'the others are served');
  t.equal(await reasonOf(world, world.bweb), 'trust_bundle_empty');
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 503);

  server.serve(bundleDocument([world.caB], { sequence: 2 }));
  const reload = await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  t.equal(reload.status, 200, 'asked again at once');
  const partner = await world.client(world.bweb);
  t.equal(await ask(partner), 200);
  t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200);

  server.serve(bundleDocument([], { sequence: 1 }));
  await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  t.equal(await ask(partner), 200, 'an older sequence changes nothing');
  server.serve(bundleDocument([], { sequence: 3 }));
  await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  await partner.untilClosed();
  t.equal(await reasonOf(world, world.bweb), 'trust_bundle_empty', 'an empty bundle distrusts everybody');

  world.replace('countersign.yaml', world.configText({}));
  await world.untilSnapshot(({ sources }) =>
    sources.every(({ remote }: { remote?: object }) => remote === undefined),
  );
  const polls = server.asked.length;
  await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  t.equal(server.asked.length, polls, 'an ended relationship is not asked for any more');
});

t.test(
  'a folder of bundles: files come, change and go, and one misnamed file holds up nothing',
  async (t) => {
    const world = new World();
    await world.prepare();
    t.teardown(() => world.close());
    const folder = join(world.dir, 'bundles');
    mkdirSync(folder);
    const put = (name: string, text: string): void => {
      writeFileSync(join(folder, `.${name}`), text);
      renameSync(join(folder, `.${name}`), join(folder, name));
    };
    put('a.test.pem', world.caA.certPem);
    const options = { trust: '\n  - { folder: bundles }' };
    world.writeConfig(options);
    await world.run(options);
    t.equal(await ask(await world.client(world.web)), 200);
    t.equal(await reasonOf(world, world.bweb), 'trust_domain_unknown');

    put('b.test.pem', world.caB.certPem);
    await world.untilSnapshot(({ trust }) => trust.length === 2);
    const partner = await world.client(world.bweb);
    t.equal(await ask(partner), 200);

    put('ca.crt', world.caC.certPem);
    rmSync(join(folder, 'b.test.pem'));
    await partner.untilClosed();
    t.equal(await reasonOf(world, world.bweb), 'trust_domain_unknown');
    const { sources } = await world.snapshot();
    t.match(
      sources.find(({ name }: { name: string }) => name.startsWith('bundles:')).lastError,
      /"ca\.crt": it does not name a trust domain/,
    );
    t.equal(await ask(await world.client(world.web)), 200);
  },
);

t.test(
  'another CA file for an endpoint brings back no authority that the endpoint has revoked',
  async (t) => {
    const { world, server, caPem, options } = await endpointWorld(t, 'bootstrap: boot.json');
    const next = await mintRoot('b.test');
    server.serve(bundleDocument([next], { sequence: 2 }));
    world.writeConfig(options);
    world.write('boot.json', bundleDocument([world.caB], { sequence: 1 }));
    await world.run(options);
    await untilAuthorities(world, 'b.test', [next]);
    server.serve('', 503);
    const polls = server.asked.length;
    const other = await mintRoot('other.test');
    world.replace('web-ca.pem', caPem + other.certPem);
    await waitFor(() => server.asked.length > polls);
    t.same(await authoritiesOf(world, 'b.test'), [next.sha256]);
    t.equal(await reasonOf(world, world.bweb), 'chain_signature');
  },
);

t.test(
  'what an agent gave and we refused does not come into force after the agent took all back',
  async (t) => {
    const { world, server, options } = await agentWorld(t, (world, server) =>
      server.offer('FetchX509SVID', responseOf(world, world.own)),
    );
    let aheadMs = 0;
    await world.run({ ...options, nowMs: () => Date.now() + aheadMs });
    await world.app.ready;
    const partner = await world.client(world.bweb);
    t.equal(await ask(partner), 200);
    const notBefore = new Date(Date.now() + 60_000);
    const notAfter = new Date(Date.now() + 600_000);
    const early = await world.caA.issue(world.own.uri, { notBefore, notAfter });
    server.offer('FetchX509SVID', responseOf(world, early));
    await waitFor(async () => /not_yet_valid/.test((await sourceOf(world, 'workload-api')).lastError ?? ''));
    server.answer('FetchX509SVID', { code: 7, details: 'no identity issued' });
    for (const call of server.calls) call.end(7, 'no identity issued');
    await partner.untilClosed();
    aheadMs = 120_000; // now it would be good
    world.replace('revoked.yaml', 'version: 1\nrevoked: [{ id: spiffe://a.test/x, reason: left }]\n');
    await world.untilSnapshot(({ revocations }) => revocations === 1);
    t.same(await authoritiesOf(world, 'b.test'), []);
    t.same(await authoritiesOf(world, 'a.test'), []);
  },
);

t.test('a revoked endpoint is not believed while our own SVID is still to come', async (t) => {
  const { world, server: agent, options } = await agentWorld(t, () => undefined);
  agent.answer('FetchX509SVID', 'hang');
  const server = await BundleServer.start(await world.caA.issue('spiffe://a.test/bundles'));
  t.teardown(() => server.close());
  server.serve(bundleDocument([world.caB], { sequence: 2 }));
  const endpoint = `{ url: "${server.url}", profile: https_spiffe, spiffeId: "spiffe://a.test/bundles" }`;
  const changed = {
    ...options,
    trust: `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { endpoint: ${endpoint} } }`,
    revoked: 'version: 1\nrevoked: [{ id: spiffe://a.test/bundles, reason: stolen }]\n',
  };
  world.writeConfig(changed);
  await world.run(changed);
  await waitFor(() => refusalsOf(world, 'bundle:b.test').length > 0);
  t.match(refusalsOf(world, 'bundle:b.test')[0]?.problem, /svid_revoked stolen/);
  t.same(server.asked, [], 'it was asked for nothing');
});

t.test('one configuration may change our own SVID and the bundle that it stands before', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const next = await mintRoot('a.test');
  const own = await next.issue(world.own.uri);
  world.write('a2.pem', next.certPem);
  world.write('own2.pem', own.chainPem);
  world.write('own2-key.pem', own.keyPem);
  const text = world.configText({
    identity: 'files: { certificate: own2.pem, key: own2-key.pem }',
    trust: '\n  - { trustDomain: a.test, bundle: { file: a2.pem } }',
  });
  world.replace('countersign.yaml', text);
  world.replace('policy.yaml', POLICY.replace(', "spiffe://b.test/**"', ''));
  await world.untilSnapshot((snapshot) => snapshot.own.serial === own.serial);
  t.equal(await reasonOf(world, world.web), 'chain_signature', 'and the old authority is gone');
});

t.test('a revocation list waits for the bundle that says who signed it, and then decides', async (t) => {
  const { world, server, options } = await endpointWorld(t, '', 'revocation: { crls: [b.crl] }');
  server.serve('', 503);
  world.writeConfig(options);
  world.write('b.crl', (await world.caB.crl({ revoked: [world.bweb.serial] })).pem);
  await world.run(options);
  t.equal(await ask(await world.client(world.web)), 200, 'the others are served');
  t.match(await (await fetch(`${world.adminUrl}/readyz`)).text(), /crl:b\.test:1 has not come yet/);
  server.serve(bundleDocument([world.caB], { sequence: 2 }));
  await fetch(`${world.adminUrl}/reload`, { method: 'POST' });
  await waitFor(async () => (await sourceOf(world, 'crl:b.test:1')).loadedAt !== undefined);
  t.equal(await reasonOf(world, world.bweb), 'svid_revoked');
  t.equal(
    await reasonOf(world, await world.caB.issue('spiffe://b.test/other')),
    'answered',
    'who is not on it is let in',
  );
});

t.test('of two folders with a bundle of one domain the first counts, and that is said', async (t) => {
  const world = new World();
  await world.prepare();
  t.teardown(() => world.close());
  const next = await mintRoot('b.test');
  const put = (folder: string, name: string, text: string): void => {
    mkdirSync(join(world.dir, folder), { recursive: true });
    writeFileSync(join(world.dir, folder, `.${name}`), text);
    renameSync(join(world.dir, folder, `.${name}`), join(world.dir, folder, name));
  };
  put('one', 'a.test.pem', world.caA.certPem);
  put('one', 'b.test.pem', next.certPem);
  put('two', 'c.test.pem', world.caC.certPem);
  const options = { trust: '\n  - { folder: one }\n  - { folder: two }' };
  world.writeConfig(options);
  await world.run(options);
  put('two', 'b.test.pem', world.caB.certPem);
  const second = `bundles:${join(world.dir, 'two')}`;
  await waitFor(async () => (await sourceOf(world, second)).lastError !== undefined);
  t.match((await sourceOf(world, second)).lastError, /b\.test is in .*one already/);
  t.same(await authoritiesOf(world, 'b.test'), [next.sha256]);
  t.equal(await reasonOf(world, world.bweb), 'chain_signature');
});

t.test('with an agent too a new configuration brings no older revocation list back', async (t) => {
  const { world, options } = await agentWorld(t, (world, server) =>
    server.offer('FetchX509SVID', responseOf(world, world.own)),
  );
  const trust = options.trust?.replace('true } }', 'true }, revocation: { crls: [a.crl] } }');
  const withList = { ...options, ...(trust === undefined ? {} : { trust }) };
  const lists = await Promise.all([
    world.caA.crl({ number: 1 }),
    world.caA.crl({ number: 2, revoked: [world.web.serial] }),
  ]);
  world.writeConfig(withList);
  world.write('a.crl', lists[1].pem);
  await world.run(withList);
  await world.app.ready;
  await waitFor(async () => (await reasonOf(world, world.web)) === 'svid_revoked');
  world.replace('a.crl', lists[0].pem);
  await waitFor(() => refusalsOf(world, 'crl:a.test:1').some(({ problem }) => /older|number/.test(problem)));
  const { policyRevision } = await world.snapshot();
  world.replace('policy.yaml', POLICY.replace('id: public', 'id: open'));
  await world.untilSnapshot((snapshot) => snapshot.policyRevision !== policyRevision);
  t.equal(await reasonOf(world, world.web), 'svid_revoked');
});
