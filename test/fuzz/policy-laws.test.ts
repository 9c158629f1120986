import fc from 'fast-check';
import t from 'tap';
import type { PrincipalId } from '../../src/identity/principal-id.js';
import { type AccessRequest, type Decision, evaluate } from '../../src/policy/decision.js';
import type { ExceptionInput } from '../../src/policy/exception.js';
import { lintPolicy } from '../../src/policy/lint.js';
import { matchPrincipal, type PrincipalPattern } from '../../src/policy/pattern.js';
import { compilePolicy, type PolicyInput, type RuleInput, withGrants } from '../../src/policy/policy.js';
import type { Registry } from '../../src/policy/registry.js';
import {
  delegatedPolicies,
  delegations,
  exceptions,
  methods,
  policies,
  registries,
  requests,
  routes,
  rules,
} from '../support/policy-arbitrary.js';

const options = { seed: 4, numRuns: 600 };
const asking = fc.array(requests(true), { minLength: 20, maxLength: 20 });

/** Answers to all of them under one policy. */
function answers(
  input: PolicyInput,
  registry: Registry | undefined,
  asked: readonly AccessRequest[],
): readonly Decision[] {
  const policy = compilePolicy(input, registry);
  return asked.map((request) => evaluate(policy, request));
}
const effects = (decisions: readonly Decision[]): string => decisions.map(({ effect }) => effect).join(' ');
const enforced = (list: readonly RuleInput[]): readonly RuleInput[] =>
  list.map((rule) => ({ ...rule, mode: 'enforce' as const }));

t.test('deny wins: what one deny rule denies, no rule or exception beside it lets in', async (t) => {
  let denied = 0;
  fc.assert(
    fc.property(policies, registries, asking, (policy, registry, asked) => {
      const denies = enforced(policy.rules).filter(({ effect }) => effect === 'deny');
      const whole = answers({ ...policy, rules: enforced(policy.rules) }, registry, asked);
      for (const deny of denies) {
        const alone = answers({ ...policy, rules: [deny], exceptions: [] }, registry, asked);
        for (const [i, { reason }] of alone.entries()) {
          if (reason !== 'policy_denied') continue;
          denied++;
          if (whole[i]?.effect !== 'deny') return false;
        }
      }
      return true;
    }),
    options,
  );
  t.ok(denied > 500, `${denied} times`);
});

t.test('a rule or exception without behalfOf never lets in a call on behalf of another', async (t) => {
  const seen = { delegated: 0, own: 0 };
  const someDelegated = fc.array(requests(true, fc.option(delegations, { nil: undefined, freq: 4 })), {
    minLength: 20,
    maxLength: 20,
  });
  fc.assert(
    fc.property(delegatedPolicies, registries, someDelegated, (policy, registry, asked) => {
      const isFor = (
        { behalfOf }: { behalfOf?: readonly PrincipalPattern[] | undefined },
        subject: PrincipalId,
      ) => behalfOf?.some((pattern) => matchPrincipal(pattern, subject)) === true;
      return answers(policy, registry, asked).every((decision, i) => {
        if (decision.effect === 'deny') return true;
        const subject = asked[i]?.behalfOf?.subject;
        const all = [...policy.rules, ...(policy.exceptions ?? [])];
        const by = all.find(({ id }) => id === decision.rule);
        if (by === undefined) return false;
        if (subject === undefined) seen.own++;
        else seen.delegated++;
        return subject === undefined ? by.behalfOf === undefined : isFor(by, subject);
      });
    }),
    { ...options, numRuns: 1500 },
  );
  t.ok(seen.delegated > 100, `${seen.delegated} calls on behalf of another were let in`);
  t.ok(seen.own > 20, `${seen.own} of the caller's own were`);
});

t.test('what rules with behalfOf say changes nothing for the calls of a caller itself', async () => {
  fc.assert(
    fc.property(policies, registries, asking, (policy, registry, asked) => {
      const own = asked.filter(({ behalfOf }) => behalfOf === undefined);
      const without = {
        ...policy,
        rules: policy.rules.filter(({ behalfOf }) => behalfOf === undefined),
        exceptions: policy.exceptions?.filter(({ behalfOf }) => behalfOf === undefined),
      };
      const named = (decisions: readonly Decision[]) => decisions.map(({ rule }) => rule).join(' ');
      return named(answers(policy, registry, own)) === named(answers(without, registry, own));
    }),
    options,
  );
});

t.test('an exception never beats a deny, nor the registry', async (t) => {
  let asks = 0;
  fc.assert(
    fc.property(policies, registries, exceptions, asking, (policy, registry, grants, asked) => {
      const before = compilePolicy(policy, registry);
      const after = withGrants(
        before,
        grants.map((grant) => ({ ...grant, id: `GR-${grant.id}`, origin: 'grant' as const })),
      );
      return asked.every((request) => {
        const { reason } = evaluate(before, request);
        if (
          reason !== 'policy_denied' &&
          reason !== 'identity_unregistered' &&
          reason !== 'delegation_denied'
        )
          return true;
        asks++;
        return evaluate(after, request).reason === reason;
      });
    }),
    options,
  );
  t.ok(asks > 500, `${asks} times`);
});

