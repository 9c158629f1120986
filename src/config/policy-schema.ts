import { z } from 'zod';
import { problemOfReadHeader } from '../message/header-names.js';
import { exceptionSchema } from './exception-schema.js';
import { policyTestSchema } from './policy-test.js';
import { MAX_READS, recordedClaim, recordedHeader, recordedParameter } from './recorded-values.js';
import { behalfOf, method, name, oneOf, pathPattern, principalPattern, text } from './schema-values.js';

const MAX_CONDITION = 2048;

const PRINCIPAL =
  'SPIFFE ID, or name that a token gives (`ci:octo/app`): exact, or with `*` for one and `**` for any number of segments.';

const some = <T extends z.ZodType>(item: T) =>
  z.array(item).min(1, 'must not be empty: leave it out for any, or drop the rule');

const rule = z.strictObject({
  id: name('Unique id: every decision names its rule.'),
  owner: text('Who answers for this rule.', 200).optional(),
  effect: oneOf('deny beats allow.', ['allow', 'deny']),
  mode: oneOf('enforce: the rule decides; shadow: records say what it would have decided.', [
    'enforce',
    'shadow',
  ]).default('enforce'),
  principals: z.array(principalPattern(PRINCIPAL)).min(1, 'must name at least one principal'),
  behalfOf: behalfOf.optional(),
  destinations: z
    .array(name('Name of an upstream or route.'))
    .min(1, 'must name at least one upstream or route'),
  methods: some(method('Method, in capitals.')).optional(),
  paths: some(pathPattern('Path pattern: `*` one segment, `**` any number.')).optional(),
  when: z
    .string()
    .min(1, 'must not be empty: leave it out for always')
    .max(MAX_CONDITION, `must be at most ${MAX_CONDITION} characters`)
    .describe('Condition (CEL) that must hold as well.')
    .optional(),
});

/** Names whose values are recorded: never those that carry credentials, nor those that we set ourselves. */
const reads = z
  .strictObject({
    headers: z
      .array(recordedHeader(problemOfReadHeader))
      .max(MAX_READS, `must name at most ${MAX_READS}`)
      .default([]),
    claims: z
      .array(recordedClaim)
      .max(MAX_READS, `must name at most ${MAX_READS}`)
      .default([])
      .describe("Claims of the caller's token, by name or JSON Pointer."),
    query: z.array(recordedParameter).max(MAX_READS, `must name at most ${MAX_READS}`).default([]),
  })
  .describe('What conditions may read of a request beyond its line; their values are recorded.');

export const policySchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this file format.'),
    default: z
      .literal('deny', { error: () => 'must be deny: what no rule allows is refused' })
      .describe('What no rule allows is refused.'),
    reads: reads.prefault({}),
    rules: z.array(rule).default([]).describe('First match names the decision; deny beats allow.'),
    exceptions: z
      .array(exceptionSchema)
      .default([])
      .describe('What is let in until a time; dead after, without a reload.'),
    tests: z.array(policyTestSchema).default([]).describe('Examples with their right answer.'),
  })
  .meta({ title: 'Countersign policy' });

export type RawPolicy = z.output<typeof policySchema>;
