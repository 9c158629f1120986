import { z } from 'zod';
import { type PrincipalId, parsePrincipalId } from '../identity/principal-id.js';
import { parseSpiffeId, parseTrustDomain } from '../identity/spiffe-id.js';
import { parseNamingTemplate } from '../policy/naming.js';
import { parsePathPattern, parsePrincipalPattern, parseSpiffePattern } from '../policy/pattern.js';
import { err, ok, type Result } from '../reasons.js';
import { parseRouteHost } from './address.js';
import {
  DURATION_PATTERN,
  parseDuration,
  parseRate,
  parseSize,
  parseTimestamp,
  RATE_PATTERN,
  SIZE_OR_UNLIMITED_PATTERN,
  SIZE_PATTERN,
} from './units.js';

/** A timer of Node's holds no more: a longer one fires at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;
const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;
const NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?$/;

/** Text read by one of our parsers; its error becomes the problem's message. */
export function parsed<T>(parse: (text: string) => Result<T, string>, text: z.ZodString = z.string()) {
  return text.transform((value, context): T => {
    const result = parse(value);
    if (result.ok) return result.value;
    context.issues.push({ code: 'custom', message: result.error, input: value });
    return z.NEVER;
  });
}

const withUnit = (example: string): z.ZodString =>
  z.string({
    error: (issue) => (typeof issue.input === 'number' ? `add a unit, such as ${example}` : undefined),
  });

interface Bounds {
  readonly minMs?: number;
  readonly maxMs?: number;
}

/** A bound, as a user would write it. */
function spanText(ms: number): string {
  if (ms >= DAY_MS) return `${Math.floor(ms / DAY_MS)}d`;
  return ms % HOUR_MS === 0 ? `${ms / HOUR_MS}h` : `${ms / 1000}s`;
}

/** Milliseconds; by default more than nothing and within what a timer can hold. */
export const duration = (description: string, { minMs = 1, maxMs = MAX_TIMER_MS }: Bounds = {}) =>
  parsed(
    (text) => {
      const value = parseDuration(text);
      if (!value.ok) return value;
      if (value.value < minMs)
        return err(minMs === 1 ? 'must be more than 0' : `must be at least ${minMs}ms`);
      return value.value > maxMs ? err(`must be at most ${spanText(maxMs)}`) : value;
    },
    withUnit('10s').meta({ pattern: DURATION_PATTERN, description }),
  );

/** Bytes. */
export const size = (description: string, minBytes: number, maxBytes: number) =>
  parsed(
    (text) => {
      const value = parseSize(text, false);
      if (!value.ok) return value;
      return value.value >= minBytes && value.value <= maxBytes
        ? value
        : err(`must be from ${minBytes}B to ${maxBytes}B`);
    },
    withUnit('32KiB').meta({ pattern: SIZE_PATTERN, description }),
  );

/** Bytes, or Infinity for `unlimited`. */
export const sizeOrUnlimited = (description: string) =>
  parsed(
    (text) => parseSize(text, true),
    withUnit('1MiB').meta({ pattern: SIZE_OR_UNLIMITED_PATTERN, description }),
  );

/** So many in so many milliseconds. */
export const rate = (description: string) =>
  parsed(parseRate, withUnit('500/s').meta({ pattern: RATE_PATTERN, description }));

/** Names are metric labels and stand in records: short, and nothing that needs quoting. */
export const name = (description: string) =>
  z
    .string()
    .regex(NAME, 'must be 1 to 64 letters, digits, `.`, `_` or `-`, with a letter or digit at both ends')
    .describe(description);

export const text = (description: string, maxLength = 500) =>
  z
    .string()
    .min(1, 'must not be empty')
    .max(maxLength, `must be at most ${maxLength} characters`)
    .regex(/^[^\p{Cc}]*$/u, 'must not hold control characters')
    .describe(description);

/** A file name or address: the only values in which `${ENV}` is read. */
export const place = (description: string) =>
  z.string().min(1, 'must not be empty').max(4096, 'is too long').describe(description);

