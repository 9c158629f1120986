import fc from 'fast-check';
import t from 'tap';
import { type AccessRequest, type Decision, evaluate } from '../../src/policy/decision.js';
import { type Explanation, explain, type RuleExplanation } from '../../src/policy/explain.js';
import { UnknownFact } from '../../src/policy/facts.js';
import { matchPrincipal } from '../../src/policy/pattern.js';
import { compilePolicy, type Policy } from '../../src/policy/policy.js';
import type { DelegationGrant } from '../../src/policy/registry.js';
import { policies, registries, requests } from '../support/policy-arbitrary.js';

const compiled = fc
  .record({
    policy: policies,
    registry: registries,
    candidate: fc.option(policies, { nil: undefined, freq: 3 }),
  })
  .map(({ policy, registry, candidate }) => {
    const tried = candidate && {
      ...candidate,
      rules: candidate.rules.filter(({ mode }) => mode === 'enforce'),
    };
    const hasShadow = policy.rules.some(({ mode }) => mode === 'shadow');
    return compilePolicy(policy, registry, hasShadow ? undefined : tried);
  });
/** Three hundred policies and a hundred requests of each. */
const options = { seed: 4, numRuns: 300 };
const asking = (isAllKnown: boolean) => fc.array(requests(isAllKnown), { minLength: 100, maxLength: 100 });

interface Seen {
  readonly reasons: Map<string, number>;
  shadows: number;
  errors: number;
  unknown: number;
  impliedAnyway: number;
}
const newSeen = (): Seen => ({ reasons: new Map(), shadows: 0, errors: 0, unknown: 0, impliedAnyway: 0 });

/** What the verdicts on the rules, read one by one, come to. */
function implied(
  rules: readonly RuleExplanation[],
  registryDenies: boolean,
): { effect: string; rule: string } {
  const enforced = rules.filter(({ mode, matched }) => mode === 'enforce' && matched);
  if (registryDenies) return { effect: 'deny', rule: 'registry' };
  const deny = enforced.find(({ effect }) => effect === 'deny');
  if (deny !== undefined) return { effect: 'deny', rule: deny.rule };
  const allow = enforced.find(({ isException }) => !isException) ?? enforced[0];
  return allow === undefined ? { effect: 'deny', rule: 'default' } : { effect: 'allow', rule: allow.rule };
}

function isRegistryDeny({ registry }: Policy, request: AccessRequest): boolean {
  if (registry === undefined) return false;
  const { principal, behalfOf, route, destination } = request;
  const asked = behalfOf === undefined ? [principal] : [principal, behalfOf.subject];
  if (registry.unregistered === 'deny' && asked.some((id) => registry.find(id) === undefined)) return true;
  if (behalfOf === undefined) return false;
  const isThere = ({ destinations }: DelegationGrant): boolean =>
    destinations === undefined || destinations.includes(route) || destinations.includes(destination);
  const isFor = (grant: DelegationGrant): boolean =>
    grant.for.some((pattern) => matchPrincipal(pattern, behalfOf.subject));
  return !registry.find(principal)?.delegations?.some((grant) => isThere(grant) && isFor(grant));
}

function checkAgreement(policy: Policy, request: AccessRequest, seen: Seen): void {
  const explanation = explain(policy, request);
  let decision: Decision;
  try {
    decision = evaluate(policy, request);
  } catch (cause) {
    if (!(cause instanceof UnknownFact)) throw cause;
    checkUnknown(explanation, seen);
    return;
  }
  seen.reasons.set(decision.reason, (seen.reasons.get(decision.reason) ?? 0) + 1);
  if (decision.shadow !== undefined) seen.shadows++;
  if (decision.conditionErrors !== undefined) seen.errors++;
  const { shadow, ...alone } = decision;
  same(explanation.decision, alone, 'decision');
  same(withoutErrors(explanation.shadow?.decision), shadow, 'shadow');
  const { effect, rule } = implied(explanation.rules, isRegistryDeny(policy, request));
  same([effect, rule], [decision.effect, decision.rule], 'implied');
  const deciding = explanation.rules.filter(({ decides }) => decides).map((explained) => explained.rule);
  same(deciding, ['default', 'registry'].includes(rule) ? [] : [rule], 'deciding');
  for (const { matched, mismatch, text } of explanation.rules)
    if (matched !== (mismatch === undefined) || text === '') throw new Error('a rule that is not explained');
}

