import type { AccessRequest, Decision } from './decision.js';
import { foldSegments, splitPath } from './pattern.js';
import type { RegistryEntry } from './registry.js';

/** What an external engine is told beyond the question itself. */
export interface ExternalFacts {
  /** Allow-listed by name (lower case), and only as they cross to the service. */
  readonly headers: Readonly<Record<string, string>>;
  readonly registered: RegistryEntry | undefined;
}

/**
 * The input document, version 1, as JSON text without its time: two questions of one text are one question to a cache.
 * `path` is the reading that is asked about: a path that holds %2F has two, and each is a question of its own.
 */
export function externalInput(
  request: AccessRequest,
  path: string,
  local: Decision,
  { headers, registered }: ExternalFacts,
): string {
  const { principal, method, host, route, destination, listener } = request;
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
    },
    connection: { tlsVersion: connection.tlsVersion, resumed: connection.resumed },
    local: { effect: local.effect, rule: local.rule, policyRevision: local.policyRevision },
  });
}

/** What is sent: OPA's data API takes the document as a member named `input`. */
export const externalBody = (input: string, nowMs: number): string =>
  `{"input":${input.slice(0, -1)},"time":"${new Date(nowMs).toISOString()}"}}`;
