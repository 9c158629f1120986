/** Order of P-256 (SEC 2, 2.4.2). */
const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
const HALF = ORDER / 2n;
const S_AT = 32;

/**
 * Of an ECDSA signature (r, s) anybody can make (r, n - s), which is as good: a seal could be altered and still verify. So
 * seals have the smaller s alone. EdDSA needs nothing of the kind (RFC 8032 5.1.7).
 */
export function toLowS(jws: string): string {
  const [signed, signature] = halvesOf(jws);
  const s = sOf(signature);
  if (s <= HALF) return jws;
  const low = Buffer.from((ORDER - s).toString(16).padStart(64, '0'), 'hex');
  return `${signed}.${Buffer.concat([signature.subarray(0, S_AT), low]).toString('base64url')}`;
}

/** Of a JWS with a signature of 64 bytes. */
export const isLowS = (jws: string): boolean => sOf(halvesOf(jws)[1]) <= HALF;

const sOf = (signature: Buffer): bigint => BigInt(`0x${signature.toString('hex', S_AT) || '0'}`);

function halvesOf(jws: string): [string, Buffer] {
  const dot = jws.lastIndexOf('.');
  return [jws.slice(0, dot), Buffer.from(jws.slice(dot + 1), 'base64url')];
}
