import { z } from 'zod';
import { parseAddress } from './address.js';
import { parseDecisionUrl } from './decision-url.js';
import { count, duration, name, place, placeLike, text } from './schema-values.js';

export const externalDecision = z
  .strictObject({
    url: placeLike('http://127.0.0.1:8181/v1/data/PATH, or https://', parseDecisionUrl),
    socket: placeLike('unix:/path, to connect to instead of the host of the URL.', parseAddress).optional(),
    ca: place('PEM of the CAs that count for https; left out = the public ones.').optional(),
    allowPlaintext: z
      .boolean()
      .default(false)
      .describe('Needed for http:// to any address that is not loopback.'),
    timeout: duration('How long a question may take; then the answer is 503.', { maxMs: 10_000 }).prefault(
      '500ms',
    ),
    mayAllow: z
      .boolean()
      .default(false)
      .describe('true: its yes counts also where no rule matches. It never beats a deny.'),
    routes: z
      .array(name('Name of a route.'))
      .min(1, 'must name at least one route; leave it out for all of them')
      .optional()
      .describe('Routes whose requests are asked about; left out = all.'),
    headers: z
      .array(text('Name of a header, lower-case.', 100))
      .default([])
      .describe('Request headers that the engine is told.'),
    maxConcurrent: count('Most questions under way at once; one more is answered 503.', 1, 10_000).default(
      100,
    ),
    circuit: z
      .strictObject({
        failures: count('Questions in a row without an answer after which none is asked.', 1, 1000).default(
          5,
        ),
        open: duration('For how long none is asked.', { maxMs: 300_000 }).prefault('5s'),
      })
      .prefault({}),
    cacheEntries: count('Answers with a ttl that are kept; 0 = none.', 0, 1_000_000).default(10_000),
  })
  .describe("An engine beside the policy, asked by OPA's data API about what the policy allows.");

export type RawExternalDecision = z.output<typeof externalDecision>;
