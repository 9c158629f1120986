import type { Refusal } from '../reasons.js';

const NAME = 'authorization';
const SCHEME = 'bearer';
/** RFC 6750 2.1, and a scheme is a token of any case (RFC 9110 11.1). */
const BEARER = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;
/** Within the parameters of another scheme: a lax service may take the list apart and find it. */
const ONE_OF_SEVERAL = /,[ \t]*bearer(?:[ \t,]|$)/i;
const MORE_THAN_SCHEME = /^bearer(?![!#$%&'*+.^_`|~0-9A-Za-z-])/i;

const malformed = (detail: string): Refusal => ({ reason: 'authorization_malformed', detail });
const SEVERAL = malformed('several Authorization lines');
const JOINED = malformed('several credentials in one Authorization');
const NO_TOKEN = malformed('Bearer without one token');

/**
 * The token of a request (RFC 6750 2.1), of all its lines, those that do not cross too. Undefined where it has none: there is no
 * Authorization, or one of another scheme. @returns a refusal where several readings are possible.
 */
export function readBearer(rawHeaders: readonly string[]): string | Refusal | undefined {
  let value: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length !== NAME.length || name.toLowerCase() !== NAME) continue;
    if (value !== undefined) return SEVERAL; // RFC 9110 11.6.2: a singleton field
    value = rawHeaders[i + 1]!;
  }
  if (value === undefined) return undefined;
  const token = BEARER.exec(value)?.[1];
  if (token !== undefined) return token;
  if (ONE_OF_SEVERAL.test(value)) return JOINED;
  return MORE_THAN_SCHEME.test(value.trimStart()) ? NO_TOKEN : undefined;
}

/** The lines without the token: what was judged here is nobody else's to see, to decide by, or to write down. */
export function withoutBearer(endToEnd: readonly string[]): readonly string[] {
  const at = endToEnd.findIndex((name, i) => i % 2 === 0 && isBearerLine(name, endToEnd[i + 1] ?? ''));
  return at < 0 ? endToEnd : endToEnd.toSpliced(at, 2);
}

const isBearerLine = (name: string, value: string): boolean =>
  name.length === NAME.length &&
  name.toLowerCase() === NAME &&
  value.slice(0, SCHEME.length).toLowerCase() === SCHEME;