/** Where the live decision cannot be told, some rule says so, or the policy that is tried out does. */
function checkUnknown({ decision, effect, rules, shadow }: Explanation, seen: Seen): void {
  seen.unknown++;
  if (decision === undefined && effect !== undefined) seen.impliedAnyway++;
  const isSaid = rules.some(({ mismatch }) => mismatch === 'undecidable') || shadow?.unknown !== undefined;
  if (!isSaid) throw new Error('nothing says what is not known');
  if (decision !== undefined && shadow?.unknown === undefined) throw new Error('a decision nobody took');
}

function withoutErrors(decision: Decision | undefined): Decision | undefined {
  if (decision === undefined) return undefined;
  const { conditionErrors: _, ...rest } = decision;
  return rest;
}

function same(is: unknown, expected: unknown, what: string): void {
  const [a, b] = [JSON.stringify(is), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${what}: ${a} instead of ${b}`);
}

t.test(
  'explain agrees with the live decision on thirty thousand requests of which all is known',
  async (t) => {
    const seen = newSeen();
    fc.assert(
      fc.property(compiled, asking(true), (policy, asked) => {
        for (const request of asked) checkAgreement(policy, request, seen);
      }),
      options,
    );
    const reasons = [
      'rule_allowed',
      'exception_allowed',
      'policy_denied',
      'no_rule_matched',
      'identity_unregistered',
      'delegation_denied',
    ];
    for (const reason of reasons) t.ok((seen.reasons.get(reason) ?? 0) > 100, `${reason} was among them`);
    t.ok(seen.shadows > 500, `${seen.shadows} had a shadow`);
    t.ok(seen.errors > 40, `${seen.errors} had a condition that could not be evaluated`);
    t.equal(seen.unknown, 0);
  },
);

t.test(
  'explain says undecidable where the live decision hangs on what is not known, and only there',
  async (t) => {
    const seen = newSeen();
    fc.assert(
      fc.property(compiled, asking(false), (policy, asked) => {
        for (const request of asked) checkAgreement(policy, request, seen);
      }),
      options,
    );
    t.ok(seen.unknown > 200, `${seen.unknown} were`);
    t.ok(seen.impliedAnyway > 20, `${seen.impliedAnyway} had the same effect whatever it is`);
  },
);

t.test('an effect that is told without the fact is the effect with it, whatever it is', async (t) => {
  let told = 0;
  fc.assert(
    fc.property(compiled, asking(false), asking(true), (policy, unknown, known) => {
      for (const [i, request] of unknown.entries()) {
        const { effect, decision } = explain(policy, request);
        const facts = known[i]?.facts;
        if (decision !== undefined || effect === undefined || facts === undefined) continue;
        told++;
        same(
          evaluate(policy, { ...request, facts: new FilledIn(request.facts, facts) }).effect,
          effect,
          'effect',
        );
      }
    }),
    options,
  );
  t.ok(told > 20, `${told} times`);
});

/** The facts of one request, where they are known; else those of another. */
class FilledIn {
  constructor(
    readonly some: AccessRequest['facts'],
    readonly other: AccessRequest['facts'],
  ) {}

  claim(name: string) {
    return orElse(
      () => this.some.claim(name),
      () => this.other.claim(name),
    );
  }

  header(name: string) {
    return orElse(
      () => this.some.header(name),
      () => this.other.header(name),
    );
  }

  query(name: string) {
    return orElse(
      () => this.some.query(name),
      () => this.other.query(name),
    );
  }

  get credential() {
    return orElse(
      () => this.some.credential,
      () => this.other.credential,
    );
  }

  get connection() {
    return orElse(
      () => this.some.connection,
      () => this.other.connection,
    );
  }
}

function orElse<T>(read: () => T, other: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (cause instanceof UnknownFact) return other();
    throw cause;
  }
}