t.test('the order of rules and exceptions changes no effect', async () => {
  const shuffled = policies.chain((policy) =>
    fc.record({
      policy: fc.constant(policy),
      rules: fc.shuffledSubarray([...policy.rules], { minLength: policy.rules.length }),
      exceptions: fc.shuffledSubarray([...(policy.exceptions ?? [])], {
        minLength: policy.exceptions?.length ?? 0,
      }),
    }),
  );
  fc.assert(
    fc.property(shuffled, registries, asking, ({ policy, ...other }, registry, asked) => {
      const one = answers(policy, registry, asked);
      const two = answers({ ...policy, ...other }, registry, asked);
      return effects(one) === effects(two);
    }),
    options,
  );
});

/** The effects that change when one rule is taken away. */
function changesWithout(effect: RuleInput['effect'], kind: 'rules' | 'exceptions') {
  const changes = { widened: 0, narrowed: 0 };
  fc.assert(
    fc.property(policies, registries, asking, (policy, registry, asked) => {
      const all = { ...policy, rules: enforced(policy.rules) };
      const before = answers(all, registry, asked);
      for (const [i, item] of all[kind]?.entries() ?? []) {
        if ('effect' in item && item.effect !== effect) continue;
        const left = { ...all, [kind]: all[kind]?.filter((_, j) => j !== i) };
        for (const [j, after] of answers(left, registry, asked).entries()) {
          if (before[j]?.effect === 'deny' && after.effect === 'allow') changes.widened++;
          if (before[j]?.effect === 'allow' && after.effect === 'deny') changes.narrowed++;
        }
      }
    }),
    options,
  );
  return changes;
}

t.test(
  'taking an allow or an exception away never widens access; taking a deny away never narrows it',
  async (t) => {
    const allow = changesWithout('allow', 'rules');
    t.equal(allow.widened, 0);
    t.ok(allow.narrowed > 100, `${allow.narrowed} requests were let in by one allow alone`);
    const deny = changesWithout('deny', 'rules');
    t.equal(deny.narrowed, 0);
    t.ok(deny.widened > 100, `${deny.widened} requests were kept out by one deny alone`);
    const exception = changesWithout('allow', 'exceptions');
    t.equal(exception.widened, 0);
    t.ok(exception.narrowed > 30, `${exception.narrowed} requests were let in by one exception alone`);
  },
);

t.test('a rule in shadow changes no effect, and its shadow is what it would do in force', async () => {
  fc.assert(
    fc.property(policies, registries, asking, (policy, registry, asked) => {
      const isTried = policy.rules.some(({ mode }) => mode === 'shadow');
      const whole = answers(policy, registry, asked);
      const without = { ...policy, rules: policy.rules.filter(({ mode }) => mode === 'enforce') };
      if (effects(whole) !== effects(answers(without, registry, asked))) return false;
      const inForce = answers({ ...policy, rules: enforced(policy.rules) }, registry, asked);
      return whole.every(({ shadow }, i) => shadow?.effect === (isTried ? inForce[i]?.effect : undefined));
    }),
    options,
  );
});

t.test('an exception lets in from its start until its end, and then never again', async (t) => {
  let died = 0;
  const times = fc.uniqueArray(fc.integer({ min: 0, max: 6000 }), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(exceptions, times, requests(true), (list, moments, request) => {
      const exception: ExceptionInput | undefined = list[0];
      fc.pre(exception !== undefined);
      const policy = compilePolicy({ rules: [], exceptions: [{ ...exception, when: undefined }] });
      const always = compilePolicy({
        rules: [],
        exceptions: [
          { ...exception, when: undefined, startsMs: undefined, expiresMs: Number.MAX_SAFE_INTEGER },
        ],
      });
      const { startsMs = 0, expiresMs } = exception;
      return [...moments, startsMs, startsMs - 1, expiresMs, expiresMs - 1].every((nowMs) => {
        const asked = { ...request, nowMs };
        const isLive = nowMs >= startsMs && nowMs < expiresMs;
        const expected = isLive && evaluate(always, asked).effect === 'allow' ? 'allow' : 'deny';
        if (nowMs >= expiresMs && evaluate(always, asked).effect === 'allow') died++;
        return (startsMs === 0 && nowMs < 0) || evaluate(policy, asked).effect === expected;
      });
    }),
    options,
  );
  t.ok(died > 100, `${died} times`);
});

t.test(
  'a rule of which lint says that it does nothing can be taken away without changing an effect',
  async (t) => {
    const counts = new Map<string, number>();
    const many = fc
      .array(rules, { minLength: 2, maxLength: 2 })
      .map((lists) => lists.flat().map((rule, i) => ({ ...rule, id: `rule-${i}` })));
    fc.assert(
      fc.property(policies, many, registries, asking, (policy, list, registry, asked) => {
        const whole = { ...policy, rules: list };
        const before = answers(whole, registry, asked);
        for (const { path, message } of lintPolicy(whole, { routes, methods })) {
          const [kind, index] = path;
          if (path.length !== 2 || (kind !== 'rules' && kind !== 'exceptions')) continue;
          const left = { ...whole, [kind]: whole[kind]?.filter((_, i) => i !== index) };
          if (effects(answers(left, registry, asked)) !== effects(before)) return false;
          const named = message.replace(/[:,].*/, '');
          counts.set(named, (counts.get(named) ?? 0) + 1);
        }
        return true;
      }),
      options,
    );
    t.ok((counts.get('adds nothing') ?? 0) > 100, `adds nothing: ${counts.get('adds nothing')}`);
    t.ok(
      (counts.get('never allows anything') ?? 0) > 50,
      `taken away: ${counts.get('never allows anything')}`,
    );
  },
);
