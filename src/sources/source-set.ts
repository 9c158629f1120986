import type { SealKey } from '../audit/seal-key.js';
import type { Config } from '../config/config.js';
import { formatProblems } from '../config/problem.js';
import { parseRevocations } from '../config/revocations.js';
import type { RevocationList } from '../identity/revocation.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { err, ok } from '../reasons.js';
import type { OwnSvid } from '../snapshot.js';
import { AssertionKeySource } from './assertion-key-source.js';
import { EmergencyRevocations } from './emergency-revocations.js';
import { FileSource } from './file-source.js';
import { GrantStore } from './grant-store.js';
import { connectListeners, type ListenerSources, listenerSourcesOf } from './listener-sources.js';
import { type LoadedSvid, loadOwnSvid, verifyOwnSvid } from './own-svid.js';
import { sealKeySource } from './seal-key-source.js';
import type { Source, SourceHost } from './source.js';
import { connectTokens, keySourcesOf, type TokenSources } from './token-sources.js';
import { TrustFolder } from './trust-folder.js';
import { connectTrust, type TrustOrigins, type TrustSources } from './trust-source.js';
import { WorkloadApiSource } from './workload-api-source.js';

/** Every source that one configuration names, besides itself and its policy. */
export interface SourceSet {
  readonly workloadApi: WorkloadApiSource | undefined;
  /** The entries that name their domain. */
  readonly entries: readonly TrustSources[];
  readonly folders: readonly TrustFolder[];
  readonly revocations: FileSource<RevocationList> | undefined;
  readonly emergency: EmergencyRevocations | undefined;
  readonly grants: GrantStore | undefined;
  /** undefined = it comes from the Workload API. */
  readonly identity: FileSource<LoadedSvid> | undefined;
  readonly sealKey: FileSource<SealKey> | undefined;
  readonly assertionKey: AssertionKeySource | undefined;
  readonly tokens: TokenSources;
  readonly listeners: ListenerSources;
}

/** What the own SVID is checked against, at the moment of the check. */
export interface OwnSvidCheck {
  readonly bundles: TrustBundleSet;
  /** The domain is configured, and its bundle has not come yet. */
  isAwaited(trustDomain: string): boolean;
  readonly nowMs: number;
  readonly clockSkewMs: number;
}

/** The sources that this configuration names; those of `known` that it still names keep their last good. Loads nothing. */
export function connectSources(
  config: Config,
  known: SourceSet | undefined,
  against: (identity: FileSource<LoadedSvid>) => OwnSvidCheck,
  host: SourceHost,
): SourceSet {
  const { identity, revocationsFile } = config;
  const workloadApi = connectWorkloadApi(config, known?.workloadApi, host);
  const origins = { workloadApi, knownWorkloadApi: known?.workloadApi, host };
  return {
    workloadApi,
    entries: config.trust.map((trust) => {
      const before = known?.entries.find(({ config: { trustDomain } }) => trustDomain === trust.trustDomain);
      return connectTrust(trust, before, origins);
    }),
    folders: connectFolders(config, known, origins),
    revocations:
      revocationsFile === undefined
        ? undefined
        : (reuse(known?.revocations, revocationsFile) ?? revocationSource(revocationsFile)),
    emergency: connectEmergency(config.emergencyRevocationsFile, known?.emergency),
    grants: connectGrants(config.exceptions, known?.grants, () => host.nowMs()),
    identity:
      identity.kind === 'workloadApi'
        ? undefined
        : (reuse(known?.identity, identity.certificateFile, identity.keyFile) ??
          identitySource(identity.certificateFile, identity.keyFile, against)),
    sealKey: connectSealKey(config, known, host),
    assertionKey: connectAssertionKey(config, known?.assertionKey, host),
    tokens: connectTokens(config, known?.tokens, host),
    listeners: connectListeners(config, known?.listeners, host),
  };
}

/** In the order in which they depend on each other: a bundle stands behind its lists and the own SVID. */
export function sourcesOf(set: SourceSet): Source[] {
  const { workloadApi, entries, folders, revocations, emergency, grants, identity, sealKey, assertionKey } =
    set;
  const sources: (Source | undefined)[] = [
    emergency?.source, // first: nothing else has as much hurry
    revocations,
    grants?.source,
    workloadApi,
    ...entries.flatMap(({ own }) => own),
    ...folders,
    ...folders.flatMap(({ trust }) => trust.flatMap(({ own }) => own)),
    identity,
    sealKey,
    assertionKey,
    ...keySourcesOf(set.tokens),
    ...listenerSourcesOf(set.listeners),
  ];
  return sources.filter((source) => source !== undefined);
}

/** Each trust domain of the entries and the folders. */
export const trustOf = ({
  entries,
  folders,
}: Pick<SourceSet, 'entries' | 'folders'>): readonly TrustSources[] =>
  folders.length === 0 ? entries : [...entries, ...folders.flatMap(({ trust }) => trust)];

