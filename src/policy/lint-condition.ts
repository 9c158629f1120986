import { parseSpiffeId } from '../identity/spiffe-id.js';
import { compileCondition, type PolicyReads } from './condition.js';
import type { AccessRequest } from './decision.js';
import { ConditionFault, type ConditionInput } from './facts.js';
import { GivenFacts } from './given-facts.js';
import type { LintFinding, LintSubject } from './lint-subject.js';

/** Says of a condition that reads nothing what it always comes to. */
export class ConditionLint {
  readonly #byText = new Map<string, Constant | undefined>();

  constructor(readonly reads: PolicyReads) {}

  *findingsOf({ when, effect, within }: LintSubject): Generator<LintFinding> {
    if (when === undefined) return;
    if (!this.#byText.has(when)) this.#byText.set(when, constantOf(when, this.reads));
    const constant = this.#byText.get(when);
    if (constant === undefined) return;
    yield { path: [...within, 'when'], message: MEANING[effect][constant] };
  }
}

type Constant = 'true' | 'false' | 'fault';

const MEANING: Readonly<Record<LintSubject['effect'], Readonly<Record<Constant, string>>>> = {
  allow: {
    true: 'always holds: leave it out',
    false: 'never holds: this can never match',
    fault: 'can never be evaluated, which is no match in an allow',
  },
  deny: {
    true: 'always holds: leave it out',
    false: 'never holds: this can never match',
    fault: 'can never be evaluated, which is a match in a deny: leave it out if that is meant',
  },
};

/** What is the same whatever the request says needs no request. */
function constantOf(when: string, reads: PolicyReads): Constant | undefined {
  const compiled = compileCondition(when, reads);
  if (!compiled.ok || compiled.value.reads.length > 0) return undefined;
  const input = nobody();
  if (input === undefined) return undefined;
  try {
    return compiled.value.evaluate(input) ? 'true' : 'false';
  } catch (cause) {
    if (!(cause instanceof ConditionFault)) throw cause;
    return 'fault';
  }
}

function nobody(): ConditionInput | undefined {
  const principal = parseSpiffeId('spiffe://nobody.invalid/nobody');
  if (!principal.ok) return undefined;
  const nothing = { method: '', host: '', path: '/', route: '', destination: '', listener: '', nowMs: 0 };
  const request: AccessRequest = { ...nothing, principal: principal.value, facts: new GivenFacts({}) };
  return { request, path: request.path, registered: undefined };
}
