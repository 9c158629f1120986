import { z } from 'zod';
import { problemOfRecordedHeader, problemOfRecordedParameter } from '../message/header-names.js';
import { parsePathTemplate } from '../policy/path-template.js';
import { parsed } from './schema-values.js';

/** Names that records hold values of: each costs every record its bytes. */
export const MAX_READS = 20;
const MAX_TEMPLATES = 1000;

const refused =
  (problemOf: (name: string) => string | undefined) => (value: string, context: z.RefinementCtx) => {
    const message = problemOf(value);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  };

export const recordedHeader = (problemOf: (name: string) => string | undefined) =>
  z.string().max(64).superRefine(refused(problemOf)).describe('Header, in lower case.');

export const recordedParameter = z
  .string()
  .regex(/^[A-Za-z0-9_.~-]{1,64}$/, 'must be letters, digits, and - . _ ~')
  .superRefine(refused(problemOfRecordedParameter))
  .describe('Query parameter, by its exact name.');

/** A claim of a token by its name, or by a JSON Pointer (RFC 6901) that begins with `/`. */
export const recordedClaim = z
  .string()
  .regex(
    /^[A-Za-z0-9_.:~/-]{1,128}$/,
    'must be a claim name, or a JSON Pointer such as /kubernetes.io/namespace',
  )
  .describe("Claim of the caller's token, by name or JSON Pointer.");

/** Keys of `audit` that say what records hold of a request. */
export const recordedValues = {
  headers: z
    .array(recordedHeader(problemOfRecordedHeader))
    .max(MAX_READS, `must name at most ${MAX_READS}`)
    .default([])
    .describe('Headers whose values are recorded, besides those that the policy reads.'),
  query: z
    .array(recordedParameter)
    .max(MAX_READS, `must name at most ${MAX_READS}`)
    .default([])
    .describe('Query parameters whose values are recorded, besides those that the policy reads.'),
  pathTemplates: z
    .array(
      parsed(
        parsePathTemplate,
        z.string().describe('Path in which `{name}` is one segment, such as /invoices/{id}.'),
      ),
    )
    .max(MAX_TEMPLATES, `must hold at most ${MAX_TEMPLATES}`)
    .superRefine((templates, context) => {
      const firstAt = new Map<string, number>();
      for (const [i, { segments }] of templates.entries()) {
        const key = segments.join('/');
        const first = firstAt.get(key);
        if (first === undefined) firstAt.set(key, i);
        else
          context.addIssue({
            code: 'custom',
            path: [i],
            message: `fits the same paths as pathTemplates[${first}]`,
          });
      }
    })
    .optional()
    .describe('Recorded in place of paths; a path that fits none is recorded as `/**`.'),
};
