import { z } from 'zod';
import type { RequestRate, RouteLimits } from './config.js';
import { count, rate } from './schema-values.js';

/** How many requests, in the long run and at once: words that the general limits and those of a route share. */
export const requestRate = (description: string) =>
  z
    .strictObject({
      rate: rate('In the long run, such as 500/s, 30/m or 1000/h.'),
      burst: count('Most at once, after a pause.', 1, 1_000_000),
    })
    .describe(description);

export const requestsPerPrincipal = requestRate('Requests of one SPIFFE ID.').optional();
export const concurrentPerPrincipal = count(
  'Most requests of one SPIFFE ID under way at once.',
  1,
  1_000_000,
).optional();

type RawRate = z.output<ReturnType<typeof requestRate>>;

interface RawPrincipalLimits {
  readonly requestsPerPrincipal?: RawRate | undefined;
  readonly concurrentPerPrincipal?: number | undefined;
}

const toRate = ({ rate: inTheLongRun, burst }: RawRate): RequestRate => ({ ...inTheLongRun, burst });

export const toRouteLimits = (
  raw: RawPrincipalLimits & {
    readonly requests?: RawRate | undefined;
    readonly concurrent?: number | undefined;
  },
): RouteLimits => ({
  ...(raw.requests === undefined ? {} : { requests: toRate(raw.requests) }),
  ...(raw.concurrent === undefined ? {} : { concurrent: raw.concurrent }),
  ...toPrincipalLimits(raw),
});

export const toPrincipalLimits = (
  raw: RawPrincipalLimits,
): Pick<RouteLimits, 'requestsPerPrincipal' | 'concurrentPerPrincipal'> => ({
  ...(raw.requestsPerPrincipal === undefined
    ? {}
    : { requestsPerPrincipal: toRate(raw.requestsPerPrincipal) }),
  ...(raw.concurrentPerPrincipal === undefined ? {} : { concurrentPerPrincipal: raw.concurrentPerPrincipal }),
});
