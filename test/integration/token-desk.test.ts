import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import t from 'tap';
import type { Config } from '../../src/config/config.js';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import { parseTokenTemplate, type TokenTemplate } from '../../src/identity/token-template.js';
import { NO_TOKENS } from '../../src/identity/token-trust.js';
import type { Source, SourceHost } from '../../src/sources/source.js';
import { TokenDesk } from '../../src/sources/token-desk.js';
import { connectTokens, joinTokens, keySourcesOf } from '../../src/sources/token-sources.js';
import { readPeerChain } from '../../src/tls/peer-chain.js';
import { urlOf } from '../support/bundle-server.js';
import { KEY_SERVER_CA, KeyServer, kidsOf, newIssuerKey } from '../support/key-sets.js';
import { waitFor } from '../support/start-proxy.js';

type Teardown = { teardown(run: () => unknown): void };

const NO_PLACES = { tokens: { issuers: [], delegates: [] } };

async function agentAt(t: Teardown, path: string): Promise<WorkloadApiServer> {
  const server = await WorkloadApiServer.listen(`unix:${path}`);
  t.teardown(() => server.close());
  return server;
}

const socketPath = (t: Teardown): string => {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-desk-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  return join(dir, 'agent.sock');
};

const deskAt = (t: Teardown, path: string): TokenDesk => {
  const desk = new TokenDesk(() => ({ ...NO_PLACES, agent: { kind: 'unix', path } }));
  t.teardown(() => desk.close());
  return desk;
};

t.test("a bad token is the token's fault, and the next good one is taken", async (t) => {
  const path = socketPath(t);
  const agent = await agentAt(t, path);
  agent.validateBy(({ svid, audience }) =>
    svid === 'good' && audience === 'billing'
      ? 'spiffe://a.test/job'
      : { code: status.INVALID_ARGUMENT, details: 'token has expired' },
  );
  const desk = deskAt(t, path);
  t.match(await desk.validate('billing', 'bad'), { ok: false, error: { kind: 'rejected' } });
  t.match(await desk.validate('billing', 'good'), { ok: true, value: { uri: 'spiffe://a.test/job' } });
});

t.test('an agent that never validates any, or none at all, leaves it to the bundles', async (t) => {
  const path = socketPath(t);
  await agentAt(t, path);
  t.match(await deskAt(t, path).validate('billing', 'x'), { ok: false, error: { kind: 'unsupported' } });
  const none = new TokenDesk(() => ({ ...NO_PLACES, agent: undefined }));
  t.match(await none.validate('billing', 'x'), { ok: false, error: { kind: 'unsupported' } });
  const unloaded = new TokenDesk(() => undefined);
  t.match(await unloaded.validate('billing', 'x'), { ok: false, error: { kind: 'unsupported' } });
  t.equal(await unloaded.refreshKeys('ci'), false);
});

t.test("an agent that is away is nobody's word", async (t) => {
  const desk = deskAt(t, socketPath(t));
  t.match(await desk.validate('billing', 'x'), { ok: false, error: { kind: 'unavailable' } });
});

t.test('another socket in the configuration is another agent', async (t) => {
  const [one, two] = [socketPath(t), socketPath(t)];
  (await agentAt(t, one)).validateBy(() => 'spiffe://a.test/one');
  (await agentAt(t, two)).validateBy(() => 'spiffe://a.test/two');
  let path = one;
  const desk = new TokenDesk(() => ({ ...NO_PLACES, agent: { kind: 'unix', path } }));
  t.teardown(() => desk.close());
  t.match(await desk.validate('billing', 'x'), { value: { uri: 'spiffe://a.test/one' } });
  path = two;
  t.match(await desk.validate('billing', 'x'), { value: { uri: 'spiffe://a.test/two' } });
});

