import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import { compileCondition, type PolicyReads } from '../../src/policy/condition.js';
import type { ConditionInput } from '../../src/policy/facts.js';
import { must } from '../support/bench-rules.js';
import type { MicroCase } from './harness.js';

const reads: PolicyReads = { headers: ['x-region'], query: ['dry_run'], claims: [] };
const NOW_MS = Date.UTC(2026, 10, 20, 10, 30);
const HOUR_MS = 3_600_000;

const CLOCK = 'now.getHours() >= 6 && now.getHours() < 20 && credential.remaining > duration("5m")';
/** Of docs/conditions.md, those that differ in what they do. */
const examples: readonly string[] = [
  'now < timestamp("2026-12-01T00:00:00Z")',
  'now.getDayOfWeek() in [1, 2, 3, 4, 5]',
  'now.getHours() * 60 + now.getMinutes() >= 8 * 60 + 30',
  'principal.segments[0] == "ns" && request.segments[1] == principal.segments[1]',
  'credential.lifetime <= duration("1h") && credential.age < duration("30m")',
  '!("x-region" in request.headers) || request.headers["x-region"] in ["eu", "ch"]',
  'request.method in ["GET", "HEAD"] || has(request.query.dry_run) && request.query["dry_run"] == "true"',
  'principal.registered && principal.owner == "team-payments" && principal.environment == "prod"',
  'request.segments.all(s, !s.startsWith("_"))',
  'connection.tlsVersion == "TLSv1.3" && !connection.resumed',
];

const input: ConditionInput = {
  path: '/x/prod/7',
  registered: {
    pattern: { text: '', trustDomain: must(parseSpiffeId('spiffe://example.org')).trustDomain, segments: [] },
    owner: 'team-payments',
    environment: 'prod',
    contact: undefined,
    purpose: undefined,
  },
  request: {
    principal: must(parseSpiffeId('spiffe://example.org/ns/prod/sa/web')),
    method: 'POST',
    path: '/x/prod/7',
    host: 'billing.internal',
    route: 'all',
    destination: 'billing',
    listener: 'inbound',
    nowMs: NOW_MS,
    facts: {
      header: (name) => (name === 'x-region' ? 'ch' : undefined),
      query: (name) => (name === 'dry_run' ? 'true' : undefined),
      claim: () => undefined,
      credential: {
        kind: 'x509',
        issuer: 'CN=ca',
        notBeforeMs: NOW_MS - 60_000,
        notAfterMs: NOW_MS + HOUR_MS / 2,
      },
      connection: { tlsVersion: 'TLSv1.3', resumed: false },
    },
  },
};

/** Each example once by itself, a fault that any caller can cause, and the compiling of one. */
export function conditionCases(): MicroCase[] {
  return [
    ...[CLOCK, ...examples].map(evaluateCase),
    { name: 'condition, a header that is absent (a fault)', run: absentHeader() },
    { name: 'compileCondition', run: () => must(compileCondition(CLOCK, reads)) },
  ];
}

function evaluateCase(text: string): MicroCase {
  const condition = must(compileCondition(text, reads));
  return {
    name: `condition: ${text}`,
    run: () => {
      if (!condition.evaluate(input)) throw new Error(`${text} does not hold`);
      return condition;
    },
  };
}

function absentHeader(): () => unknown {
  const condition = must(compileCondition('request.headers["x-region"] == "eu"', reads));
  const facts = { ...input.request.facts, header: () => undefined };
  const without = { ...input, request: { ...input.request, facts } };
  return () => {
    try {
      return condition.evaluate(without);
    } catch (error) {
      return error;
    }
  };
}
