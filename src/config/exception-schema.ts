import { z } from 'zod';
import { DAY_MS, type ExceptionInput, HOUR_MS, stateOf } from '../policy/exception.js';
import { err, ok, type Result } from '../reasons.js';
import { behalfOf, method, name, pathPattern, principalPattern, text, timestamp } from './schema-values.js';

/** An exception is narrow: what needs more than this is a rule. */
const MAX_LISTED = 100;
const MAX_CONDITION = 2048;

const listed = <T extends z.ZodType>(item: T, empty: string) =>
  z.array(item).min(1, empty).max(MAX_LISTED, `must name at most ${MAX_LISTED}`);

const any = 'must not be empty: leave it out for any';

/** What an exception lets in: the shape of an allow rule. */
export const exceptionAllow = z
  .strictObject({
    principals: listed(
      principalPattern('SPIFFE ID: exact, or with `*` for one and `**` for any number of segments.'),
      'must name at least one principal',
    ),
    behalfOf: behalfOf.optional(),
    destinations: listed(name('Name of an upstream or route.'), 'must name at least one upstream or route'),
    methods: listed(method('Method, in capitals.'), any).optional(),
    paths: listed(pathPattern('Path pattern: `*` one segment, `**` any number.'), any).optional(),
    when: z
      .string()
      .min(1, 'must not be empty: leave it out for always')
      .max(MAX_CONDITION, `must be at most ${MAX_CONDITION} characters`)
      .describe('Condition (CEL) that must hold as well.')
      .optional(),
  })
  .describe('What it lets in.');

export const exceptionFields = {
  id: name('Unique id, also among the rules: every record of its use names it.'),
  owner: text('Who answers for it.', 200),
  reason: text('Why; it stands in the records.'),
  starts: timestamp('In force from; left out = at once.').optional(),
  allow: exceptionAllow,
};

const expires = timestamp('In force until; dead at this moment, without a reload.');

type Span = { readonly starts?: number | undefined; readonly expires?: number | undefined };

export function checkSpan({ starts, expires: end }: Span, context: z.RefinementCtx): void {
  // A text that is no time has its own message.
  if (typeof starts !== 'number' || typeof end !== 'number' || end > starts) return;
  context.addIssue({ code: 'custom', message: 'must be later than `starts`', path: ['expires'] });
}

/** One of the policy file's `exceptions`. */
export const exceptionSchema = z.strictObject({ ...exceptionFields, expires }).superRefine(checkSpan);
/** One of the grants file's. */
const grantSchema = z
  .strictObject({
    ...exceptionFields,
    expires,
    by: text('Who granted it.', 200),
    grantedAt: timestamp('When.').optional(),
  })
  .superRefine(checkSpan);

export const grantsSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this file format.'),
    exceptions: z.array(grantSchema).describe('What is granted beside the policy file.'),
  })
  .meta({ title: 'Countersign grants' });

export type RawException = z.output<typeof exceptionSchema> &
  Partial<Pick<z.output<typeof grantSchema>, 'by' | 'grantedAt'>>;

/** The same order of keys each time: revisions are taken over this. */
export const toExceptionInput = (raw: RawException, origin: ExceptionInput['origin']): ExceptionInput => ({
  id: raw.id,
  owner: raw.owner,
  reason: raw.reason,
  startsMs: raw.starts,
  expiresMs: raw.expires,
  origin,
  by: raw.by,
  grantedMs: raw.grantedAt,
  principals: raw.allow.principals,
  behalfOf: raw.allow.behalfOf,
  destinations: raw.allow.destinations,
  methods: raw.allow.methods,
  paths: raw.allow.paths,
  when: raw.allow.when,
});

/** How far ahead an exception may end. */
export interface ExceptionLimit {
  readonly nowMs: number;
  readonly maxLengthMs: number;
}

/** Whoever wrote a file may have had a clock ahead of ours: what one replica takes, another must not refuse. */
const CLOCK_SLACK_MS = HOUR_MS;

/** An end that is further ahead than this process allows, measured from now: what begins late must not live for ever either. */
export function checkExpiry(
  expiresMs: number,
  { nowMs, maxLengthMs }: ExceptionLimit,
  slackMs = 0,
): Result<void, string> {
  if (expiresMs - nowMs <= maxLengthMs + slackMs) return ok(undefined);
  const latest = new Date(nowMs + maxLengthMs).toISOString();
  return err(
    `is too far ahead: at most ${formatLength(maxLengthMs)} (\`exceptions.maxLength\`), now until ${latest}`,
  );
}

/** The same for what stands in a file. */
export const checkWrittenExpiry = (expiresMs: number, limit: ExceptionLimit): Result<void, string> =>
  checkExpiry(expiresMs, limit, CLOCK_SLACK_MS);

const SOON_MS = 7 * DAY_MS;

/** What `check` says of an exception that is dead, or soon will be; undefined of any other. */
export function warnOfEnd(exception: ExceptionInput, nowMs: number): string | undefined {
  const { id, owner, expiresMs } = exception;
  const end = new Date(expiresMs).toISOString();
  if (stateOf(exception, nowMs) === 'expired')
    return `"${id}" of ${owner} is dead since ${end}: it lets nobody in any more, take it out`;
  return expiresMs - nowMs <= SOON_MS
    ? `"${id}" of ${owner} ends in ${formatLength(expiresMs - nowMs)}, at ${end}`
    : undefined;
}

/** In the largest unit that it holds twice. */
export function formatLength(ms: number): string {
  const units: readonly (readonly [number, string])[] = [
    [DAY_MS, 'd'],
    [HOUR_MS, 'h'],
    [60_000, 'm'],
  ];
  for (const [unit, letter] of units) if (ms >= 2 * unit) return `${Math.floor(ms / unit)}${letter}`;
  return `${Math.ceil(ms / 1000)}s`;
}
