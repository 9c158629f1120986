import type { TrustConfig } from '../config/config.js';
import { bindCrls, type Crl, parseCrl } from '../identity/crl.js';
import type { RevocationPolicy } from '../identity/revocation.js';
import { parseTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { err } from '../reasons.js';
import { FileSource } from './file-source.js';

/** One trust domain's sources: its bundle and each CRL, every one with its own last good. */
export interface TrustSources {
  readonly config: TrustConfig;
  readonly bundle: FileSource<TrustBundle>;
  readonly crls: readonly FileSource<Crl>[];
}

/** The sources of one entry under `trust`; whatever of them is `known` already keeps its last good. */
export function connectTrust(config: TrustConfig, known: TrustSources | undefined): TrustSources {
  const keeps = known?.config.bundleFile === config.bundleFile ? known : undefined;
  const bundle = keeps?.bundle ?? bundleSource(config);
  const crls = config.revocation.crlFiles.map((file, i) =>
    keeps?.config.revocation.crlFiles[i] === file ? keeps.crls[i]! : crlSource(config, bundle, file, i),
  );
  return { config, bundle, crls };
}

function bundleSource(config: TrustConfig): FileSource<TrustBundle> {
  return new FileSource<TrustBundle>({
    name: `bundle:${config.trustDomain}`,
    files: () => [config.bundleFile],
    parse: (contents) => parseTrustBundle(config.trustDomain, only(contents)),
    hasShrunk: (next, current) => {
      const digests = new Set(next.authorities.map((authority) => authority.sha256));
      return current.authorities.some((authority) => !digests.has(authority.sha256));
    },
  });
}

function crlSource(
  config: TrustConfig,
  bundle: FileSource<TrustBundle>,
  file: string,
  i: number,
): FileSource<Crl> {
  return new FileSource<Crl>({
    name: `crl:${config.trustDomain}:${i + 1}`,
    files: () => [file],
    parse: (contents) => {
      const crl = parseCrl(only(contents));
      if (!crl.ok || bundle.value === undefined) return crl;
      const bound = bindCrls(bundle.value, [crl.value]);
      return bound.ok ? crl : err(bound.error);
    },
  });
}

/** The CRLs that the present bundle stands behind. One signed by an authority that has left binds nobody any more. */
export function revocationPolicyOf(sources: TrustSources): RevocationPolicy {
  const { require, stale, staleGraceMs } = sources.config.revocation;
  const bundle = sources.bundle.value;
  if (bundle === undefined) return { crls: [], require, stale, staleGraceMs };
  const standing = sources.crls
    .map((source) => source.value)
    .filter((crl): crl is Crl => crl !== undefined && bindCrls(bundle, [crl]).ok);
  const bound = bindCrls(bundle, standing); // together, so that of two lists by one key the newer one counts
  return { crls: bound.ok ? bound.value : [], require, stale, staleGraceMs };
}

/** What is out of date at this moment, by source name: a list past its nextUpdate, which nobody replaced. */
export function staleLists(sources: TrustSources, nowMs: number): Map<string, string> {
  const stale = new Map<string, string>();
  for (const { spec, value } of sources.crls) {
    if (value === undefined || nowMs <= value.nextUpdateMs) continue;
    const since = new Date(value.nextUpdateMs).toISOString();
    stale.set(spec.name, `the list of ${value.issuer} should have been replaced by ${since}`);
  }
  return stale;
}

function only(contents: ReadonlyMap<string, Buffer>): Buffer {
  const [bytes] = contents.values();
  return bytes ?? Buffer.alloc(0);
}