/** Our own SVID, and whether it must not be shown any more. */
export function ownSvidOf({ identity, workloadApi }: SourceSet): {
  readonly own: OwnSvid | undefined;
  readonly isWithdrawn: boolean;
} {
  if (identity !== undefined) return { own: identity.value?.own, isWithdrawn: false };
  return { own: workloadApi?.own?.own, isWithdrawn: workloadApi?.isWithdrawn ?? false };
}

export function bundlesOf(trust: readonly TrustSources[]): Map<string, TrustBundle> {
  const bundles = new Map<string, TrustBundle>();
  for (const { bundle } of trust)
    if (bundle.value !== undefined) bundles.set(bundle.value.trustDomain, bundle.value);
  return bundles;
}

function connectFolders(
  { trust, trustFolders }: Config,
  known: SourceSet | undefined,
  origins: TrustOrigins,
): readonly TrustFolder[] {
  const taken = new Set<string>(trust.map(({ trustDomain }) => trustDomain));
  const folders: TrustFolder[] = [];
  for (const config of trustFolders) {
    const inFront = [...folders];
    const before = known?.folders.find((of) => of.config.folder === config.folder);
    const isSame = before?.isBeside(taken, inFront) === true;
    folders.push(isSame ? before : new TrustFolder(config, taken, origins, inFront, before));
  }
  return folders;
}

function connectWorkloadApi(
  { workloadApi, identity, tokens }: Config,
  known: WorkloadApiSource | undefined,
  host: SourceHost,
): WorkloadApiSource | undefined {
  if (workloadApi === undefined) return undefined;
  const { socket } = workloadApi;
  const wants = { socket, identity: identity.kind === 'workloadApi' ? identity : undefined };
  const isKept = JSON.stringify(known?.wants) === JSON.stringify(wants);
  const source = isKept && known !== undefined ? known : new WorkloadApiSource(wants, host);
  if (tokens.some(({ issuer }) => issuer.kind === 'jwt-svid')) source.wantJwtBundles();
  return source;
}

function reuse<T>(source: FileSource<T> | undefined, ...files: string[]): FileSource<T> | undefined {
  return source?.spec.files().join('\0') === files.join('\0') ? source : undefined;
}

function connectEmergency(
  file: string | undefined,
  known: EmergencyRevocations | undefined,
): EmergencyRevocations | undefined {
  if (file === undefined) return undefined;
  return known?.file === file ? known : new EmergencyRevocations(file, known);
}

/** The writer began with it: another file, or none, is for the next start. */
function connectSealKey(
  { audit }: Config,
  known: SourceSet | undefined,
  host: SourceHost,
): FileSource<SealKey> | undefined {
  if (known !== undefined) return known.sealKey;
  if (audit.seal === undefined) return undefined;
  return sealKeySource(audit.seal.keyFile, (source, note) => host.noted(source, note));
}

/** Another file, overlap or place is another source; what the old one published it publishes on. */
function connectAssertionKey(
  { forward: { assertion } }: Config,
  known: AssertionKeySource | undefined,
  host: SourceHost,
): AssertionKeySource | undefined {
  if (assertion === undefined) return undefined;
  const { keyFile, overlapMs, jwksFile } = assertion;
  const now = known?.settings;
  const isSame = now?.keyFile === keyFile && now.overlapMs === overlapMs && now.jwksFile === jwksFile;
  return isSame ? known : new AssertionKeySource(assertion, host, known);
}

/** A shorter bound is held against what stands in the file as well: that makes it another source. */
function connectGrants(
  { file, maxLengthMs }: Config['exceptions'],
  known: GrantStore | undefined,
  nowMs: () => number,
): GrantStore | undefined {
  if (file === undefined) return undefined;
  return known?.file.path === file && known.file.maxLengthMs === maxLengthMs
    ? known
    : new GrantStore(file, maxLengthMs, nowMs, known);
}

function identitySource(
  certificateFile: string,
  keyFile: string,
  against: (identity: FileSource<LoadedSvid>) => OwnSvidCheck,
): FileSource<LoadedSvid> {
  const source = new FileSource<LoadedSvid>({
    name: 'identity',
    files: () => [certificateFile, keyFile],
    parse: (contents) => {
      const certificate = contents.get(certificateFile);
      const key = contents.get(keyFile);
      if (certificate === undefined || key === undefined) return err('a file is missing');
      const loaded = loadOwnSvid(certificate, key);
      if (!loaded.ok) return loaded;
      const { bundles, isAwaited, nowMs, clockSkewMs } = against(source);
      if (isAwaited(loaded.value.own.id.trustDomain)) return loaded; // until then nobody of the domain is let in
      const verified = verifyOwnSvid(loaded.value, bundles, nowMs, clockSkewMs);
      return verified.ok ? loaded : verified;
    },
  });
  return source;
}

function revocationSource(file: string): FileSource<RevocationList> {
  return new FileSource<RevocationList>({
    name: 'revocations',
    files: () => [file],
    hasShrunk: (next, current) => next.entries.length < current.entries.length,
    parse: (contents) => {
      const { list, problems } = parseRevocations(contents.get(file) ?? Buffer.alloc(0), file);
      return list === undefined || problems.length > 0 ? err(formatProblems(problems)) : ok(list);
    },
  });
}
