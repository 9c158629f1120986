import type { AssertionConfig, DelegateConfig } from './config.js';
import type { RawConfig } from './config-schema.js';
import type { Places } from './places.js';
import { toKeySet } from './tokens.js';

/** Longer-lived assertions than ours ever are need not be believed. */
const MAX_LIFETIME_MS = 3_600_000;

export function toAssertion(
  raw: NonNullable<RawConfig['forward']['assertion']>,
  places: Places,
): AssertionConfig {
  const at = ['forward', 'assertion'];
  const { audience, jwksFile } = raw;
  return {
    keyFile: places.file([...at, 'key'], raw.key),
    lifetimeMs: raw.lifetime,
    overlapMs: raw.overlap,
    ...(audience === undefined ? {} : { audience }),
    ...(jwksFile === undefined ? {} : { jwksFile: places.file([...at, 'jwksFile'], jwksFile) }),
  };
}

export function toDelegate(
  raw: RawConfig['trustedPeers']['delegates'][number],
  i: number,
  places: Places,
): DelegateConfig {
  const { spiffeId: id, by, audience, jwks, issuer = id } = raw;
  if (by === 'xfcc' || audience === undefined || jwks === undefined) return { id, by: { kind: 'xfcc' } };
  return {
    id,
    by: {
      kind: 'assertion',
      issuer: {
        kind: 'assertion',
        name: `assertion:${id.uri}`,
        audiences: audience,
        clockSkewMs: 0,
        maxLifetimeMs: MAX_LIFETIME_MS,
        requiresBinding: false,
        isOneTime: false,
        issuer: issuer.uri,
        presenter: id.uri,
      },
      keys: toKeySet(jwks, ['trustedPeers', 'delegates', i, 'jwks'], places),
    },
  };
}
