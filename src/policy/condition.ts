import { EvaluationError, type ParseResult } from '@marcbachmann/cel-js';
import { err, ok, type Result } from '../reasons.js';
import { environment, type FactRead, isTimeBoundRead } from './condition-schema.js';
import type { ConditionScope } from './condition-scope.js';
import { type ConditionProblem, ConditionShape, type PolicyReads } from './condition-shape.js';
import { findComment, findUnfitCharacter, problemOf } from './condition-text.js';
import { checkWhole } from './condition-types.js';
import { ConditionWalk } from './condition-walk.js';
import { ConditionFault, type ConditionInput } from './facts.js';

export type { ConditionProblem, PolicyReads };

/** A `when`: CEL, checked for names, types and cost. Evaluating reads nothing but what the expression gets to. */
export interface Condition {
  readonly text: string;
  /** Whether the clock alone can change its answer. */
  readonly isTimeBound: boolean;
  readonly reads: readonly FactRead[];
  /** Names of headers, query parameters and claims that it reads. */
  readonly headers: readonly string[];
  readonly query: readonly string[];
  readonly claims: readonly string[];
  /** @throws ConditionFault, or UnknownFact where the answer hangs on one. */
  evaluate(input: ConditionInput): boolean;
}

/** Compiles a condition. Pure: equal texts give equal conditions, and nothing is kept between two calls. */
export function compileCondition(text: string, reads: PolicyReads): Result<Condition, ConditionProblem> {
  const unfit = findUnfitCharacter(text);
  if (unfit !== undefined) return err(unfit);
  const parsed = parse(text);
  if (!parsed.ok) return parsed;
  const found = new ConditionShape(reads);
  new ConditionWalk(found).read(parsed.value.ast);
  const problem =
    found.problem ??
    findComment(text, found.texts) ??
    checkWhole(parsed.value, (error) => problemOf(error, text));
  if (problem !== undefined) return err(problem);
  const run = substitute(text, parsed.value, found);
  return run.ok ? ok(new CompiledCondition(text, found, run.value)) : run;
}

function parse(text: string): Result<ParseResult, ConditionProblem> {
  try {
    return ok(environment.parse(text));
  } catch (error) {
    return err(problemOf(error, text));
  }
}

/** The expression that is evaluated: see `condition-slots.ts`. */
function substitute(
  text: string,
  original: ParseResult,
  found: ConditionShape,
): Result<ParseResult, ConditionProblem> {
  if (found.slots.size === 0) return ok(original);
  const parsed = parse(found.slots.substitute(text));
  if (parsed.ok && found.slots.isSubstituteOf(original.ast, parsed.value.ast) && parsed.value.check().valid)
    return parsed;
  const offset = found.slots.findCutBracket(text);
  return err({ message: 'write the name without brackets around parts of it', offset });
}

class CompiledCondition implements Condition {
  readonly isTimeBound: boolean;
  readonly reads: readonly FactRead[];
  readonly headers: readonly string[];
  readonly query: readonly string[];
  readonly claims: readonly string[];
  readonly #scope: ConditionScope;

  constructor(
    readonly text: string,
    found: ConditionShape,
    private readonly run: ParseResult,
  ) {
    this.reads = [...found.reads.values()];
    this.isTimeBound = this.reads.some(isTimeBoundRead);
    this.headers = keysOf(this.reads, 'headers');
    this.query = keysOf(this.reads, 'query');
    this.claims = keysOf(this.reads, 'claims');
    this.#scope = found.slots.newScope();
  }

  evaluate(input: ConditionInput): boolean {
    const scope = this.#scope;
    scope.begin(input);
    try {
      const result: unknown = this.run(scope);
      if (typeof result === 'boolean') return result;
    } catch (error) {
      // CEL's || and && pass over errors: what came out may hide that the answer hangs on a fact nobody wrote down
      throw scope.unknown ?? this.#faultOf(error);
    } finally {
      scope.end();
    }
    throw new ConditionFault('is neither true nor false');
  }

  /** Only words of the policy: the library's own message would hold values of the request, which may be secrets. */
  #faultOf(error: unknown): ConditionFault {
    if (error instanceof ConditionFault) return error;
    if (!(error instanceof EvaluationError)) return new ConditionFault('cannot be evaluated');
    const range = error.range;
    const part = range === undefined ? 'the condition' : this.text.slice(range.start, range.end).slice(0, 80);
    return new ConditionFault(`${part}: ${faultWords.get(error.code) ?? 'cannot be evaluated'}`);
  }
}

const faultWords: ReadonlyMap<string, string> = new Map([
  ['index_out_of_bounds', 'there is no such element'],
  ['numeric_overflow', 'the number is too large'],
  ['division_by_zero', 'division by zero'],
  ['modulo_by_zero', 'division by zero'],
]);

const keysOf = (reads: readonly FactRead[], field: string): readonly string[] =>
  reads.flatMap((read) => (read.field === field && read.key !== undefined ? [read.key] : []));
