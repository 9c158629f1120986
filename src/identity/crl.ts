import { constants, verify } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import type { Certificate } from './certificate.js';
import type { TrustBundle } from './create-trust-bundle.js';
import type { Crl, Signed } from './crl-reader.js';
import { isSameName } from './distinguished-name.js';

export { type Crl, parseCrl } from './crl-reader.js';

/** Verifies a list against the certificate of its issuer: name, cRLSign, signature (RFC 5280 6.3.3 (f), (g)). */
export function verifyCrl(crl: Crl, issuer: Certificate): Result<void, string> {
  if (!isSameName(crl.issuerName, issuer.subjectName)) return err('the list names another issuer');
  if (crl.authorityKeyId !== undefined && issuer.subjectKeyId !== undefined)
    if (crl.authorityKeyId !== issuer.subjectKeyId) return err('the list names another key of its issuer');
  if (!issuer.keyUsage?.has('cRLSign')) return err('its issuer may not sign lists');
  if (crl.signed.scheme === undefined) return err('its signature algorithm proves nothing');
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
 * no authority signed, or that can decide nothing, refuses them all. Of several lists by one key the newest stays.
 */
export function bindCrls(bundle: TrustBundle, crls: readonly Crl[]): Result<readonly Crl[], string> {
  const newest = new Map<string, Crl>();
  for (const crl of crls) {
    if (crl.unusable !== undefined) return err(`the list of ${crl.issuer} cannot be used: ${crl.unusable}`);
    const signer = findSigner(bundle, crl);
    if (!signer.ok) return signer;
    const bound: Crl = { ...crl, signerKeySha256: signer.value };
    const known = newest.get(signer.value);
    if (known === undefined || isNewer(bound, known)) newest.set(signer.value, bound);
  }
  return ok([...newest.values()]);
}

function findSigner(bundle: TrustBundle, crl: Crl): Result<string, string> {
  let why = `no authority of ${bundle.trustDomain} has its issuer's name`;
  for (const authority of bundle.authorities) {
    const verified = verifyCrl(crl, authority);
    if (verified.ok) return ok(authority.keySha256);
    if (authority.subject === crl.issuer) why = verified.error;
  }
  return err(`the list of ${crl.issuer || 'an empty name'} cannot be used: ${why}`);
}

function isNewer(a: Crl, b: Crl): boolean {
  if (a.number !== undefined && b.number !== undefined && a.number !== b.number) return a.number > b.number;
  return a.thisUpdateMs > b.thisUpdateMs;
}
