import type { Config } from '../config/config.js';
import { formatProblem } from '../config/problem.js';
import { parseRevocations } from '../config/revocations.js';
import type { RevocationList } from '../identity/revocation.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { err, ok } from '../reasons.js';
import { EmergencyRevocations } from './emergency-revocations.js';
import { FileSource } from './file-source.js';
import { type LoadedSvid, loadOwnSvid, verifyOwnSvid } from './own-svid.js';
import { connectTrust, type TrustSources } from './trust-source.js';

/** Every source that one configuration names, besides itself and its policy. */
export interface SourceSet {
  readonly trust: readonly TrustSources[];
  readonly revocations: FileSource<RevocationList> | undefined;
  readonly emergency: EmergencyRevocations | undefined;
  readonly identity: FileSource<LoadedSvid>;
}

/** What the own SVID is checked against, at the moment of the check. */
export interface OwnSvidCheck {
  readonly bundles: TrustBundleSet;
  readonly nowMs: number;
  readonly clockSkewMs: number;
}

/** The sources that this configuration names; those of `known` that it still names keep their last good. Loads nothing. */
export function connectSources(
  config: Config,
  known: SourceSet | undefined,
  against: () => OwnSvidCheck,
): SourceSet {
  const { certificateFile, keyFile } = config.identity;
  const file = config.revocationsFile;
  return {
    trust: config.trust.map((trust) =>
      connectTrust(
        trust,
        known?.trust.find((candidate) => candidate.config.trustDomain === trust.trustDomain),
      ),
    ),
    revocations: file === undefined ? undefined : (reuse(known?.revocations, file) ?? revocationSource(file)),
    emergency: connectEmergency(config.emergencyRevocationsFile, known?.emergency),
    identity:
      reuse(known?.identity, certificateFile, keyFile) ?? identitySource(certificateFile, keyFile, against),
  };
}

/** In the order in which they depend on each other: a bundle stands behind its lists and the own SVID. */
export function sourcesOf(set: SourceSet): FileSource<unknown>[] {
  const sources: unknown[] = set.trust.flatMap(({ bundle, crls }) => [bundle, ...crls]);
  if (set.revocations !== undefined) sources.push(set.revocations);
  if (set.emergency !== undefined) sources.push(set.emergency.source);
  sources.push(set.identity);
  return sources as FileSource<unknown>[];
}

export function bundlesOf(trust: readonly TrustSources[]): Map<string, TrustBundle> {
  const bundles = new Map<string, TrustBundle>();
  for (const { bundle } of trust)
    if (bundle.value !== undefined) bundles.set(bundle.value.trustDomain, bundle.value);
  return bundles;
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

function identitySource(
  certificateFile: string,
  keyFile: string,
  against: () => OwnSvidCheck,
): FileSource<LoadedSvid> {
  return new FileSource<LoadedSvid>({
    name: 'identity',
    files: () => [certificateFile, keyFile],
    parse: (contents) => {
      const certificate = contents.get(certificateFile);
      const key = contents.get(keyFile);
      if (certificate === undefined || key === undefined) return err('a file is missing');
      const loaded = loadOwnSvid(certificate, key);
      if (!loaded.ok) return loaded;
      const { bundles, nowMs, clockSkewMs } = against();
      const verified = verifyOwnSvid(loaded.value, bundles, nowMs, clockSkewMs);
      return verified.ok ? loaded : verified;
    },
  });
}

function revocationSource(file: string): FileSource<RevocationList> {
  return new FileSource<RevocationList>({
    name: 'revocations',
    files: () => [file],
    hasShrunk: (next, current) => next.entries.length < current.entries.length,
    parse: (contents) => {
      const { list, problems } = parseRevocations(contents.get(file) ?? Buffer.alloc(0), file);
      return list === undefined || problems.length > 0
        ? err(problems.map(formatProblem).join('\n'))
        : ok(list);
    },
  });
}
