import { err, ok, type Result } from '../reasons.js';
import { parseJwtKeySet } from './bundle-document.js';
import type { Certificate } from './certificate.js';
import { createTrustBundle, parseAuthority, type TrustBundle } from './create-trust-bundle.js';
import { type Crl, parseCrl } from './crl.js';
import { Tag } from './der.js';
import { parseSpiffeId, type TrustDomain } from './spiffe-id.js';
import type {
  BundleMessages,
  JwtBundlesResponse,
  X509BundlesResponse,
  X509SvidMessage,
  X509SvidResponse,
} from './workload-proto.js';
import { readWorkloadSvid, splitDer, type WorkloadSvid } from './workload-svid.js';

/** What one message of FetchX509SVID says, whole: what it does not hold any more is withdrawn (Workload API 4.3, 4.4). */
export interface X509Update {
  readonly svids: readonly WorkloadSvid[];
  /** By trust domain, the SVIDs' own and federated ones. One without authorities is a domain that nobody may use any more. */
  readonly bundles: ReadonlyMap<string, TrustBundle>;
  /** Read, not yet believed: `bindCrls` does that. */
  readonly crls: readonly Crl[];
}

export type X509Bundles = Omit<X509Update, 'svids'>;
/** By trust domain; no bundle in it has X.509 authorities. */
export type JwtBundles = ReadonlyMap<string, TrustBundle>;

/** More than this in one message is a mistake or a flood: the message is refused whole. Authorities are those of all domains. */
export const workloadLimits = {
  messageBytes: 4 * 1024 * 1024,
  svids: 128,
  bundles: 1024,
  authorities: 4096,
  crls: 128,
} as const;

/** A reading that pauses after each heavy item, so that its caller can let others work in between. */
export type Reading<T> = Generator<undefined, Result<T, string>, undefined>;

/** Reads a message of FetchX509SVID (SPIFFE Workload API 5.2.1): all of it, or why none of it counts. */
export function* readX509Update(response: X509SvidResponse): Reading<X509Update> {
  const { svids: messages, crl, federatedBundles } = response;
  if (messages.length === 0) return err('svids is empty'); // Workload API 4.5: mandatory
  if (messages.length > workloadLimits.svids)
    return err(`it holds ${messages.length} SVIDs, more than ${workloadLimits.svids}`);
  const svids: WorkloadSvid[] = [];
  const bundles = new BundleReader();
  for (const [index, message] of messages.entries()) {
    const where = `SVID ${index + 1}`;
    const svid = readWorkloadSvid(message);
    yield;
    if (!svid.ok) return err(`${where}: ${svid.error}`);
    const problem = yield* bundles.readOwn(svid.value.id.trustDomain, message);
    if (problem !== undefined) return err(`${where}: bundle: ${problem}`);
    svids.push(svid.value);
  }
  const problem = yield* bundles.readMap(federatedBundles);
  if (problem !== undefined) return err(`federated_bundles: ${problem}`);
  const crls = yield* readCrls(crl);
  if (!crls.ok) return crls;
  return ok({ svids: firstOfEachHint(svids), bundles: bundles.read, crls: crls.value });
}

/** Reads a message of FetchX509Bundles (SPIFFE Workload API 5.2.2), as `readX509Update` does. */
export function* readX509Bundles({ crl, bundles }: X509BundlesResponse): Reading<X509Bundles> {
  if (Object.keys(bundles).length === 0) return err('bundles is empty'); // Workload API 4.5: mandatory
  const reader = new BundleReader();
  const problem = yield* reader.readMap(bundles);
  if (problem !== undefined) return err(`bundles: ${problem}`);
  const crls = yield* readCrls(crl);
  return crls.ok ? ok({ bundles: reader.read, crls: crls.value }) : crls;
}

/** Reads a message of FetchJWTBundles (SPIFFE Workload API 6.2.2), as `readX509Update` does. */
export function* readJwtBundles({ bundles }: JwtBundlesResponse): Reading<JwtBundles> {
  const entries = domainEntries(bundles);
  if (!entries.ok) return err(`bundles: ${entries.error}`);
  if (entries.value.length === 0) return err('bundles is empty'); // Workload API 4.5: mandatory
  const read = new Map<string, TrustBundle>();
  for (const [trustDomain, jwks] of entries.value) {
    // As with certificates: nothing for a domain withdraws what it had. The other reading would keep trusting the old keys.
    const bundle =
      jwks.length === 0 ? ok(createTrustBundle({ trustDomain })) : parseJwtKeySet(trustDomain, jwks);
    yield;
    if (!bundle.ok) return err(`bundles: ${trustDomain}: ${bundle.error}`);
    read.set(trustDomain, bundle.value);
  }
  return ok(read);
}

