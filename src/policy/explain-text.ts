import type { AccessRequest, Decision } from './decision.js';
import type { Mismatch } from './explain.js';
import type { Rule } from './policy.js';

interface Match {
  readonly decides: boolean;
  readonly isTried: boolean;
  readonly decision: Decision | undefined;
  readonly error: string | undefined;
}

/** Of a rule that matches: what comes of it. */
export function matchText(rule: Rule, { decides, isTried, decision, error }: Match): string {
  const end = rule.term === undefined ? '' : `, until ${iso(rule.term.expiresMs)}`;
  const why =
    error === undefined ? end : ` (its condition cannot be evaluated, which counts in a deny: ${error})`;
  if (isTried) return `would match${why}`;
  if (decides) return `matches and decides: ${rule.effect}${why}`;
  if (decision === undefined) return `matches${why}`;
  if (decision.effect === rule.effect) return `matches too, after ${decision.rule}${why}`;
  return `matches, but ${decision.rule} denies and deny wins`;
}

/** Of a rule that does not: the first thing that is not met, and the fact or error that it hangs on. */
export function mismatchText(
  rule: Rule,
  request: AccessRequest,
  mismatch: Mismatch,
  cause: string | undefined,
): string {
  switch (mismatch) {
    case 'principal':
      return `principal ${request.principal.uri} is none of ${list(rule.principals.map((p) => p.text))}`;
    case 'behalf_of':
      return behalfText(rule, request);
    case 'destination':
      return `destination ${request.destination} (route ${request.route}) is none of ${list([...rule.destinations])}`;
    case 'method':
      return `method ${request.method} is none of ${list([...(rule.methods ?? [])])}`;
    case 'path':
      return `path ${request.path} is none of ${list((rule.paths ?? []).map((p) => p.text))}`;
    case 'decoded_path':
      return `path ${request.path} matches, but no rule allows ${request.decodedSlashPath}, which is how it reads with %2F decoded`;
    case 'pending':
      return `starts at ${iso(rule.term?.startsMs)}`;
    case 'expired':
      return `is dead since ${iso(rule.term?.expiresMs)}`;
    case 'condition':
      return `its condition does not hold: ${rule.condition?.text}`;
    case 'condition_error':
      return `its condition cannot be evaluated: ${cause}`;
    case 'undecidable':
      return cause === undefined
        ? `hangs on whether ${request.decodedSlashPath} is allowed, which is not known`
        : `hangs on ${cause}, which is not known`;
    default:
      return mismatch satisfies never;
  }
}

function behalfText({ behalfOf }: Rule, { behalfOf: delegation }: AccessRequest): string {
  const subject = delegation?.subject.uri;
  if (behalfOf === undefined)
    return `allows only what the caller asks for itself, and this is on behalf of ${subject}: it has no behalfOf`;
  const patterns = list(behalfOf.map(({ text }) => text));
  return subject === undefined
    ? `is only for calls on behalf of ${patterns}, and this is the caller's own`
    : `behalfOf ${subject} is none of ${patterns}`;
}

const iso = (ms = 0): string => new Date(ms).toISOString();
const LISTED = 5;

function list(values: readonly string[]): string {
  const shown = values.slice(0, LISTED).join(', ');
  return values.length > LISTED ? `${shown} and ${values.length - LISTED} more` : shown;
}
