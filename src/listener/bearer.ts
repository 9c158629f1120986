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

/** The one Authorization of a request, of all its lines, those that do not cross too. */
export function readAuthorization(rawHeaders: readonly string[]): string | Refusal | undefined {
  let value: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!;
    if (name.length !== NAME.length || name.toLowerCase() !== NAME) continue;
    if (value !== undefined) return SEVERAL; // RFC 9110 11.6.2: a singleton field
    value = rawHeaders[i + 1]!;
  }
  return value;
}

/**
 * The token in an Authorization (RFC 6750 2.1); undefined where it is of another scheme. @returns a refusal where several
 * readings are possible.
 */
export function tokenIn(authorization: string): string | Refusal | undefined {
  const token = BEARER.exec(authorization)?.[1];
  if (token !== undefined) return token;
  if (ONE_OF_SEVERAL.test(authorization)) return JOINED;
  return MORE_THAN_SCHEME.test(authorization.trimStart()) ? NO_TOKEN : undefined;
}

/** What would be the token, if it is one: enough to look for one that was read and verified before. */
export const maybeTokenIn = (authorization: string): string | undefined =>
  authorization.charCodeAt(SCHEME.length) === SPACE && hasScheme(authorization)
    ? authorization.slice(SCHEME.length + 1)
    : undefined;

const SPACE = 0x20;

const hasScheme = (authorization: string): boolean =>
  authorization.slice(0, SCHEME.length).toLowerCase() === SCHEME;

/** The lines without the token: what was judged here is nobody else's to see, to decide by, or to write down. */
export function withoutBearer(lines: readonly string[]): readonly string[] {
  for (let i = 0; i < lines.length; i += 2) {
    if (!isBearerLine(lines[i]!, lines[i + 1] ?? '')) continue;
    const others = lines.slice();
    others.splice(i, 2);
    return others;
  }
  return lines;
}

const isBearerLine = (name: string, value: string): boolean =>
  name.length === NAME.length && name.toLowerCase() === NAME && hasScheme(value);
