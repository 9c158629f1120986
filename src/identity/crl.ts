import { constants, verify } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import type { Certificate } from './certificate.js';
import type { TrustBundle } from './create-trust-bundle.js';
import type { Crl, Signed } from './crl-reader.js';
import { isSameName } from './distinguished-name.js';

export {
  type Crl,
  type CrlData,
  type CrlOrigin,
  createCrl,
  parseCrl,
  parseCrlData,
} from './crl-reader.js';

/** Verifies a list against the certificate of its issuer: name, cRLSign, signature (RFC 5280 6.3.3 (f), (g)). */
export function verifyCrl(crl: Crl, issuer: Certificate): Result<void, string> {
  if (!isSameName(crl.issuerName, issuer.subjectName)) return err('the list names another issuer');
  if (crl.authorityKeyId !== undefined && issuer.subjectKeyId !== undefined)
    if (crl.authorityKeyId !== issuer.subjectKeyId) return err('the list names another key of its issuer');
  if (!issuer.keyUsage?.has('cRLSign')) return err('its issuer may not sign lists');
  if (crl.signed.scheme === undefined) return err('its signature algorithm proves nothing');
  // Once verified, a signature is that key's, whatever certificate or bundle the key comes in: never hashed again.
  if (crl.signerKeySha256 !== undefined)
    return crl.signerKeySha256 === issuer.keySha256 ? ok(undefined) : err('another key signed it');
  return hasSignature(crl.signed, issuer) ? ok(undefined) : err('its signature is wrong');
}

function hasSignature({ content, signature, scheme }: Signed, issuer: Certificate): boolean {
  if (scheme === undefined) return false;
  const key = issuer.x509.publicKey;
  try {
    return scheme.isPss
      ? verify(scheme.digest, content, { key, ...pssPadding }, signature)
      : verify(scheme.digest, content, key, signature);
  } catch {
    return false; // a key that OpenSSL cannot use has signed nothing
  }
}

const pssPadding = {
  padding: constants.RSA_PKCS1_PSS_PADDING,
  saltLength: constants.RSA_PSS_SALTLEN_AUTO,
} as const;

/**
 * Binds lists to the authorities of one trust domain by signature: b.test must not revoke a.test's certificates. One list that
 * no authority signed, or that can decide nothing, refuses them all. Of several lists of one scope the newest stays.
 */
export function bindCrls(
  bundle: Pick<TrustBundle, 'trustDomain' | 'authorities'>,
  crls: readonly Crl[],
): Result<readonly Crl[], string> {
  const newest = new Map<string, readonly Crl[]>();
  for (const crl of crls) {
    if (crl.unusable !== undefined) return err(`the list of ${crl.issuer} cannot be used: ${crl.unusable}`);
    const signer = findSigner(bundle, crl);
    if (!signer.ok) return signer;
    const bound: Crl = { ...crl, signerKeySha256: signer.value };
    newest.set(scopeOf(bound), newestOf(newest.get(scopeOf(bound)) ?? [], bound));
  }
  return ok([...newest.values()].flat());
}

/** Where nobody can tell which one is newer, the entries of both bind. */
function newestOf(known: readonly Crl[], crl: Crl): readonly Crl[] {
  const [first] = known;
  if (first === undefined) return [crl];
  const age = ageDifference(crl, first) || crl.thisUpdateMs - first.thisUpdateMs;
  if (age !== 0) return age > 0 ? [crl] : known;
  return known.some(({ sha256 }) => sha256 === crl.sha256) ? known : [...known, crl];
}

function findSigner(
  bundle: Pick<TrustBundle, 'trustDomain' | 'authorities'>,
  crl: Crl,
): Result<string, string> {
  let why = `no authority of ${bundle.trustDomain} has its issuer's name`;
  for (const authority of bundle.authorities) {
    const verified = verifyCrl(crl, authority);
    if (verified.ok) return ok(authority.keySha256);
    if (isSameName(crl.issuerName, authority.subjectName)) why = verified.error;
  }
  return err(`the list of ${crl.issuer || 'an empty name'} cannot be used: ${why}`);
}

/** Who numbers it (RFC 5280 5.2.3): of a bound list, its issuer's name and key. Lists of one scope replace each other. */
export const scopeOf = (crl: Crl): string => `${crl.signerKeySha256} ${JSON.stringify(crl.issuerName)}`;

/**
 * Why `next` must not take the place of `current`, a list of the same scope; undefined when it may. A signed list stays valid
 * until its nextUpdate, so whoever can write the file could put one back from before a revocation.
 */
export function whyNoSuccessor(next: Crl, current: Crl): string | undefined {
  const age = ageDifference(next, current);
  if (next.sha256 === current.sha256 || age > 0) return undefined;
  return age < 0
    ? `the list of ${next.issuer} is older than the one in force: ${ageOf(next, current)}, not above ${ageOf(current, next)}`
    : `the list of ${next.issuer} is not the one in force and has its ${ageOf(next, current)}: which is newer cannot be told`;
}

/** Above 0 where `a` is newer. The number says so (RFC 5280 5.2.3); where one has none, the date does. */
function ageDifference(a: Crl, b: Crl): number {
  if (a.number === undefined || b.number === undefined) return a.thisUpdateMs - b.thisUpdateMs;
  return a.number === b.number ? 0 : a.number > b.number ? 1 : -1;
}

const ageOf = ({ number, thisUpdateMs }: Crl, other: Crl): string =>
  number !== undefined && other.number !== undefined
    ? `CRL number ${number}`
    : `thisUpdate ${new Date(thisUpdateMs).toISOString()}`;

/** That the list is out of date, and since when: not the certificate of whoever meets it. */
export function describeExpiredList({ issuer, nextUpdateMs, origin }: Crl): string {
  const where = origin === undefined ? '' : ` (${origin.file})`;
  const since = new Date(nextUpdateMs).toISOString();
  return `the revocation list of ${issuer}${where} has expired, not the certificate: it should have been replaced by ${since}`;
}
