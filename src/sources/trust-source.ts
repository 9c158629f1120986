import type { TrustConfig } from '../config/config.js';
import {
  bindCrls,
  type Crl,
  describeExpiredList,
  parseCrl,
  scopeOf,
  whyNoSuccessor,
} from '../identity/crl.js';
import type { RevocationPolicy } from '../identity/revocation.js';
import type { TrustDomain } from '../identity/spiffe-id.js';
import { parseTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { err, ok, type Result } from '../reasons.js';
import { readCrlOffThread } from './crl-off-thread.js';
import { EndpointSource } from './endpoint-source.js';
import { FileSource } from './file-source.js';
import type { Source, SourceHost } from './source.js';
import type { WorkloadApiSource } from './workload-api-source.js';

/** A list of this size is read and verified in two milliseconds; a longer one must not hold up requests. */
const OFF_THREAD_BYTES = 64 * 1024;

/** One trust domain: its bundle and each CRL, every one with its own last good. */
export interface TrustSources {
  readonly config: TrustConfig;
  readonly bundle: { readonly value: TrustBundle | undefined };
  readonly crls: readonly FileSource<Crl>[];
  /** Lists that come with the bundle, bound to it. */
  givenCrls(): readonly Crl[];
  /** The sources that are this domain's alone. */
  readonly own: readonly Source[];
}

/** Where the bundles come from that have no file of their own. */
export interface TrustOrigins {
  readonly workloadApi: WorkloadApiSource | undefined;
  /** The one whose bundles the known sources have. */
  readonly knownWorkloadApi?: WorkloadApiSource | undefined;
  readonly host: SourceHost;
}

/** The sources of one entry under `trust`; whatever of them is `known` already keeps its last good. */
export function connectTrust(
  config: TrustConfig,
  known: TrustSources | undefined,
  { workloadApi, knownWorkloadApi, host }: TrustOrigins,
): TrustSources {
  const isKept = JSON.stringify(known?.config.bundle) === JSON.stringify(config.bundle);
  // Kept lists remember what was newest: without that an older one, put back, would take revocations back.
  const keeps =
    isKept && (config.bundle.kind !== 'workloadApi' || workloadApi === knownWorkloadApi) ? known : undefined;
  const bundle = keeps?.bundle ?? bundleOf(config, workloadApi, host);
  const crls = config.revocation.crlFiles.map((file, i) =>
    keeps?.config.revocation.crlFiles[i] === file ? keeps.crls[i]! : crlSource(config, bundle, file, i),
  );
  const givenCrls = (): readonly Crl[] =>
    config.bundle.kind === 'workloadApi' ? (workloadApi?.crlsOf(config.trustDomain) ?? []) : [];
  const own: Source[] = bundle instanceof FileSource || bundle instanceof EndpointSource ? [bundle] : [];
  return { config, bundle, crls, givenCrls, own: [...own, ...crls] };
}

function bundleOf(
  config: TrustConfig,
  workloadApi: WorkloadApiSource | undefined,
  host: SourceHost,
): TrustSources['bundle'] {
  const { bundle, trustDomain } = config;
  switch (bundle.kind) {
    case 'file':
      return bundleSource(trustDomain, bundle.file);
    case 'endpoint':
      return new EndpointSource(trustDomain, bundle, host);
    case 'workloadApi':
      return {
        get value() {
          return workloadApi?.value?.bundles.get(trustDomain);
        },
      };
  }
}

function bundleSource(trustDomain: TrustDomain, file: string): FileSource<TrustBundle> {
  return new FileSource<TrustBundle>({
    name: `bundle:${trustDomain}`,
    files: () => [file],
    parse: (contents) => parseTrustBundle(trustDomain, only(contents)),
    hasShrunk: (next, current) => {
      const digests = new Set(next.authorities.map((authority) => authority.sha256));
      return current.authorities.some((authority) => !digests.has(authority.sha256));
    },
  });
}

function crlSource(
  config: TrustConfig,
  bundle: TrustSources['bundle'],
  file: string,
  i: number,
): FileSource<Crl> {
  /** The newest that was good, by scope: also across a list of another authority that stood in the file between two of one. */
  const newest = new Map<string, Crl>();
  let isTooEarly = false;
  return new FileSource<Crl>({
    name: `crl:${config.trustDomain}:${i + 1}`,
    files: () => [file],
    isAwaited: () => isTooEarly,
    parse: async (contents) => {
      isTooEarly = bundle.value === undefined;
      const read = await readBoundCrl(only(contents), config, bundle);
      if (!read.ok) return read;
      const crl: Crl = { ...read.value, origin: { number: i + 1, file } };
      const known = newest.get(scopeOf(crl));
      const why = known && whyNoSuccessor(crl, known);
      if (why !== undefined) return err(why);
      newest.set(scopeOf(crl), crl);
      return ok(crl);
    },
  });
}

/** Bound when it is read, off the request path where it is long; from then on no bundle makes anybody hash it again. */
async function readBoundCrl(
  bytes: Buffer,
  { trustDomain }: TrustConfig,
  { value: bundle }: TrustSources['bundle'],
): Promise<Result<Crl, string>> {
  if (bundle === undefined)
    return err(`there is no bundle of ${trustDomain} yet, so nobody can say who signed the list`);
  if (bytes.length > OFF_THREAD_BYTES) return readCrlOffThread(bytes, bundle);
  const crl = parseCrl(bytes);
  if (!crl.ok) return crl;
  const bound = bindCrls(bundle, [crl.value]);
  return bound.ok ? ok(bound.value[0] ?? crl.value) : bound;
}

/**
 * The CRLs that the present bundle stands behind. One signed by an authority that has left binds nobody any more; one that was
 * never read lets nobody in. Verifies no signature: every list of a source is bound.
 */
export function revocationPolicyOf(sources: TrustSources): RevocationPolicy {
  const { require, stale, staleGraceMs } = sources.config.revocation;
  const bundle = sources.bundle.value;
  if (bundle === undefined) return { crls: [], require, stale, staleGraceMs };
  const absent = sources.crls.find((source) => source.value === undefined);
  const missing = absent && `the revocation list ${absent.spec.name} has not been read yet`;
  const standing = listsOf(sources).filter((crl) => bindCrls(bundle, [crl]).ok);
  const bound = bindCrls(bundle, standing); // together, so that of two lists of one scope the newer one counts
  return { crls: bound.ok ? bound.value : [], require, stale, staleGraceMs, missing };
}

/** What is out of date at this moment, by source name: a list past its nextUpdate, or whose authority has left the bundle. */
export function staleLists(sources: TrustSources, nowMs: number): Map<string, string> {
  const bundle = sources.bundle.value;
  const { stale, staleGraceMs } = sources.config.revocation;
  const found = new Map<string, string>();
  for (const { spec, value } of sources.crls) {
    if (value === undefined || bundle === undefined) continue;
    const bound = bindCrls(bundle, [value]);
    if (!bound.ok) found.set(spec.name, `${bound.error}: it decides nothing any more`);
    else if (nowMs > value.nextUpdateMs)
      found.set(
        spec.name,
        `${describeExpiredList(value)}; ${effectOf(stale, value.nextUpdateMs + staleGraceMs)}`,
      );
  }
  return found;
}

function effectOf(stale: 'deny' | 'use', freshUntilMs: number): string {
  if (stale === 'use') return 'what is on it stays revoked, what was revoked since is not known (stale: use)';
  const from = new Date(freshUntilMs).toISOString();
  return `whoever it covers is refused from ${from} until it is replaced (stale: deny)`;
}

const listsOf = ({ crls, givenCrls }: TrustSources): Crl[] => [
  ...crls.map((source) => source.value).filter((crl): crl is Crl => crl !== undefined),
  ...givenCrls(),
];

function only(contents: ReadonlyMap<string, Buffer>): Buffer {
  const [bytes] = contents.values();
  return bytes ?? Buffer.alloc(0);
}
