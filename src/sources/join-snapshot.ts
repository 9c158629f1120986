import { createHash } from 'node:crypto';
import type { Config } from '../config/config.js';
import type { AssertionPlan } from '../identity/assertion-claims.js';
import { createRevocationList, type RevocationList } from '../identity/revocation.js';
import { NO_TOKENS } from '../identity/token-trust.js';
import { createTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { compileForwardPlan, type ForwardPlan } from '../message/forward-policy.js';
import { pseudonymOf } from '../message/via.js';
import { PathTemplates } from '../policy/path-template.js';
import type { Policy } from '../policy/policy.js';
import { compileRoutes } from '../policy/route-table.js';
import type { ListenerView, OwnSvid, Recording, Snapshot } from '../snapshot.js';
import { joinListeners } from './listener-sources.js';
import { bundlesOf, ownSvidOf, type SourceSet, trustOf } from './source-set.js';
import { describeKeys, joinTokens } from './token-sources.js';
import { revocationPolicyOf, type TrustSources } from './trust-source.js';

/** Joins the newest good of each source, as soon as there is an SVID of ours; what did not change keeps its object, so that nothing is computed for it again. */
export function joinSnapshot(
  config: Config,
  policy: Policy,
  sources: SourceSet,
  before: Snapshot | undefined,
): Snapshot | undefined {
  const { own: present, isWithdrawn } = ownSvidOf(sources);
  const own = present ?? before?.own;
  if (own === undefined) return undefined;
  const trust = trustOf(sources);
  const joined = sources.grants?.joinedWith(policy) ?? policy;
  return {
    sequence: (before?.sequence ?? 0) + 1,
    config,
    listeners: listenerViews(config, before),
    own,
    isOwnWithdrawn: isWithdrawn,
    bundles: allBundles(trust, before),
    revocationPolicies: new Map(trust.map((of) => [of.config.trustDomain as string, revocationPolicyOf(of)])),
    revocations: revocationsOf(sources),
    policy: joined,
    recording: recordingOf(config, joined, before),
    forwardPlan: forwardPlan('inbound', config, own, before),
    outboundPlan: forwardPlan('outbound', config, own, before),
    gateways: new Set(config.trustedPeers.gateways.map((id) => id.uri)),
    trustRevision: trustRevision(trust, sources),
    tokens: joinTokens(sources.tokens, before?.tokens ?? NO_TOKENS),
    ...joinListeners(sources.listeners, before),
    assertions: assertionPlan(config, own, sources, before?.assertions),
  };
}

/** Of a domain whose bundle has not come yet an empty one: it is known, and nobody of it is. */
function allBundles(trust: readonly TrustSources[], before: Snapshot | undefined): Map<string, TrustBundle> {
  const bundles = bundlesOf(trust);
  for (const { config } of trust) {
    const { trustDomain } = config;
    if (bundles.has(trustDomain)) continue;
    const known = before?.bundles.get(trustDomain);
    bundles.set(trustDomain, known?.authorities.length === 0 ? known : createTrustBundle({ trustDomain }));
  }
  return bundles;
}

function listenerViews(config: Config, before: Snapshot | undefined): Map<string, ListenerView> {
  const views = new Map<string, ListenerView>();
  for (const listener of config.listeners) {
    const known = before?.listeners.get(listener.name);
    const view =
      known?.config === listener ? known : { config: listener, routes: compileRoutes(listener.routes) };
    views.set(listener.name, view);
  }
  return views;
}

function recordingOf(
  { audit: { recorded } }: Config,
  { reads }: Policy,
  before: Snapshot | undefined,
): Recording {
  const isSame = before?.config.audit.recorded === recorded;
  if (isSame && before.policy.reads === reads) return before.recording;
  const { pathTemplates } = recorded;
  return {
    headers: [...new Set([...reads.headers, ...recorded.headers])],
    query: [...new Set([...reads.query, ...recorded.query])],
    claims: reads.claims,
    templates: pathTemplates === undefined ? undefined : new PathTemplates(pathTemplates),
  };
}

/** Each way has a name of its own in Via: a workload that calls itself has not gone round in a loop. */
function forwardPlan(
  direction: ForwardPlan['direction'],
  config: Config,
  own: OwnSvid,
  before: Snapshot | undefined,
): ForwardPlan {
  if (before?.config.forward === config.forward && before.own.id.uri === own.id.uri)
    return direction === 'inbound' ? before.forwardPlan : before.outboundPlan;
  const names = { direction, spiffeId: own.id.uri, pseudonym: pseudonymOf(own.id.uri, direction) };
  return compileForwardPlan(config.forward, names);
}

/** The same object while it says the same: assertions are remembered by it. */
function assertionPlan(
  { forward: { assertion } }: Config,
  own: OwnSvid,
  { assertionKey }: SourceSet,
  before: AssertionPlan | undefined,
): AssertionPlan | undefined {
  const signer = assertionKey?.value?.signer;
  if (assertion === undefined || signer === undefined) return undefined;
  const { lifetimeMs, audience } = assertion;
  const issuer = own.id.uri;
  const isSame =
    before?.signer === signer &&
    before.issuer === issuer &&
    before.lifetimeMs === lifetimeMs &&
    before.audience === audience;
  return isSame ? before : { signer, issuer, lifetimeMs, audience };
}

/** The operator's file and what the admin listener was told: either may revoke, neither takes back what the other says. */
export function revocationsOf({ revocations, emergency }: SourceSet): RevocationList {
  const list = revocations?.value ?? NOTHING_REVOKED;
  return emergency === undefined ? list : emergency.joinedWith(list);
}

const NOTHING_REVOKED = createRevocationList([], '');

function trustRevision(
  trust: readonly TrustSources[],
  { revocations, emergency, tokens }: SourceSet,
): string {
  const hash = createHash('sha256');
  const lines = trust.map(
    ({ config, bundle, crls, givenCrls }) =>
      `${config.trustDomain} ${bundle.value?.revision ?? ''} ${[
        ...crls.map((crl) => crl.value?.sha256 ?? ''),
        ...givenCrls().map((crl) => crl.sha256),
      ].join(' ')}`,
  );
  for (const line of [...lines, ...describeKeys(tokens)].sort()) hash.update(`${line}\n`);
  return hash
    .update(revocations?.value?.revision ?? '')
    .update(emergency === undefined || emergency.list.entries.length === 0 ? '' : emergency.list.revision)
    .digest('hex')
    .slice(0, 16);
}
