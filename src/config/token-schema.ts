import { z } from 'zod';
import { parseBundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { TOKEN_ALGORITHMS } from '../identity/token-issuer.js';
import { TOKEN_PROVIDERS } from '../identity/token-providers.js';
import { parseTokenTemplate } from '../identity/token-template.js';
import { recordedClaim } from './recorded-values.js';
import { duration, name, oneOf, parsed, place, placeLike, text, trustDomain } from './schema-values.js';

const DAY_MS = 86_400_000;

/** Where the keys of an issuer come from. */
export const keySet = z
  .strictObject({
    file: place('JWK Set.').optional(),
    url: placeLike('https://host/path of a JWK Set.', parseBundleEndpointUrl).optional(),
    discovery: z
      .literal(true)
      .describe('By the OpenID Provider metadata of the issuer (/.well-known/openid-configuration).')
      .optional(),
    ca: place('PEM of the CAs that count for https, in place of the public ones.').optional(),
    refresh: duration('How often the keys are fetched.', { minMs: 10_000, maxMs: DAY_MS }).prefault('10m'),
    maxStale: duration('For how long the last good keys count without a fetch that succeeded.', {
      minMs: 60_000,
      maxMs: 30 * DAY_MS,
    }).prefault('24h'),
  })
  .superRefine(({ file, url, discovery, ca }, context) => {
    const given = [file, url, discovery].filter((value) => value !== undefined).length;
    const complain = (message: string, path: string[] = []): void => {
      context.addIssue({ code: 'custom', message, path });
    };
    if (given !== 1)
      complain('must say where the keys come from: one of `file`, `url` and `discovery: true`');
    if (file !== undefined && ca !== undefined) complain('goes with `url` and `discovery` only', ['ca']);
  })
  .describe('The keys that verify its tokens.');

export const audiences = z
  .union([
    text('Value of `aud`.', 512),
    z.array(text('Value of `aud`.', 512)).min(1, 'must name at least one'),
  ])
  .transform((value): readonly string[] => (typeof value === 'string' ? [value] : value))
  .describe('Our own names in `aud`: a token must be meant for one of them, byte for byte.');

const template = (description: string) => parsed(parseTokenTemplate, z.string().describe(description));

const token = z.strictObject({
  name: name('Unique name; records and routes call it so.'),
  kind: oneOf(
    "oidc: JWTs of the issuer that is named. jwt-svid: by the bundle of the subject's trust domain.",
    ['oidc', 'jwt-svid'],
  ).default('oidc'),
  provider: oneOf(
    'A well-known issuer: its algorithms, checks and names of principals.',
    TOKEN_PROVIDERS,
  ).optional(),
  issuer: text('Value of `iss`, byte for byte.', 512).optional(),
  audience: audiences,
  algorithms: z
    .array(oneOf('Signature algorithm.', TOKEN_ALGORITHMS))
    .min(1, 'must name at least one')
    .optional()
    .describe('Signature algorithms; default RS256 and ES256.'),
  types: z
    .array(
      z
        .string()
        .regex(/^[A-Za-z0-9!#$&.+^_-]{1,64}$/, 'must be a media type without `application/`, or none'),
    )
    .min(1, 'must name at least one')
    .optional()
    .describe('Values of the header `typ`; `none` = it may be left out. Default JWT, at+jwt and none.'),
  jwks: keySet.optional(),
  principal: template(
    "Name of the principal: `ci:{sub}`. The namespace before the colon is this entry's alone.",
  ).optional(),
  actor: template('Name of an actor (RFC 8693 `act`); default: the namespace and {sub}.').optional(),
  require: z
    .record(recordedClaim, z.union([text('Value.', 512), z.array(text('Value.', 512)).min(1)]))
    .default({})
    .describe('Claims that must have this value, or one of these.'),
  trustDomains: z.array(trustDomain('Trust domain.')).min(1).optional().describe('jwt-svid: only of these.'),
  validate: oneOf('jwt-svid: by our own bundles, or by asking the Workload API first.', [
    'local',
    'workloadApi',
  ]).default('local'),
  clockSkew: duration("How far the issuer's clock may be from ours.", { minMs: 0, maxMs: 300_000 }).prefault(
    '0s',
  ),
  maxLifetime: duration('Longest life of a token, from iat to exp.', { maxMs: 366 * DAY_MS }).prefault('24h'),
  binding: oneOf('Whether a token must be bound to the client certificate (RFC 8705).', [
    'optional',
    'required',
  ]).default('optional'),
  oneTime: z
    .boolean()
    .default(false)
    .describe('Each `jti` once: a second request with the same token is refused.'),
});

export const tokens = z
  .array(token)
  .max(100, 'must hold at most 100')
  .describe('Further identities: JWTs that callers bring.');

export type RawToken = z.output<typeof token>;
export type RawKeySet = z.output<typeof keySet>;
