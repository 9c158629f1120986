import type { PrincipalId } from '../identity/principal-id.js';
import type { AccessRequest, Decision } from './decision.js';
import { actorsOf, type Delegation } from './delegation.js';
import { ConditionFault, type RequestFacts } from './facts.js';
import { foldSegments, splitPath } from './pattern.js';
import type { RegistryEntry } from './registry.js';

/** What an external engine is told beyond the question itself. */
export interface ExternalFacts {
  /** Allow-listed by name (lower case), and only as they cross to the service. */
  readonly headers: Readonly<Record<string, string>>;
  readonly registered: RegistryEntry | undefined;
  /** Names of the claims that it is told: those that the policy reads. */
  readonly claims?: readonly string[];
}

/**
 * The input document, version 1, as JSON text without its time: two questions of one text are one question to a cache.
 * `path` is the reading that is asked about: a path that holds %2F has two, and each is a question of its own.
 */
export function externalInput(
  request: AccessRequest,
  path: string,
  local: Decision,
  { headers, registered, claims = [] }: ExternalFacts,
): string {
  const { principal, behalfOf, method, host, route, destination, listener } = request;
  const { credential, connection } = request.facts;
  const segments = splitPath(path);
  return JSON.stringify({
    version: 1,
    request: {
      method,
      host,
      path,
      segments,
      foldedSegments: foldSegments(segments),
      listener,
      route,
      destination,
      headers,
    },
    principal: {
      id: principal.uri,
      trustDomain: principal.trustDomain,
      segments: principal.segments,
      registered: registered !== undefined,
      owner: registered?.owner,
      environment: registered?.environment,
    },
    credential: {
      kind: credential.kind,
      issuer: credential.issuer,
      notBefore: new Date(credential.notBeforeMs).toISOString(),
      notAfter: new Date(credential.notAfterMs).toISOString(),
      claims: claims.length === 0 ? undefined : claimsOf(request.facts, claims),
    },
    behalfOf: behalfOf && behalfDocument(behalfOf, principal),
    connection: { tlsVersion: connection.tlsVersion, resumed: connection.resumed },
    local: { effect: local.effect, rule: local.rule, policyRevision: local.policyRevision },
  });
}

/** What no condition could read either (an object, a list) is left out. */
function claimsOf(facts: RequestFacts, names: readonly string[]): Readonly<Record<string, string>> {
  const claims: Record<string, string> = Object.create(null);
  for (const name of names) {
    const value = claimOf(facts, name);
    if (value !== undefined) claims[name] = value;
  }
  return claims;
}

function claimOf(facts: RequestFacts, name: string): string | undefined {
  try {
    return facts.claim(name);
  } catch (cause) {
    if (cause instanceof ConditionFault) return undefined;
    throw cause;
  }
}

/** Left out where the caller asks for itself: an engine that lets callers in must look at it. */
const behalfDocument = (behalfOf: Delegation, caller: PrincipalId): object => ({
  id: behalfOf.subject.uri,
  trustDomain: behalfOf.subject.trustDomain,
  segments: behalfOf.subject.segments,
  by: behalfOf.by,
  actors: actorsOf(behalfOf, caller),
});

/** What is sent: OPA's data API takes the document as a member named `input`. */
export const externalBody = (input: string, nowMs: number): string =>
  `{"input":${input.slice(0, -1)},"time":"${new Date(nowMs).toISOString()}"}}`;
