/** What a bearer token says of its own life. It is read, never verified: nothing is decided by it. */
export type TokenLife = 'short' | 'long' | 'unknown';

/** Longer ones than servers take in a header are not looked into. */
const MAX_TOKEN_LENGTH = 16 * 1024;
/** Claims of more bytes are counted through before they are read: who sends them must not set the price of it. */
const LARGE = 2048;
const MAX_MEMBERS = 512;
/** `[`, `{` and `:`. */
const MEMBER_SIGNS: ReadonlySet<number> = new Set([0x5b, 0x7b, 0x3a]);

/**
 * Whether a token is a JWT (RFC 7519) that lives no longer than `limitMs`. `long` also where it never expires; `unknown` where
 * it is no JWT that can be read: opaque, or encrypted.
 */
export function tokenLifeOf(token: string, limitMs: number, nowMs: number): TokenLife {
  const claims = claimsOf(token);
  if (claims === undefined) return 'unknown';
  const { exp, iat, nbf } = claims;
  if (!isDate(exp)) return 'long';
  // Whoever made it wrote `iat`: it counts only where it makes the life longer than what is left of it.
  const fromSeconds = Math.min(nowMs / 1000, isDate(iat) ? iat : isDate(nbf) ? nbf : exp);
  return (exp - fromSeconds) * 1000 > limitMs ? 'long' : 'short';
}

interface Claims {
  readonly exp?: unknown;
  readonly iat?: unknown;
  readonly nbf?: unknown;
}

/** A compact JWS has three parts, and its header is an object: `{` begins with `e`. */
function claimsOf(token: string): Claims | undefined {
  if (token.charCodeAt(0) !== 101 || token.length > MAX_TOKEN_LENGTH) return undefined;
  const first = token.indexOf('.');
  const second = token.indexOf('.', first + 1);
  if (first < 0 || second < 0 || token.indexOf('.', second + 1) >= 0) return undefined;
  try {
    const bytes = Buffer.from(token.slice(first + 1, second), 'base64url');
    if (bytes.length > LARGE && hasManyMembers(bytes)) return undefined;
    const claims: unknown = JSON.parse(bytes.toString());
    return typeof claims === 'object' && claims !== null ? claims : undefined;
  } catch {
    return undefined;
  }
}

/** Lists and objects within each other, or many members, cost JSON.parse a hundred times what text of that length does. */
function hasManyMembers(bytes: Buffer): boolean {
  let signs = 0;
  for (const byte of bytes) if (MEMBER_SIGNS.has(byte) && ++signs > MAX_MEMBERS) return true;
  return false;
}

/** A NumericDate; JSON.parse makes Infinity of 1e999. */
const isDate = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);
