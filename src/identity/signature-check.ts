import type { Certificate } from './certificate.js';

/** Whether the issuer's key signed the child. */
export type SignatureCheck = (child: Certificate, issuer: Certificate) => boolean;

/** About 70 µs each: worth remembering, since most peers come back with the same certificates. */
const DEFAULT_CAPACITY = 4096;

/** A signature check that remembers its last answers: no signature is verified twice. Both certificates name the answer by digest. */
export function createSignatureCheck(capacity = DEFAULT_CAPACITY): SignatureCheck {
  const answers = new Map<string, boolean>();
  return (child, issuer) => {
    const key = child.sha256 + issuer.sha256;
    let answer = answers.get(key);
    if (answer === undefined) answer = isSignedBy(child, issuer);
    else answers.delete(key); // set again below: the last one used is the last one dropped
    answers.set(key, answer);
    if (answers.size > capacity) answers.delete(answers.keys().next().value ?? key);
    return answer;
  };
}

function isSignedBy(child: Certificate, issuer: Certificate): boolean {
  if (!child.strongSignature) return false;
  try {
    return child.x509.verify(issuer.x509.publicKey);
  } catch {
    return false; // a key that OpenSSL cannot use has signed nothing
  }
}
