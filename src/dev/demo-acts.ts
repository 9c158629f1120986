import { setTimeout as delay } from 'node:timers/promises';
import { type CallAnswer, Caller, CallLoop, type CallOptions, type ProxyPeer } from './demo-caller.js';
import { type DemoFiles, demoIds, issueSidecar } from './demo-files.js';
import type { LegacyService } from './demo-legacy-service.js';
import type { ReadRecord, RecordTail } from './demo-records.js';
import type { DemoScreen } from './demo-screen.js';
import type { DemoTrust } from './demo-trust.js';
import { type Authority, mintRoot } from './pki.js';

const PAUSE_MS = 10;
const CALLS_BETWEEN = 20;
/** Where a slow machine would still be called at once; the measured time is shown. */
const AT_ONCE_MS = 1000;

/** All that an act may use. */
export interface Stage {
  readonly files: DemoFiles;
  readonly trust: DemoTrust;
  readonly legacy: LegacyService;
  readonly proxy: ProxyPeer;
  readonly adminUrl: string;
  readonly records: RecordTail;
  readonly screen: DemoScreen;
  readonly callers: Readonly<Record<'web' | 'batch' | 'buyer', Caller>>;
}

interface Call {
  readonly what: string;
  readonly caller: Caller;
  readonly path: string;
  readonly options?: CallOptions;
  /** Status, then the rule that allowed or denied, or the reason where the request never reached policy. */
  readonly expected: string;
}

/** Allowed, denied by policy, and callers that are not who they say they are. */
export async function actCalls(stage: Stage): Promise<void> {
  const { files, proxy, legacy, screen } = stage;
  const { web, batch, buyer } = stage.callers;
  const impostor = new Caller(proxy, files.svids.impostor);
  const stranger = new Caller(proxy, files.svids.stranger);
  const nobody = new Caller(proxy, undefined);
  const claims = { 'x-spiffe-id': demoIds.batch, X_Remote_User: demoIds.batch };
  screen.act('Calls: time, SPIFFE ID (claimed), decision, rule or reason, request, status');
  const calls: readonly Call[] = [
    { what: 'web reads an invoice', caller: web, path: '/invoices/7', expected: '200 web-reads-invoices' },
    {
      what: 'batch writes one',
      caller: batch,
      path: '/invoices/8',
      options: { method: 'POST' },
      expected: '201 batch-writes-invoices',
    },
    {
      what: 'partner reads the catalogue',
      caller: buyer,
      path: '/catalogue/1',
      expected: '200 partner-reads-catalogue',
    },
    {
      what: 'web claims in headers to be batch',
      caller: web,
      path: '/invoices/7',
      options: { headers: claims },
      expected: '200 web-reads-invoices',
    },
    {
      what: 'web deletes an invoice',
      caller: web,
      path: '/invoices/7',
      options: { method: 'DELETE' },
      expected: '403 default',
    },
    {
      what: 'web reads internals',
      caller: web,
      path: '/invoices/internal/keys',
      expected: '403 nobody-touches-internals',
    },
    {
      what: "impostor: web's name, partner's CA",
      caller: impostor,
      path: '/invoices/7',
      expected: '403 chain_untrusted',
    },
    {
      what: 'stranger of an unknown domain',
      caller: stranger,
      path: '/invoices/7',
      expected: '403 trust_domain_unknown',
    },
    {
      what: 'nobody: no certificate',
      caller: nobody,
      path: '/invoices/7',
      expected: '403 certificate_missing',
    },
  ];
  for (const call of calls) await expectCall(stage, call);
  for (const caller of [impostor, stranger, nobody]) caller.close();
  const allowed = calls.filter((call) => call.expected.startsWith('2'));
  screen.expect(
    'calls that reached the service',
    `${allowed.length} of ${calls.length}`,
    `${legacy.served.length} of ${calls.length}`,
  );
  const claimed = legacy.served[3];
  screen.expect(
    'who the service saw behind the claim',
    demoIds.web,
    `${new Set([claimed?.spiffeId, claimed?.remoteUser]).size === 1 ? claimed?.spiffeId : 'two names'}`,
  );
}

/** What the caller got, and what the record says of it. */
async function expectCall(
  stage: Stage,
  { what, caller, path, options, expected }: Call,
): Promise<ReadRecord | undefined> {
  const answer = await caller.call(path, options);
  const record = await stage.records.until(({ id }) => id !== undefined && id === answer.id);
  stage.screen.expect(
    what,
    expected,
    `${answer.status} ${record?.decision?.rule ?? record?.decision?.reason ?? 'no record'}`,
  );
  return record;
}

/** A new authority comes, everybody moves to it, the old one goes: under calls that never stop. */
export async function actRotation(stage: Stage): Promise<void> {
  const { files, trust, proxy, screen, callers } = stage;
  screen.act('CA rotation: new root added, new SVIDs, old root removed; three workloads call all the while');
  screen.collapsing = true;
  const loops = Object.values(startLoops(stage));
  await progress(loops);
  const root = await mintRoot('example.org', { subject: 'O=Example,CN=example.org root 2' });
  const grown = await changed(stage, 'trust.changed', () => trust.setBundle([files.root, root]));
  proxy.bundlePem = files.root.certPem + root.certPem;
  const renewed = await issueSidecar(root);
  const rotated = await changed(stage, 'svid.rotated', () => trust.setSidecar(renewed), renewed.serial);
  const web = await root.issue(demoIds.web);
  const batch = await root.issue(demoIds.batch);
  files.keep('web', web);
  files.keep('batch', batch);
  await callers.web.renew(web);
  await callers.batch.renew(batch);
  await callers.buyer.renew(files.svids.buyer);
  await progress(loops);
  const users = await connectionsOn(stage, files.root);
  screen.expect('connections that still depend on the old root', '0', String(users));
  const shrunk = await changed(stage, 'trust.changed', () => trust.setBundle([root]));
  proxy.bundlePem = root.certPem;
  await progress(loops);
  await expectNoFailure(stage, 'calls that failed during the rotation', loops);
  const { bundle, identity } = trust.sources;
  const sources = [grown, rotated, shrunk].map((record) => record?.source ?? 'nothing').join(', ');
  screen.expect('what brought bundle, SVID, bundle', [bundle, identity, bundle].join(', '), sources);
  const old = new Caller(proxy, files.svids.web);
  await expectCall(stage, {
    what: 'an SVID of the removed root',
    caller: old,
    path: '/invoices/7',
    expected: '403 chain_untrusted',
  });
  old.close();
  await settle(stage);
}

