import type { AssertionKey } from './assertion-key.js';
import type { PrincipalId } from './principal-id.js';

/** `typ`: nothing else that is signed with the same key can be taken for an assertion (RFC 8725 3.11). */
export const ASSERTION_TYPE = 'identity-assertion+jwt';

/** How assertions are made at present. The same object as long as all of it is the same. */
export interface AssertionPlan {
  readonly signer: AssertionKey;
  /** Our own SPIFFE ID. */
  readonly issuer: string;
  readonly lifetimeMs: number;
  /** For routes that name none; undefined = those get no assertion. */
  readonly audience: string | undefined;
}

/** Of whom an assertion tells. */
export interface AssertionSubject {
  /** Who called. */
  readonly principal: PrincipalId;
  /** Lower-case hex SHA-256 of the certificate that the caller showed in TLS. */
  readonly certificateSha256: string | undefined;
  /** For whom it acts; `through`: who acted before it, the first for the subject itself. */
  readonly delegation: { readonly subject: PrincipalId; readonly through: readonly string[] } | undefined;
  /** First end of all that it rests on, Unix milliseconds: certificate, token, delegation. */
  readonly notAfterMs: number;
}

/** One signed assertion. */
export interface Assertion {
  readonly text: string;
  readonly jti: string;
  /** Both Unix milliseconds. */
  readonly madeAtMs: number;
  readonly endMs: number;
}

/** Who acts, outermost the caller (RFC 8693 4.1). */
interface Actor {
  readonly sub: string;
  readonly act?: Actor;
}

/** Signs who called and for whom (RFC 8693 shape). @param jti 128 random bits */
export function makeAssertion(
  { signer, issuer, lifetimeMs }: AssertionPlan,
  subject: AssertionSubject,
  audience: string,
  jti: string,
  nowMs: number,
): Assertion {
  const { principal, delegation, certificateSha256, notAfterMs } = subject;
  const exp = Math.floor(Math.min(nowMs + lifetimeMs, notAfterMs) / 1000);
  const claims = {
    iss: issuer,
    sub: (delegation?.subject ?? principal).uri,
    ...(delegation && { act: actorsOf(principal, delegation.through) }),
    aud: audience,
    iat: Math.floor(nowMs / 1000),
    exp,
    jti,
    ...(certificateSha256 && { cnf: { 'x5t#S256': thumbprint(certificateSha256) } }),
  };
  return {
    text: signer.sign(ASSERTION_TYPE, JSON.stringify(claims)),
    jti,
    madeAtMs: nowMs,
    endMs: exp * 1000,
  };
}

function actorsOf(caller: PrincipalId, through: readonly string[]): Actor {
  const before = through.reduce<Actor | undefined>(
    (act, sub) => (act === undefined ? { sub } : { sub, act }),
    undefined,
  );
  return before === undefined ? { sub: caller.uri } : { sub: caller.uri, act: before };
}

/** RFC 8705 3.1. */
const thumbprint = (sha256: string): string => Buffer.from(sha256, 'hex').toString('base64url');
