import { type Authority, mintRoot } from '../../src/dev/pki.js';
import { readAuditLines } from '../support/audit-lines.js';
import { mintFrom } from '../support/bench-pki.js';
import { type BenchSite, pause, withSite } from '../support/bench-site.js';
import { getRequest, HOST, type PemIdentity } from '../support/raw-connection.js';
import { round } from '../support/statistics.js';
import { type Caller, type CallersResult, type Manner, RotationLoad } from './rotation-load.js';

const CLIENTS = 200;
/** Of ten: what each does with its open connection when it gets a new certificate. */
const MANNERS: readonly Manner[] = [
  ...(['moves', 'moves', 'moves', 'moves', 'moves', 'moves'] as const),
  ...(['stays', 'stays', 'stays', 'reconnects'] as const),
];
const RENEWING_MS = 4000;
const PHASE_MS = 2000;
const PATIENCE_MS = 10_000;
const OWN_ID = 'spiffe://example.org/ns/prod/sa/sidecar';

export interface RotationResult extends CallersResult {
  readonly workers: number;
  readonly clients: number;
  /** Connections of the old authority that were open when it was taken away, as recorded: all of clients that stayed. */
  readonly terminated: number;
  readonly stayed: number;
  readonly perSecond: number;
}

/** Old, both, everybody renewed, new only, under the calls of 200 clients. */
export async function measureRotation(nodePath: string, workers: number): Promise<RotationResult> {
  return withSite(nodePath, (site) => rotateUnderLoad(site, workers), { crowd: 10_000, workers });
}

async function rotateUnderLoad(site: BenchSite, workers: number): Promise<RotationResult> {
  const { pki, countersign } = site;
  const next = await mintRoot('example.org', { subject: 'O=Bench,CN=next root' });
  const callers = await mintCallers(pki.root, next);
  const load = new RotationLoad();
  try {
    const request = getRequest('/invoices/7').toString('latin1');
    await load.start({ port: countersign.port, request, callers });
    const startedMs = performance.now();
    await rotate(site, next, load);
    const result = await load.stop();
    const seconds = (performance.now() - startedMs) / 1000;
    await countersign.program.stop(); // its last records are written then
    const terminated = readAuditLines(countersign.auditFile).filter(
      ({ event }) => event === 'connection.terminated',
    ).length;
    const stayed = callers.filter(({ manner }) => manner === 'stays').length;
    const perSecond = round(result.answered / seconds, 0);
    return { workers, clients: callers.length, terminated, stayed, perSecond, ...result };
  } finally {
    load.terminate();
  }
}

async function rotate(site: BenchSite, next: Authority, load: RotationLoad): Promise<void> {
  const { folder, pki } = site;
  folder.replace('bundle.pem', pki.root.certPem + next.certPem);
  await untilInForce(site, [pki.root, next], undefined);
  const renewing = load.renew(RENEWING_MS);
  await pause(RENEWING_MS / 2);
  const own = await next.issue(OWN_ID, { otherSans: [`DNS:${HOST}`], ttlMs: 86_400_000 });
  folder.replace('server.pem', own.chainPem);
  folder.replace('server-key.pem', own.keyPem);
  await untilInForce(site, [pki.root, next], own.serial);
  await renewing;
  await pause(PHASE_MS / 2);
  folder.replace('bundle.pem', next.certPem);
  await untilInForce(site, [next], own.serial);
  await pause(PHASE_MS);
}

async function mintCallers(old: Authority, next: Authority): Promise<Caller[]> {
  const callers: Caller[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const id = `spiffe://example.org/ns/crowd/sa/w${i}`;
    const [before, after]: PemIdentity[] = [await mintFrom(old, id), await mintFrom(next, id)];
    callers.push({ before: before!, after: after!, manner: MANNERS[i % MANNERS.length]! });
  }
  return callers;
}

interface Shown {
  readonly agreed?: boolean;
  readonly own: { readonly serial: string };
  readonly trust: readonly { readonly authorities: readonly { readonly sha256: string }[] }[];
}

/** In every worker, as /snapshot says. */
async function untilInForce(
  { countersign }: BenchSite,
  authorities: readonly Authority[],
  serial: string | undefined,
): Promise<void> {
  const wanted = fingerprints(authorities);
  for (const untilMs = performance.now() + PATIENCE_MS; performance.now() < untilMs; await pause(20)) {
    const response = await fetch(`http://127.0.0.1:${countersign.adminPort}/snapshot`);
    const { agreed, own, trust } = (await response.json()) as Shown;
    const isOwn = serial === undefined || own.serial === serial;
    if (agreed !== false && isOwn && fingerprints(trust[0]?.authorities ?? []) === wanted) return;
  }
  throw new Error('a step of the rotation did not come into force');
}

const fingerprints = (authorities: readonly { readonly sha256: string }[]): string =>
  authorities
    .map(({ sha256 }) => sha256)
    .sort()
    .join();
