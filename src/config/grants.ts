import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { ExceptionInput } from '../policy/exception.js';
import {
  checkSpan,
  checkWrittenExpiry,
  type ExceptionLimit,
  exceptionFields,
  grantsSchema,
  toExceptionInput,
} from './exception-schema.js';
import { checkShape } from './issues.js';
import { jsonLine, type ParsedRequest, readJson } from './json-text.js';
import type { Problem } from './problem.js';
import { duration, name, text, timestamp } from './schema-values.js';
import { readYaml, type YamlText } from './yaml-text.js';

/** Exceptions that are given beside the policy file, and what tells two such lists apart. */
export interface GrantList {
  readonly grants: readonly ExceptionInput[];
  readonly revision: string;
}

export interface ParsedGrants {
  readonly list?: GrantList;
  readonly problems: readonly Problem[];
  problemAt: YamlText['problemAt'];
}

/** Just-in-time grants are few: every change of their file is read and written whole, between two requests. */
export const MAX_GRANTS = 200;
const MAX_FILE_BYTES = 512 * 1024;
/** Each grant is indexed under each principal and destination. */
const MAX_INDEX_ENTRIES = 100_000;

/** Reads a grants file whole: its grants, or every problem in it. Half a list is never put in force. */
export function parseGrants(bytes: string | Uint8Array, file: string, limit: ExceptionLimit): ParsedGrants {
  const isTooLarge = Buffer.byteLength(bytes) > MAX_FILE_BYTES;
  const yaml = readYaml(isTooLarge ? '' : bytes, file);
  const { problemAt } = yaml;
  if (isTooLarge) return { problems: [problemAt([], `is larger than ${MAX_FILE_BYTES} bytes`)], problemAt };
  const { value, problems: shape } = checkShape(grantsSchema, yaml);
  if (value === undefined) return { problems: shape, problemAt };
  const grants = value.exceptions.map((raw) => toExceptionInput(raw, 'grant'));
  const problems = checkTogether(grants).map(({ path, message }) => problemAt(path, message));
  for (const [i, grant] of grants.entries()) {
    const end = checkWrittenExpiry(grant.expiresMs, limit);
    if (!end.ok) problems.push(problemAt(['exceptions', i, 'expires'], end.error));
  }
  return problems.length > 0
    ? { problems, problemAt }
    : { list: grantListOf(grants), problems: [], problemAt };
}

/** What only several grants together can show. */
export function checkTogether(
  grants: readonly ExceptionInput[],
): { readonly path: (string | number)[]; readonly message: string }[] {
  const found: { path: (string | number)[]; message: string }[] = [];
  const first = new Map<string, number>();
  let entries = 0;
  for (const [i, { id, principals, destinations }] of grants.entries()) {
    const known = first.get(id);
    if (known === undefined) first.set(id, i);
    else
      found.push({
        path: ['exceptions', i, 'id'],
        message: `"${id}" is also the id of exceptions[${known}]`,
      });
    entries += principals.length * destinations.length;
  }
  if (grants.length > MAX_GRANTS)
    found.push({
      path: ['exceptions'],
      message: `holds more than ${MAX_GRANTS}: what stays belongs into the policy`,
    });
  if (entries > MAX_INDEX_ENTRIES)
    found.push({
      path: ['exceptions'],
      message: `is too large: principals times destinations come to more than ${MAX_INDEX_ENTRIES}`,
    });
  return found;
}

export const grantListOf = (grants: readonly ExceptionInput[]): GrantList => ({
  grants,
  revision: createHash('sha256').update(formatGrants(grants)).digest('hex').slice(0, 16),
});

const HEADING = `# Written by POST and DELETE /exceptions, and by people: replace the file whole. Each entry dies at its \`expires\`.
version: 1
exceptions:`;

/** The text of a file that `parseGrants` reads back as these grants: a line each. */
export const formatGrants = (grants: readonly ExceptionInput[]): string =>
  grants.length === 0
    ? `${HEADING} []\n`
    : `${HEADING}\n${grants.map((grant) => `  - ${jsonLine(writtenException(grant))}\n`).join('')}`;

/** An exception as a person writes it, for answers and files. */
export const writtenException = (exception: ExceptionInput): object => ({
  id: exception.id,
  owner: exception.owner,
  reason: exception.reason,
  ...(exception.startsMs === undefined ? {} : { starts: iso(exception.startsMs) }),
  expires: iso(exception.expiresMs),
  ...(exception.by === undefined ? {} : { by: exception.by }),
  ...(exception.grantedMs === undefined ? {} : { grantedAt: iso(exception.grantedMs) }),
  allow: {
    principals: exception.principals.map((pattern) => pattern.text),
    ...(exception.behalfOf === undefined
      ? {}
      : { behalfOf: exception.behalfOf.map((pattern) => pattern.text) }),
    destinations: exception.destinations,
    ...(exception.methods === undefined ? {} : { methods: exception.methods }),
    ...(exception.paths === undefined ? {} : { paths: exception.paths.map((pattern) => pattern.text) }),
    ...(exception.when === undefined ? {} : { when: exception.when }),
  },
});

/** Who takes a grant back, and why. */
export interface GrantWithdrawal {
  readonly by: string;
  readonly reason: string;
}

const withdrawal = z.strictObject({ by: text('Who says so.', 200), reason: text('Why.') });

export const parseGrantWithdrawal = (bytes: Uint8Array): ParsedRequest<GrantWithdrawal> => {
  const { value, problems } = checkShape(
    withdrawal,
    readJson(bytes, (body) => body),
  );
  return value === undefined ? { problems } : { value, problems };
};

const MAX_ASKED = 100;
const MAX_FOR_MS = 3650 * 86_400_000;

const request = z
  .strictObject({
    ...exceptionFields,
    id: name('Left out: one is made.').optional(),
    expires: timestamp('In force until.').optional(),
    for: duration('Or: for so long.', { minMs: 1000, maxMs: MAX_FOR_MS }).optional(),
    by: text('Who grants it.', 200),
  })
  .superRefine((value, context) => {
    const both = value.expires !== undefined && value.for !== undefined;
    if (value.expires === undefined && value.for === undefined)
      context.addIssue({ code: 'custom', message: 'is required, or `for`', path: ['expires'] });
    checkSpan(value, context);
    if (both) context.addIssue({ code: 'custom', message: 'goes without `expires`', path: ['for'] });
  });

const requests = z.strictObject({
  exceptions: z
    .array(request)
    .min(1, 'must hold at least one exception')
    .max(MAX_ASKED, `must hold at most ${MAX_ASKED}`),
});

/** A grant as it was asked for; plain data, which goes to another process. */
export type GrantRequest = z.output<typeof request>;

/** Reads the JSON of a request to grant. All of it, or every problem in it. */
export function parseGrantRequest(bytes: Uint8Array): ParsedRequest<readonly GrantRequest[]> {
  const { value, problems } = checkShape(
    requests,
    readJson(bytes, (body) => body),
  );
  return value === undefined ? { problems } : { value: value.exceptions, problems };
}

/** The grant that is asked for, at this moment; `for` counts from `starts`, if there is one. */
export function grantOf(asked: GrantRequest, newId: () => string, nowMs: number): ExceptionInput {
  const expires = asked.expires ?? Math.max(nowMs, asked.starts ?? nowMs) + (asked.for ?? 0);
  return toExceptionInput({ ...asked, id: asked.id ?? newId(), expires, grantedAt: nowMs }, 'grant');
}

const iso = (ms: number): string => new Date(ms).toISOString();
