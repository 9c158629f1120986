import { Environment } from '@marcbachmann/cel-js';
import { ok, type Result } from '../reasons.js';
import { ConditionFault, type ConditionInput } from './facts.js';
import type { PolicyReads } from './policy.js';
export interface ConditionProblem {
  readonly message: string;
  readonly offset: number;
}
export interface Condition {
  readonly text: string;
  readonly isTimeBound: boolean;
  readonly headers: readonly string[];
  readonly query: readonly string[];
  evaluate(input: ConditionInput): boolean;
}
export function compileCondition(text: string, _reads: PolicyReads): Result<Condition, ConditionProblem> {
  const env = new Environment({ unlistedVariablesAreDyn: true });
  const run = env.parse(text);
  return ok({
    text,
    isTimeBound: text.includes('now'),
    headers: [],
    query: [],
    evaluate: ({ request, path }) => {
      try {
        return run({ request: { method: request.method, path } }) as unknown as boolean;
      } catch (e) {
        throw new ConditionFault((e as Error).message);
      }
    },
  });
}
