import { parseTrustDomain } from './spiffe-id.js';

/** What the names in a bundle folder say. */
export interface FolderNames {
  /** Trust domain to its file's name. */
  readonly domains: ReadonlyMap<string, string>;
  /** Trust domains that two files or more claim, in none of which is more right than in the other. They are not in `domains`. */
  readonly contested: ReadonlyMap<string, readonly string[]>;
  readonly ignored: readonly IgnoredName[];
  /** Each names the file and what to do. */
  readonly problems: readonly string[];
}

export interface IgnoredName {
  readonly name: string;
  readonly why: string;
}

/**
 * What may follow the trust domain, longest first. The long ones are of SPIFFE Filesystem Delivery (a draft: spiffe/spiffe#376, and
 * its earlier forms); they say themselves that a bundle comes, so that with them any name before them is a trust domain.
 */
const DELIVERY_SUFFIXES = ['.spiffe-trust-bundle.x509.pem', '.spiffe-trust-bundle.pem', '.trust-bundle.pem'];
const SUFFIXES = ['.pem', '.crt', '.json', '.spiffe'];

/** What lies beside bundles by common habit and is none: keys and SVIDs of spiffe-helper, cert-manager, SPIRE, Filesystem Delivery. */
const NO_BUNDLE =
  /^(?:credential-bundle(?:\..+)?\.pem|(?:svid|cert|tls|key)(?:[._-]?(?:key|cert|chain))?(?:\.\d+)?\.(?:pem|crt|key)|jwt_bundle\.json|hints\.json)$/;
/** A bundle by common habit, but whose? Its folder entry would be a trust domain that nobody has. */
const NAMELESS =
  /^(?:(?:svid[._-]?)?bundle(?:\.\d+)?|federated_bundle(?:\.\d+)*|(?:spiffe-)?trust-bundle|ca|ca-bundle|ca-certificates|root-certs?)\.(?:pem|crt|json|spiffe)$/;

/** Which files of a folder are bundles, and of which trust domain, by their names alone. What is left out is said, with the reason. */
export function bundlesInFolder(names: readonly string[]): FolderNames {
  const files = new Map<string, string[]>();
  const ignored: IgnoredName[] = [];
  const problems: string[] = [];
  for (const name of [...names].sort()) {
    const why = whyIgnored(name);
    if (why !== undefined) {
      ignored.push({ name, why });
      continue;
    }
    const domain = domainOf(name);
    if (domain.problem !== undefined) problems.push(`${JSON.stringify(name)}: ${domain.problem}`);
    else files.set(domain.name, [...(files.get(domain.name) ?? []), name]);
  }
  const domains = new Map<string, string>();
  const contested = new Map<string, readonly string[]>();
  for (const [domain, [name, ...others]] of files) {
    if (others.length === 0) {
      domains.set(domain, name!);
      continue;
    }
    contested.set(domain, [name!, ...others]);
    problems.push(
      `${[name, ...others].join(' and ')} are both the bundle of ${domain}; leave one of them, with all of its authorities`,
    );
  }
  return { domains, contested, ignored, problems };
}

function whyIgnored(name: string): string | undefined {
  if (name.startsWith('.')) return 'a hidden file'; // ..data of a Kubernetes volume, and half-written files of many tools
  if (name.endsWith('~') || /\.(?:tmp|bak|orig|swp|disabled)$/i.test(name))
    return 'a temporary file or a copy';
  if (/^README(?:\.|$)/i.test(name)) return 'a note for people';
  if (NO_BUNDLE.test(name)) return 'a key, a certificate chain or a list of hints, no bundle';
  // In any case of letters: a name with a wrong one is not overlooked, it is a problem.
  const lower = name.toLowerCase();
  return SUFFIXES.some((suffix) => lower.endsWith(suffix)) ? undefined : `no file of ${SUFFIXES.join(', ')}`;
}

type Named =
  | { readonly name: string; readonly problem?: undefined }
  | { readonly name?: undefined; readonly problem: string };

function domainOf(name: string): Named {
  if (NAMELESS.test(name))
    return {
      problem:
        'it does not name a trust domain; rename it, or give it an entry with trustDomain and bundle.file',
    };
  const suffix = [...DELIVERY_SUFFIXES, ...SUFFIXES].find((candidate) => name.endsWith(candidate));
  if (suffix === undefined) return { problem: 'write its ending in lower case' };
  const domain = parseTrustDomain(name.slice(0, -suffix.length));
  return domain.ok
    ? { name: domain.value }
    : { problem: `it is to be named after its trust domain, but ${domain.error}` };
}
