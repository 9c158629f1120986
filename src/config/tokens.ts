import type { OidcIssuer, RequiredClaim } from '../identity/token-issuer.js';
import { type TokenProvider, tokenProviders } from '../identity/token-providers.js';
import { parseTokenTemplate } from '../identity/token-template.js';
import type { KeySetOrigin, TokenConfig } from './config.js';
import type { Places } from './places.js';
import type { RawKeySet, RawToken } from './token-schema.js';
import type { KeyPath } from './yaml-text.js';

/** One entry of `tokens`: what its provider says filled in, and what does not fit together made a problem. */
export function toToken(raw: RawToken, i: number, places: Places): TokenConfig {
  const at = ['tokens', i];
  const rules = {
    name: raw.name,
    audiences: raw.audience,
    clockSkewMs: raw.clockSkew,
    maxLifetimeMs: raw.maxLifetime,
    requiresBinding: raw.binding === 'required',
    isOneTime: raw.oneTime,
  };
  const problem = (key: string, message: string): void => {
    places.problems.push(places.yaml.problemAt([...at, key], message));
  };
  if (raw.kind === 'oidc') return { issuer: toOidc(raw, rules, problem), keys: toKeys(raw, at, places) };
  for (const key of ['provider', 'issuer', 'algorithms', 'types', 'jwks', 'principal', 'actor'] as const)
    if (raw[key] !== undefined)
      problem(key, 'goes with `kind: oidc`: the SPIFFE standards and bundles say it here');
  const { trustDomains } = raw;
  const asksAgent = raw.validate === 'workloadApi';
  return {
    issuer: {
      kind: 'jwt-svid',
      ...rules,
      asksAgent,
      ...(trustDomains === undefined ? {} : { trustDomains }),
    },
  };
}

type Rules = Pick<
  OidcIssuer,
  'name' | 'audiences' | 'clockSkewMs' | 'maxLifetimeMs' | 'requiresBinding' | 'isOneTime'
>;

function toOidc(raw: RawToken, rules: Rules, problem: (key: string, message: string) => void): OidcIssuer {
  const known: Partial<TokenProvider> = raw.provider === undefined ? {} : tokenProviders[raw.provider];
  const issuer = raw.issuer ?? known.issuer;
  if (issuer === undefined) problem('issuer', 'is required: the exact `iss` of its tokens');
  const principal = raw.principal ?? known.principal;
  if (principal === undefined)
    problem('principal', 'is required: how a token names its principal, such as `ci:{sub}`');
  if (raw.trustDomains !== undefined) problem('trustDomains', 'goes with `kind: jwt-svid`');
  if (raw.validate !== 'local') problem('validate', 'goes with `kind: jwt-svid`');
  const namespace = principal?.namespace ?? 'none:';
  if (raw.actor !== undefined && raw.actor.namespace !== namespace)
    problem('actor', `must begin with ${namespace} as \`principal\` does: one issuer, one namespace`);
  return {
    kind: 'oidc',
    ...rules,
    issuer: issuer ?? '',
    algorithms: raw.algorithms ?? known.algorithms ?? ['RS256', 'ES256'],
    types: raw.types ?? known.types ?? ['JWT', 'at+jwt', 'none'],
    principal: principal ?? templateOf('none:{sub}'),
    actor: raw.actor ?? templateOf(`${namespace}{sub}`),
    required: [...(known.required ?? []), ...requiredOf(raw.require)],
  };
}

/** Of a template that is known to be sound. */
function templateOf(text: string): OidcIssuer['actor'] {
  const template = parseTokenTemplate(text);
  if (!template.ok) throw new Error(`${text}: ${template.error}`);
  return template.value;
}

const requiredOf = (raw: RawToken['require']): RequiredClaim[] =>
  Object.entries(raw).map(([claim, values]) => ({
    claim,
    values: typeof values === 'string' ? [values] : values,
  }));

function toKeys(raw: RawToken, at: KeyPath, places: Places): KeySetOrigin {
  const { jwks } = raw;
  if (jwks !== undefined) return toKeySet(jwks, [...at, 'jwks'], places);
  if (raw.provider !== undefined) return { kind: 'discovery', refreshMs: 600_000, maxStaleMs: 86_400_000 };
  places.problems.push(
    places.yaml.problemAt([...at, 'jwks'], 'is required: where the keys of the issuer come from'),
  );
  return { kind: 'file', file: '' };
}

/** Where the keys of somebody who signs tokens come from. */
export function toKeySet(raw: RawKeySet, at: KeyPath, places: Places): KeySetOrigin {
  const { file, url, ca, refresh, maxStale } = raw;
  if (file !== undefined) return { kind: 'file', file: places.file([...at, 'file'], file) };
  const fetching = {
    refreshMs: refresh,
    maxStaleMs: maxStale,
    ...(ca === undefined ? {} : { caFile: places.file([...at, 'ca'], ca) }),
  };
  return url === undefined
    ? { kind: 'discovery', ...fetching }
    : { kind: 'url', url: places.endpointUrl([...at, 'url'], url), ...fetching };
}
