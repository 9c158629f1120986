import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import { type Condition, compileCondition, type PolicyReads } from '../../src/policy/condition.js';
import type { Delegation } from '../../src/policy/delegation.js';
import { type ConditionInput, type RequestFacts, UnknownFact } from '../../src/policy/facts.js';
import { parsePrincipalPattern } from '../../src/policy/pattern.js';
import type { RegistryEntry } from '../../src/policy/registry.js';

export const READS: PolicyReads = {
  headers: ['x-region', 'x-tier'],
  query: ['dry_run', '__proto__'],
  claims: ['repository'],
};
/** A Saturday, 21 November 2026. */
export const NOW_MS = Date.UTC(2026, 10, 21, 10, 30, 15, 250);

export interface Sample {
  readonly id?: string;
  readonly method?: string;
  readonly path?: string;
  readonly nowMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly claims?: Readonly<Record<string, string>>;
  readonly behalfOf?: Delegation;
  readonly facts?: Partial<RequestFacts>;
  readonly registered?: RegistryEntry | undefined;
}

export function must<T>(result: { ok: true; value: T } | { ok: false; error: unknown }): T {
  if (!result.ok) throw new Error(JSON.stringify(result.error));
  return result.value;
}

export const entry: RegistryEntry = {
  pattern: must(parsePrincipalPattern('spiffe://example.org/ns/prod/**')),
  owner: 'team-payments',
  environment: 'prod',
  contact: undefined,
  purpose: undefined,
};

/** A GET of the web workload by TLS 1.3, with a credential of an hour that is 20 minutes old. */
export function inputOf(sample: Sample = {}): ConditionInput {
  const nowMs = sample.nowMs ?? NOW_MS;
  const path = sample.path ?? '/prod/invoices/7';
  const own = (of: Readonly<Record<string, string>> | undefined, name: string): string | undefined =>
    of !== undefined && Object.hasOwn(of, name) ? of[name] : undefined;
  const facts = {
    header: (name: string) => own(sample.headers, name),
    claim: (name: string) => own(sample.claims, name),
    query: (name: string) => own(sample.query, name),
    credential: {
      kind: 'x509',
      issuer: 'CN=test',
      notBeforeMs: nowMs - 20 * 60_000,
      notAfterMs: nowMs + 40 * 60_000,
    },
    connection: { tlsVersion: 'TLSv1.3', resumed: false },
  } as const;
  return {
    request: {
      principal: must(parseSpiffeId(sample.id ?? 'spiffe://example.org/ns/prod/sa/web')),
      behalfOf: sample.behalfOf,
      method: sample.method ?? 'GET',
      path,
      host: 'billing.internal',
      route: 'invoices',
      destination: 'billing',
      listener: 'inbound',
      nowMs,
      facts: Object.defineProperties({ ...facts }, Object.getOwnPropertyDescriptors(sample.facts ?? {})),
    },
    path,
    registered: 'registered' in sample ? sample.registered : entry,
  };
}

export const conditionOf = (text: string): Condition => must(compileCondition(text, READS));
export const answer = (text: string, sample: Sample = {}): boolean =>
  conditionOf(text).evaluate(inputOf(sample));

const unknown = (fact: string): never => {
  throw new UnknownFact(fact);
};

/** Of a request of which nothing was written down. */
export const noFacts: RequestFacts = {
  header: (name) => unknown(`header ${name}`),
  claim: (name) => unknown(`claim ${name}`),
  query: (name) => unknown(`query parameter ${name}`),
  get credential() {
    return unknown('credential');
  },
  get connection() {
    return unknown('connection');
  },
};
