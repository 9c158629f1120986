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

export function createTrustSources(config: TrustConfig): TrustSources {
  const bundle = new FileSource<TrustBundle>({
    name: `bundle:${config.trustDomain}`,
    files: () => [config.bundleFile],
    parse: (contents) => parseTrustBundle(config.trustDomain, only(contents)),
  });
  const crls = config.revocation.crlFiles.map((file, i) => {
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
  });
  return { config, bundle, crls };
}

/** The CRLs that the present bundle stands behind. One signed by an authority that has left binds nobody any more. */
export function revocationPolicyOf(sources: TrustSources): RevocationPolicy {
  const { require, stale, staleGraceMs } = sources.config.revocation;
  const bundle = sources.bundle.value;
  const crls: Crl[] = [];
  for (const { value } of sources.crls) {
    if (value === undefined || bundle === undefined) continue;
    const bound = bindCrls(bundle, [value]);
    if (bound.ok) crls.push(...bound.value);
  }
  return { crls, require, stale, staleGraceMs };
}

function only(contents: ReadonlyMap<string, Buffer>): Buffer {
  const [bytes] = contents.values();
  return bytes ?? Buffer.alloc(0);
}