t.test('of a thousand questions at once the agent is asked sixty-four', async (t) => {
  const path = socketPath(t);
  const agent = await agentAt(t, path);
  let asked = 0;
  agent.validateBy(() => {
    asked++;
    return 'spiffe://a.test/job';
  });
  const desk = deskAt(t, path);
  const answers = await Promise.all(Array.from({ length: 1000 }, () => desk.validate('billing', 'x')));
  t.equal(asked, 64);
  t.equal(answers.filter(({ ok }) => ok).length, 64);
  const refused = answers.find(({ ok }) => !ok);
  t.match(refused, { error: { kind: 'unavailable', message: /64 questions to answer already/ } });
  t.match(await desk.validate('billing', 'x'), { ok: true }, 'and then the next');
});

t.test('newer keys are asked for at the issuer that is named, and nowhere else', async (t) => {
  const [k1, k2] = [newIssuerKey('k1'), newIssuerKey('k2')];
  const [ci, other] = [await KeyServer.start(t), await KeyServer.start(t)];
  ci.publish(k1);
  other.publish(k1);
  const caFile = join(t.testdir(), 'ca.pem');
  writeFileSync(caFile, KEY_SERVER_CA);
  let skewMs = 0;
  const adopted: Source[] = [];
  const host = hostOf({ adopted: (source) => adopted.push(source), nowMs: () => Date.now() + skewMs });
  const config = {
    tokens: [configOf('ci', ci.url, caFile), configOf('other', other.url, caFile)],
    trustedPeers: { gateways: [], delegates: [] },
  } as unknown as Config;
  const tokens = connectTokens(config, undefined, host);
  t.teardown(() => {
    for (const source of keySourcesOf(tokens)) source.close(false);
  });
  for (const source of keySourcesOf(tokens)) await source.loadNow();
  await waitFor(() => adopted.length === 2);
  const first = joinTokens(tokens, NO_TOKENS);
  t.equal(joinTokens(tokens, first), first, 'nothing changed, nothing is new');
  const desk = new TokenDesk(() => ({ tokens, agent: undefined }));
  ci.publish(k1, k2);
  t.equal(await desk.refreshKeys('ci'), false, 'a moment after the last fetch');
  skewMs = 31_000;
  t.equal(await desk.refreshKeys('none'), false);
  t.equal(await desk.refreshKeys('ci'), true);
  t.same([ci.asked.length, other.asked.length], [2, 1]);
  t.equal(adopted.length, 3, 'it is in force when the asker hears of it');
  const second = joinTokens(tokens, first);
  t.same(
    second.issuers.map(({ keys }) => kidsOf(keys)),
    [['k1', 'k2'], ['k1']],
  );
  t.equal(second.issuers[1], first.issuers[1], 'what did not change keeps its object');
  t.equal(second.issuers[0]?.issuer, first.issuers[0]?.issuer);
  const reread = connectTokens(structuredClone(config), tokens, host);
  t.same(keySourcesOf(reread), keySourcesOf(tokens), 'the same words are the same sources');
  t.equal(joinTokens(reread, second), second, 'and the same trust');
});

function templateOf(text: string): TokenTemplate {
  const template = parseTokenTemplate(text);
  if (!template.ok) throw new Error(template.error);
  return template.value;
}

const configOf = (name: string, url: string, caFile: string) => ({
  issuer: {
    kind: 'oidc',
    name,
    issuer: `https://${name}.test`,
    audiences: ['billing'],
    algorithms: ['ES256'],
    types: ['JWT'],
    clockSkewMs: 0,
    maxLifetimeMs: 3_600_000,
    requiresBinding: false,
    isOneTime: false,
    principal: templateOf(`${name}:{sub}`),
    actor: templateOf(`${name}:{sub}`),
    required: [],
  },
  keys: { kind: 'url', url: urlOf(url), refreshMs: 600_000, maxStaleMs: 86_400_000, caFile },
});

const hostOf = (some: Partial<SourceHost>): SourceHost => ({
  adopted: () => undefined,
  spoke: () => undefined,
  noted: () => undefined,
  nowMs: Date.now,
  clockSkewMs: 0,
  readPeer: readPeerChain,
  bundles: () => new Map(),
  checkSvid: () => undefined,
  ...some,
});