/** An address or URL, checked at once unless a variable is still to be put in. */
export const placeLike = (description: string, parse: (text: string) => Result<unknown, string>) =>
  place(description).superRefine((value, context) => {
    const result = value.includes('${') ? undefined : parse(value);
    if (result?.ok === false) context.addIssue({ code: 'custom', message: result.error });
  });

export const count = (description: string, least: number, most: number) =>
  z
    .number()
    .int('must be a whole number')
    .min(least, `must be at least ${least}`)
    .max(most, `must be at most ${most}`)
    .describe(description);

export const trustDomain = (description: string) =>
  parsed((value) => parseTrustDomain(value), z.string().describe(description));

/** A workload's SPIFFE ID: with a path, since a trust domain alone names no workload. */
export const workloadId = (description: string) =>
  parsed((value) => {
    const id = parseSpiffeId(value);
    if (!id.ok) return id;
    return id.value.path === '' ? err('names a trust domain, not a workload: it has no path') : id;
  }, z.string().describe(description));

/** A trust domain alone names nobody. */
export function parseCaller(value: string): Result<PrincipalId, string> {
  const id = parsePrincipalId(value);
  if (!id.ok) return id;
  return id.value.path === '' ? err('names a trust domain, not a workload: it has no path') : id;
}

export const principalPattern = (description: string) =>
  parsed(parsePrincipalPattern, z.string().describe(description));

const MAX_SUBJECTS = 100;

/** For whom the caller acts; each is looked at in turn, so that they are few. */
export const behalfOf = z
  .array(principalPattern('Principal on whose behalf the caller acts: exact, or with `*` and `**`.'))
  .min(1, 'must name at least one: leave it out for what callers ask for themselves')
  .max(MAX_SUBJECTS, `must name at most ${MAX_SUBJECTS}`)
  .describe(
    'Only calls on behalf of one of these. Without it an allow is for calls of the caller itself alone, a deny for all.',
  );

/** Of principals that have certificates. */
export const spiffePattern = (description: string) =>
  parsed(parseSpiffePattern, z.string().describe(description));

/** A workload, or a principal that tokens name. */
export const principalId = (description: string) => parsed(parseCaller, z.string().describe(description));

export const namingTemplate = (description: string) =>
  parsed(parseNamingTemplate, z.string().describe(description));

export const pathPattern = (description: string) =>
  parsed(parsePathPattern, z.string().describe(description));

export const routeHost = (description: string) => parsed(parseRouteHost, z.string().describe(description));

export const timestamp = (description: string) =>
  parsed(
    parseTimestamp,
    z
      .string({
        error: ({ input }) =>
          input === undefined ? undefined : 'must be a time, such as 2026-11-21T10:00:00Z',
      })
      .describe(description),
  );

/** Methods compare byte by byte (RFC 9110 9.1) and the proxy takes capitals only: `get` would match nothing. */
export const method = (description: string) =>
  z
    .string()
    .regex(/^[A-Z][A-Z-]{0,31}$/, 'must be a method in capitals, such as GET')
    .refine((value) => value !== 'TRACE', 'never reaches policy: it is always refused')
    .describe(description);

/** Hexadecimal text of `bytes` bytes (any number of them without), colons allowed -> lower case without colons. */
export const hex = (description: string, bytes?: number) =>
  parsed(
    (value) => {
      const digits = value.replaceAll(':', '').toLowerCase();
      if (!/^[0-9a-f]+$/.test(digits)) return err('must be hexadecimal digits');
      if (bytes !== undefined && digits.length !== bytes * 2)
        return err(`must be ${bytes * 2} hexadecimal digits`);
      return ok(digits);
    },
    z
      .string({
        error: (issue) =>
          typeof issue.input === 'number' ? 'must be quoted, or YAML reads it as a number' : undefined,
      })
      .describe(description),
  );

/** One of `built`; what PRODUCT promises but this version does not do says so instead of looking like a typing error. */
export const oneOf = <const T extends readonly [string, ...string[]]>(
  description: string,
  built: T,
  later: readonly string[] = [],
) =>
  z
    .enum(built, {
      error: (issue) =>
        typeof issue.input === 'string' && later.includes(issue.input)
          ? `\`${issue.input}\` is not built yet in this version`
          : undefined,
    })
    .describe(description);
