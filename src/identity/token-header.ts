import { ok, type Refusal, type Result, refuse } from '../reasons.js';
import { ASSERTION_TYPE } from './assertion-claims.js';
import { isTokenAlgorithm } from './key-set.js';
import type { TokenAlgorithm, TokenIssuer } from './token-issuer.js';
import type { Claims } from './token-template.js';

export interface TokenHeader {
  readonly alg: TokenAlgorithm;
  readonly kid?: string;
  readonly typ?: string;
  /** Names of further parameters, which mean nothing to us. */
  readonly others: readonly string[];
}

/** By these a token would say how it is to be verified, or that it is something else than it looks: JWT-SVID 2, RFC 8725 3.10. */
const FORBIDDEN: ReadonlySet<string> = new Set([
  'jwk',
  'jku',
  'x5u',
  'x5c',
  'crit',
  'b64',
  'zip',
  'enc',
  'epk',
  'cty',
]);
const UNDERSTOOD: ReadonlySet<string> = new Set(['alg', 'kid', 'typ']);
/** Hints at a key that we do not follow; tokens of Microsoft and GitHub have them. */
const HINTS: ReadonlySet<string> = new Set(['x5t', 'x5t#S256']);
const MAX_NAME = 512;

/** Checks the header of a token as far as it does not depend on whose token it is. */
export function parseTokenHeader(members: Claims): Result<TokenHeader> {
  const { alg, kid, typ } = members;
  // Symmetric ones would make a secret of a public key, `none` of nothing (RFC 8725 2.1).
  if (!isTokenAlgorithm(alg)) return refuse('token_algorithm', `alg is ${shown(alg)}`);
  const others: string[] = [];
  for (const name of Object.keys(members)) {
    if (FORBIDDEN.has(name)) return refuse('token_header', `the header has ${JSON.stringify(name)}`);
    if (!UNDERSTOOD.has(name) && !HINTS.has(name)) others.push(name);
  }
  if (kid !== undefined && !isName(kid)) return refuse('token_header', 'kid is not the name of a key');
  if (typ !== undefined && !isName(typ)) return refuse('token_type', 'typ is not text');
  return ok({
    alg,
    ...(kid === undefined ? {} : { kid }),
    ...(typ === undefined ? {} : { typ }),
    others,
  });
}

/** Records hold no more of what anybody may write into a token. */
const MAX_SHOWN = 100;
const shown = (value: unknown): string => JSON.stringify(value)?.slice(0, MAX_SHOWN) ?? 'missing';

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_NAME;

/** JWT-SVID 2.1: the nine of RSA and ECDSA. */
const isJwtSvidAlgorithm = (alg: TokenAlgorithm): boolean => alg !== 'EdDSA';
const ASSERTION_ALGORITHMS: ReadonlySet<TokenAlgorithm> = new Set(['EdDSA', 'ES256']);

/** Whether the header is that of this issuer's tokens. */
export function judgeHeader({ alg, typ, others }: TokenHeader, issuer: TokenIssuer): Refusal | undefined {
  if (!isAlgorithmOf(issuer, alg)) return { reason: 'token_algorithm', detail: `${alg} is not taken` };
  if (!isTypeOf(issuer, typ))
    return { reason: 'token_type', detail: `typ is ${typ === undefined ? 'missing' : shown(typ)}` };
  // JWT-SVID 2: no parameter that is not described. Others may have some of their own (RFC 7515 4.3).
  if (issuer.kind !== 'oidc' && others[0] !== undefined)
    return { reason: 'token_header', detail: `the header has ${shown(others[0])}` };
  return undefined;
}

function isAlgorithmOf(issuer: TokenIssuer, alg: TokenAlgorithm): boolean {
  switch (issuer.kind) {
    case 'oidc':
      return issuer.algorithms.includes(alg);
    case 'jwt-svid':
      return isJwtSvidAlgorithm(alg);
    case 'assertion':
      return ASSERTION_ALGORITHMS.has(alg);
  }
}

function isTypeOf(issuer: TokenIssuer, typ: string | undefined): boolean {
  switch (issuer.kind) {
    case 'oidc':
      if (typ === undefined) return issuer.types.includes('none');
      // A header that says `none` says something: it is not left out.
      return issuer.types.some((type) => type !== 'none' && mediaType(type) === mediaType(typ));
    case 'jwt-svid':
      return typ === undefined || typ === 'JWT' || typ === 'JOSE'; // JWT-SVID 2.3: exactly
    case 'assertion':
      return typ === ASSERTION_TYPE;
  }
}

/** RFC 7515 4.1.9: the case does not count, and `application/` may be left out. */
function mediaType(text: string): string {
  const lower = text.toLowerCase();
  return lower.includes('/') ? lower : `application/${lower}`;
}
