import { z } from 'zod';
import {
  method,
  name,
  oneOf,
  pathPattern,
  principalPattern,
  text,
  timestamp,
  workloadId,
} from './schema-values.js';

const some = <T extends z.ZodType>(item: T) =>
  z.array(item).min(1, 'must not be empty: leave it out for any, or drop the rule');

const rule = z.strictObject({
  id: name('Unique id: every decision names its rule.'),
  owner: text('Who answers for this rule.', 200).optional(),
  effect: oneOf('deny beats allow.', ['allow', 'deny']),
  mode: oneOf('enforce: the rule decides.', ['enforce'], ['shadow']).default('enforce'),
  principals: z
    .array(principalPattern('SPIFFE ID: exact, or with `*` for one and `**` for any number of segments.'))
    .min(1, 'must name at least one principal'),
  destinations: z
    .array(name('Name of an upstream or route.'))
    .min(1, 'must name at least one upstream or route'),
  methods: some(method('Method, in capitals.')).optional(),
  paths: some(pathPattern('Path pattern: `*` one segment, `**` any number.')).optional(),
});

const test = z.strictObject({
  as: workloadId('SPIFFE ID of the caller.'),
  request: z
    .string()
    .regex(/^[A-Z][A-Z-]{0,31} \S+$/, 'must be a method, one space and a URL')
    .describe('Method and URL: GET https://billing.internal/invoices/7'),
  listener: name('Listener that gets the request.').optional(),
  at: timestamp('When.').optional(),
  expect: oneOf('The right answer.', ['allow', 'deny']),
  rule: name('The rule that must decide.').optional(),
});

export const policySchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this file format.'),
    default: z
      .literal('deny', { error: () => 'must be deny: what no rule allows is refused' })
      .describe('What no rule allows is refused.'),
    rules: z.array(rule).default([]).describe('First match names the decision; deny beats allow.'),
    exceptions: z
      .array(z.unknown())
      .max(0, '`exceptions` is not built yet in this version')
      .optional()
      .describe('Not built yet in this version.'),
    tests: z.array(test).default([]).describe('Examples with their right answer.'),
  })
  .meta({ title: 'Countersign policy' });

export type RawPolicy = z.output<typeof policySchema>;