/** One line in revoked.yaml; the revoked workload is in the middle of its work. */
export async function actRevocation(stage: Stage): Promise<void> {
  const { files, legacy, records, screen, callers } = stage;
  screen.act('Revocation: batch is revoked by revoked.yaml while its connection is open and busy');
  screen.collapsing = true;
  const { web, buyer, batch } = startLoops(stage);
  const others = [web, buyer];
  await progress([batch, ...others]);
  const from = records.records.length;
  const end = callers.batch.connectionEnd();
  const revokedAtMs = performance.now();
  const entry = `  - { id: "${demoIds.batch}", reason: "demo: its key leaked" }`;
  files.replace('revoked.yaml', `version: 1\nrevoked:\n${entry}\n`);
  const record = await records.until(({ event }) => event === 'connection.terminated', from);
  const endedAtMs = await Promise.race([end, delay(AT_ONCE_MS, Number.POSITIVE_INFINITY)]);
  const tookMs = endedAtMs - revokedAtMs;
  const shown = Number.isFinite(tookMs) ? `ended after ${tookMs.toFixed(0)} ms` : 'is still open';
  screen.expect("batch's open connection", `ended within ${AT_ONCE_MS} ms`, shown, tookMs < AT_ONCE_MS);
  screen.expect('the record of its end', 'svid_revoked', record?.reason ?? 'no record');
  await batch.stop();
  await expectCall(stage, {
    what: "batch's next call, on a new connection",
    caller: callers.batch,
    path: '/invoices/9',
    options: { method: 'POST' },
    expected: '403 svid_revoked',
  });
  await progress(others);
  const late = legacy.served.filter(({ spiffeId, atMs }) => spiffeId === demoIds.batch && atMs > endedAtMs);
  screen.expect('calls of batch that the service saw after that', '0', String(late.length));
  await expectNoFailure(stage, "the others' calls that failed meanwhile", others);
  await settle(stage);
}

/** Every answered call has one record, and no more. */
export async function actEvidence(stage: Stage): Promise<void> {
  const { answered } = stage.proxy;
  await settle(stage);
  stage.screen.expect(
    'records of answered calls',
    `${answered} of ${answered}`,
    `${countAccess(stage)} of ${answered}`,
  );
}

const countAccess = ({ records }: Stage): number =>
  records.records.filter(({ event }) => event === 'access').length;

/** Until the records of all answered calls have come, so that they stand under the act they belong to. */
async function settle(stage: Stage): Promise<void> {
  await stage.records.until(() => countAccess(stage) >= stage.proxy.answered);
  stage.screen.collapsing = false;
}

const startLoops = ({ callers }: Stage): Record<'web' | 'batch' | 'buyer', CallLoop> => ({
  web: new CallLoop(callers.web, '/invoices/7', {}, PAUSE_MS),
  batch: new CallLoop(callers.batch, '/invoices/9', { method: 'POST' }, PAUSE_MS),
  buyer: new CallLoop(callers.buyer, '/catalogue/1', {}, PAUSE_MS),
});

/** Until each loop has made so many calls more, so that what follows happens under way. */
async function progress(loops: readonly CallLoop[], calls = CALLS_BETWEEN): Promise<void> {
  await Promise.all(loops.map((loop) => loop.untilCalls(loop.calls + calls)));
}

/** Does it, and waits for the record that says it is in force. */
async function changed(
  { records, screen }: Stage,
  event: string,
  act: () => void,
  detail?: string,
): Promise<ReadRecord | undefined> {
  const from = records.records.length;
  const fits = (record: ReadRecord): boolean =>
    record.event === event && (detail === undefined || record.detail === detail);
  act();
  const record = await records.until(fits, from);
  if (record === undefined) screen.expect(`${event} while calls go on`, 'a record', 'none');
  return record;
}

async function expectNoFailure({ screen }: Stage, what: string, loops: readonly CallLoop[]): Promise<void> {
  await Promise.all(loops.map((loop) => loop.stop()));
  const calls = loops.reduce((sum, loop) => sum + loop.calls, 0);
  const failures: CallAnswer[] = loops.flatMap((loop) => loop.failures);
  const why = failures.length === 0 ? '' : `: ${failures[0]?.status} ${failures[0]?.reason}`;
  screen.expect(what, `0 of ${calls}`, `${failures.length} of ${calls}${why}`);
}

/** As an operator would ask before removing an authority: who still uses it? -1 = the admin listener does not know it. */
async function connectionsOn({ adminUrl }: Stage, authority: Authority): Promise<number> {
  const snapshot = (await (await fetch(`${adminUrl}/snapshot`)).json()) as SnapshotView;
  const known = snapshot.trust.flatMap((domain) => domain.authorities);
  return known.find(({ sha256 }) => sha256 === authority.sha256)?.connections ?? -1;
}

interface SnapshotView {
  readonly trust: readonly {
    readonly authorities: readonly { readonly sha256: string; readonly connections: number }[];
  }[];
}
