import type { Config, KeySetOrigin } from '../config/config.js';
import type { TokenIssuer } from '../identity/token-issuer.js';
import type { TokenTrust, TrustedIssuer } from '../identity/token-trust.js';
import { KeySetSource, type KeySource, keyFileSource } from './key-set-source.js';
import type { SourceHost } from './source.js';

/** Somebody whose tokens count, and where the keys come from. */
export interface IssuerSource {
  readonly issuer: TokenIssuer;
  /** Undefined of `jwt-svid`, whose keys stand in the trust bundles. */
  readonly keys: { readonly origin: KeySetOrigin; readonly source: KeySource } | undefined;
}

export interface TokenSources {
  /** Of `tokens`, by their order. */
  readonly issuers: readonly IssuerSource[];
  /** Of `trustedPeers.delegates`. */
  readonly delegates: readonly IssuerSource[];
}

/** The sources of all keys; those of `known` that have the same place keep their last good. */
export function connectTokens(
  { tokens, trustedPeers }: Config,
  known: TokenSources | undefined,
  host: SourceHost,
): TokenSources {
  const before = [...(known?.issuers ?? []), ...(known?.delegates ?? [])];
  const connect = (name: string, issuer: TokenIssuer, origin: KeySetOrigin | undefined): IssuerSource => {
    if (origin === undefined || issuer.kind === 'jwt-svid') return { issuer, keys: undefined };
    const keys = before.find(({ keys }) => keys?.source.name === name)?.keys;
    return { issuer, keys: { origin, source: sourceOf(name, issuer.issuer, origin, keys, host) } };
  };
  return {
    issuers: tokens.map(({ issuer, keys }) => connect(`token-keys:${issuer.name}`, issuer, keys)),
    delegates: trustedPeers.delegates.flatMap(({ id, by }) =>
      by.kind === 'assertion' ? [connect(`delegate-keys:${id.uri}`, by.issuer, by.keys)] : [],
    ),
  };
}

type Keys = NonNullable<IssuerSource['keys']>;

function sourceOf(
  name: string,
  issuer: string,
  origin: KeySetOrigin,
  known: Keys | undefined,
  host: SourceHost,
): KeySource {
  const remote = known?.source instanceof KeySetSource ? known.source : undefined;
  const isSameIssuer = remote === undefined || origin.kind !== 'discovery' || remote.issuer === issuer;
  if (known !== undefined && isSameIssuer && JSON.stringify(known.origin) === JSON.stringify(origin))
    return known.source;
  if (origin.kind === 'file') return keyFileSource(name, origin.file);
  const isSamePlace = isSameIssuer && remote !== undefined && placeOf(remote.origin) === placeOf(origin);
  return new KeySetSource(name, origin, issuer, host, isSamePlace ? remote.fetched : undefined);
}

const placeOf = (origin: KeySetSource['origin']): string =>
  origin.kind === 'url' ? origin.url.href : 'discovery';

/** Every source of keys. */
export const keySourcesOf = ({ issuers, delegates }: TokenSources): readonly KeySource[] =>
  [...issuers, ...delegates].flatMap(({ keys }) => (keys === undefined ? [] : [keys.source]));

/** The source of the keys that this entry of `tokens` is verified by, where they are fetched. */
export function remoteKeysOf({ issuers, delegates }: TokenSources, name: string): KeySetSource | undefined {
  const found = [...issuers, ...delegates].find(({ issuer }) => issuer.name === name)?.keys?.source;
  return found instanceof KeySetSource ? found : undefined;
}

/** Whose tokens count now; what did not change keeps its object. */
export function joinTokens(sources: TokenSources, before: TokenTrust): TokenTrust {
  const issuers = sources.issuers.map((source, i) => joinIssuer(source, before.issuers[i]));
  const delegates = new Map(
    sources.delegates.map((source) => {
      const presenter = source.issuer.kind === 'assertion' ? source.issuer.presenter : source.issuer.name;
      return [presenter, joinIssuer(source, before.delegates.get(presenter))];
    }),
  );
  const isSame =
    issuers.length === before.issuers.length &&
    issuers.every((issuer, i) => issuer === before.issuers[i]) &&
    delegates.size === before.delegates.size &&
    [...delegates].every(([presenter, issuer]) => before.delegates.get(presenter) === issuer);
  return isSame ? before : { issuers, delegates };
}

function joinIssuer({ issuer, keys }: IssuerSource, before: TrustedIssuer | undefined): TrustedIssuer {
  const { value, stale } = keys?.source ?? { value: undefined, stale: undefined };
  const isSameIssuer =
    before !== undefined &&
    (before.issuer === issuer || JSON.stringify(before.issuer) === JSON.stringify(issuer));
  if (isSameIssuer && before.keys === value && before.stale === stale) return before;
  return { issuer: isSameIssuer ? before.issuer : issuer, keys: value, stale };
}

/** What of it counts in the revision of all trust: keys that are too old are as good as gone. */
export const describeKeys = ({ issuers, delegates }: TokenSources): readonly string[] =>
  [...issuers, ...delegates].flatMap(({ keys }) => {
    if (keys === undefined) return [];
    const { name, value, stale } = keys.source;
    return `${name} ${stale === undefined ? (value?.revision ?? '') : ''}`;
  });
