import { z } from 'zod';
import { name, namingTemplate, oneOf, principalPattern, text } from './schema-values.js';

const MAX_IDENTITIES = 100_000;
const MAX_TEMPLATES = 100;
const MAX_DELEGATIONS = 100;

const delegation = z.strictObject({
  for: z
    .array(principalPattern('Principal on whose behalf it may act: exact, or with `*` and `**`.'))
    .min(1, 'must name at least one principal')
    .max(MAX_DELEGATIONS, `must name at most ${MAX_DELEGATIONS}`),
  destinations: z
    .array(name('Name of an upstream or route.'))
    .min(1, 'must not be empty: leave it out for all')
    .max(MAX_DELEGATIONS, `must name at most ${MAX_DELEGATIONS}`)
    .optional()
    .describe('Only there; left out = everywhere that policy allows.'),
});

const identity = z.strictObject({
  id: principalPattern(
    'SPIFFE ID, or name that a token gives: exact, or with `*` for one and `**` for any number of segments.',
  ),
  owner: text('Who answers for it; it stands in the records.', 200),
  environment: text('Such as prod.', 100).optional(),
  contact: text('Where its owner can be reached.', 200).optional(),
  purpose: text('What it is for.').optional(),
  delegations: z
    .array(delegation)
    .max(MAX_DELEGATIONS, `must hold at most ${MAX_DELEGATIONS}`)
    .optional()
    .describe('For whom it may act; left out = for nobody but itself.'),
});

export const registrySchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this file format.'),
    unregistered: oneOf('Identities that no entry knows: let in, let in and say so, or refused.', [
      'allow',
      'flag',
      'deny',
    ]),
    naming: z
      .array(namingTemplate('Such as spiffe://example.org/ns/{environment}/sa/{name}.'))
      .min(1, 'must not be empty: leave it out where names follow no rule')
      .max(MAX_TEMPLATES, `must hold at most ${MAX_TEMPLATES} templates`)
      .optional()
      .describe('How identities are named; `check` warns of those that are not.'),
    identities: z
      .array(identity)
      .max(MAX_IDENTITIES, `must hold at most ${MAX_IDENTITIES} entries`)
      .describe('Who owns which; the most specific entry counts, whatever the order.'),
  })
  .meta({ title: 'Countersign registry' });

export type RawRegistry = z.output<typeof registrySchema>;