type Steps<T> = Generator<undefined, T, undefined>;

/** The X.509 bundles of one message. Two different ones for one domain refuse it: neither may join or replace the other. */
class BundleReader {
  readonly read = new Map<string, TrustBundle>();
  readonly #own = new Map<string, Buffer>();
  #authorities = 0;

  /** The problem, if any. SVIDs of one domain carry the same bundle each, which is read once. */
  *readOwn(trustDomain: TrustDomain, { bundle }: X509SvidMessage): Steps<string | undefined> {
    if (this.#own.get(trustDomain)?.equals(bundle)) return undefined;
    const problem = yield* this.#readOne(trustDomain, bundle);
    if (problem === undefined) this.#own.set(trustDomain, bundle);
    return problem;
  }

  *readMap(bundles: BundleMessages): Steps<string | undefined> {
    const entries = domainEntries(bundles);
    if (!entries.ok) return entries.error;
    for (const [trustDomain, bytes] of entries.value) {
      const problem = yield* this.#readOne(trustDomain, bytes);
      if (problem !== undefined) return `${trustDomain}: ${problem}`;
    }
    return undefined;
  }

  *#readOne(trustDomain: TrustDomain, bytes: Buffer): Steps<string | undefined> {
    const ders = splitDer(bytes, workloadLimits.authorities);
    if (!ders.ok) return ders.error;
    this.#authorities += ders.value.length;
    if (this.#authorities > workloadLimits.authorities)
      return `with it the message holds more than ${workloadLimits.authorities} authorities`;
    const authorities: Certificate[] = [];
    for (const [index, der] of ders.value.entries()) {
      const authority = parseAuthority(der);
      yield;
      if (!authority.ok) return `certificate ${index + 1}: ${authority.error}`;
      authorities.push(authority.value);
    }
    const bundle = createTrustBundle({ trustDomain, authorities });
    const known = this.read.get(trustDomain);
    if (known !== undefined && known.revision !== bundle.revision)
      return `the message holds two different bundles for ${trustDomain}`;
    this.read.set(trustDomain, known ?? bundle);
    return undefined;
  }
}

/** Keys are the SPIFFE IDs of trust domains (Workload API 5.1): capitals, paths and bare names are refused. */
function domainEntries(bundles: BundleMessages): Result<readonly (readonly [TrustDomain, Buffer])[], string> {
  const entries = Object.entries(bundles);
  if (entries.length > workloadLimits.bundles)
    return err(`${entries.length} bundles are more than ${workloadLimits.bundles}`);
  const read: (readonly [TrustDomain, Buffer])[] = [];
  for (const [key, bytes] of entries) {
    const id = parseSpiffeId(key);
    const problem = !id.ok ? id.error : id.value.path === '' ? undefined : 'it has a path';
    if (!id.ok || problem !== undefined)
      return err(`${JSON.stringify(key.slice(0, 200))} is not the SPIFFE ID of a trust domain: ${problem}`);
    read.push([id.value.trustDomain, bytes]);
  }
  return ok(read);
}

function* readCrls(messages: readonly Buffer[]): Reading<readonly Crl[]> {
  if (messages.length > workloadLimits.crls)
    return err(`it holds ${messages.length} revocation lists, more than ${workloadLimits.crls}`);
  const crls = new Map<string, Crl>();
  for (const [index, der] of messages.entries()) {
    const crl = der[0] === Tag.sequence ? parseCrl(der) : err('it is not DER'); // parseCrl takes PEM as well
    yield;
    if (!crl.ok) return err(`crl ${index + 1}: ${crl.error}`);
    crls.set(crl.value.sha256, crl.value);
  }
  return ok([...crls.values()]);
}

/** Workload API 5.2.1: of several SVIDs with one hint the first counts; those without a hint all do. */
function firstOfEachHint(svids: readonly WorkloadSvid[]): readonly WorkloadSvid[] {
  const seen = new Set<string>();
  return svids.filter(({ hint }) => {
    if (hint === '') return true;
    if (seen.has(hint)) return false;
    seen.add(hint);
    return true;
  });
}
