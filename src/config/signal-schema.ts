import { z } from 'zod';
import { isAll, TOKEN } from '../message/char-class.js';
import type { SignalSettings } from './config.js';
import { duration } from './schema-values.js';

/** By how many places hold a key in a header of this name: API gateways (AWS, Azure, Google, Kong), clouds, GitLab, Vault, monitoring. */
const SECRET_HEADERS = [
  'x-api-key',
  'api-key',
  'x-api-token',
  'api-token',
  'x-api-secret',
  'x-auth-token',
  'x-auth-key',
  'x-access-token',
  'x-client-secret',
  'x-goog-api-key',
  'x-functions-key',
  'ocp-apim-subscription-key',
  'x-vault-token',
  'private-token',
  'dd-api-key',
];

/** RFC 6750 2.3 and RFC 6749 2.3.1 have some of them; the others are what API gateways call theirs. */
const SECRET_QUERY = [
  'api_key',
  'access_token',
  'auth_token',
  'api_token',
  'private_token',
  'client_secret',
  'subscription-key',
  'password',
];

const orFalse = (description: string, least: number, most: number) => {
  const error = `must be false or a whole number from ${least} to ${most}`;
  return z
    .union([z.literal(false), z.number().int(error).min(least, error).max(most, error)], { error })
    .describe(description);
};

const SHARE = 'must be false or a share from 1% to 90%, such as 20%';

const share = (description: string) =>
  z
    .union([z.literal(false), z.string().regex(/^([1-9]|[1-8][0-9]|90)%$/, SHARE)], { error: SHARE })
    .describe(description);

const headerName = z
  .string()
  .max(100, 'must be at most 100 characters')
  .refine((name) => isAll(name, TOKEN), 'is not a header name')
  .refine(
    (name) => !/^(proxy-)?authorization$/i.test(name),
    'is always looked at, by its scheme: leave it out here',
  );

const parameterName = z
  .string()
  .max(100, 'must be at most 100 characters')
  .regex(/^[A-Za-z0-9._-]*[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be letters, digits, `.`, `_` or `-`');

export const signals = z
  .strictObject({
    sharedAddresses: orFalse(
      'credential.shared where one key is in use from so many networks at once.',
      2,
      100_000,
    ).default(2),
    privatePrefix: z
      .number()
      .int('must be a whole number')
      .min(8, 'must be at least 8')
      .max(32, 'must be at most 32')
      .default(24)
      .describe(
        'Private IPv4 addresses that agree in so many bits count as one: the pods of one node, which have one SVID. 32 = each for itself.',
      ),
    sharedIds: z.boolean().default(true).describe('credential.shared where one key has several SPIFFE IDs.'),
    liveCertificates: orFalse(
      'credential.shared where one SPIFFE ID has so many certificates in use.',
      2,
      100_000,
    ).default(200),
    over: duration('What was so within this time lasts still, and is not told again.').prefault('10m'),
    nearExpiry: share(
      'credential.near_expiry where a connection is opened and used with less of its certificate’s life left.',
    ).default('20%'),
    staticSecrets: z
      .boolean()
      .default(true)
      .describe('static_secret.observed, request.secrets and the metric.'),
    secretHeaders: z
      .array(headerName)
      .max(200, 'must be at most 200')
      .default(SECRET_HEADERS)
      .describe('Headers that hold a key, besides Authorization; compared by letters and digits alone.'),
    secretQuery: z
      .array(parameterName)
      .max(200, 'must be at most 200')
      .default(SECRET_QUERY)
      .describe('Query parameters that hold a credential; compared by letters and digits alone.'),
    tokenLifetime: duration('A JWT that lives longer is a static secret.').prefault('24h'),
    firstSeen: z.boolean().default(true).describe('identity.first_seen and edge.first_seen.'),
  })
  .describe('What is recorded because it is worth a look, though nothing refuses it.');

export const metrics = z
  .strictObject({
    principals: orFalse(
      'countersign_principal_requests_total for so many SPIFFE IDs; all further ones are `other`.',
      1,
      10_000,
    ).default(false),
  })
  .describe('Metrics that are off unless asked for.');

export type RawSignals = z.output<typeof signals>;

export function signalsOf({ over, nearExpiry, tokenLifetime, ...same }: RawSignals): SignalSettings {
  return {
    ...same,
    overMs: over,
    nearExpiry: nearExpiry === false ? false : Number.parseInt(nearExpiry, 10) / 100,
    tokenLifetimeMs: tokenLifetime,
  };
}
