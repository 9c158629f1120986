import type { RecordedAnswer, RecordedRequest } from '../audit/recorded-request.js';
import type { Config, RouteConfig } from '../config/config.js';
import { type PrincipalId, parsePrincipalId } from '../identity/principal-id.js';
import { isAskedAbout } from '../listener/external-question.js';
import { type AccessRequest, type Decision, evaluate } from '../policy/decision.js';
import type { Delegation } from '../policy/delegation.js';
import { UnknownFact } from '../policy/facts.js';
import { GivenFacts } from '../policy/given-facts.js';
import { authorizeExternally } from '../policy/permit.js';
import type { Policy } from '../policy/policy.js';
import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import { chooseListener, type OfflineListener, toAccessRequest } from './offline-request.js';

/** An answer, now or then. */
export interface Answer extends RecordedAnswer {
  /** What people are told beside a reason that names no rule. */
  readonly detail?: string;
}

export type Verdict =
  /** Something else than routes and policy said no, and would again. */
  | { readonly kind: 'left_alone' }
  /** It hangs on what the record does not hold. */
  | { readonly kind: 'undecidable'; readonly unknown: string }
  | { readonly kind: 'judged'; readonly answer: Answer };

/** Reasons of an answer that routes and policy gave, so that they can give another one. */
const OURS: ReadonlySet<string> = new Set([
  'policy_denied',
  'no_rule_matched',
  'identity_unregistered',
  'delegation_denied',
  'delegation_missing',
  'route_not_found',
  'misdirected_request',
  'path_ambiguous',
  'external_denied',
  'external_unavailable',
]);
/** A template says nothing of which rule the path would have met. */
export const REDACTED_PATH = 'request.path, which was redacted';
/** Those of them that the path itself may have been the cause of, whatever the route says. */
const PERHAPS_THE_PATH = 'path_ambiguous';

/** Gives recorded requests the answer that a configuration would give them, by the listener's own steps from the route on. */
export class ReplayJudge {
  readonly #policy: Policy;
  readonly #listeners = new Map<string, OfflineListener>();
  readonly #routes = new Map<string, RouteConfig>();

  constructor(
    readonly config: Config,
    policy: Policy,
    /** The moment that all are judged at, Unix milliseconds; undefined = each at its own. */
    readonly atMs: number | undefined,
  ) {
    // What is only tried out decides nothing, and must not make anything undecidable either.
    this.#policy = { ...policy, shadow: undefined };
    for (const { name, routes } of config.listeners) {
      const listener = chooseListener(config, name);
      if (!listener.ok) throw new Error(listener.error);
      this.#listeners.set(name, listener.value);
      for (const route of routes) this.#routes.set(route.name, route);
    }
  }

  judge(request: RecordedRequest): Verdict {
    const { effect, reason } = request.answer;
    if (effect === 'deny' && !OURS.has(reason)) return { kind: 'left_alone' };
    const isPerhapsThePath = effect === 'deny' && reason === PERHAPS_THE_PATH;
    if (isPerhapsThePath && request.host === undefined) return { kind: 'left_alone' }; // it never came to a route
    const question = this.#questionOf(request);
    if (!question.ok) return { kind: 'undecidable', unknown: question.error };
    const routed = this.#route(question.value);
    const unknown = this.#whatTokenTells(routed, request);
    if (unknown !== undefined) return { kind: 'undecidable', unknown };
    if (routed.ok) return this.#decide(routed.value, request);
    const answer: Answer = { effect: 'deny', ...routed.error };
    if (isPerhapsThePath && answer.reason === reason) return { kind: 'left_alone' };
    return { kind: 'judged', answer };
  }

  #questionOf(request: RecordedRequest): Result<Question, string> {
    const { identity, listener, method, host, path } = request;
    if (request.isRedacted) return err(REDACTED_PATH);
    if (request.isTruncated) return err('request.path, which was cut');
    if (listener === undefined) return err('request.listener');
    if (method === undefined) return err('request.method');
    if (host === undefined) return err('request.host');
    if (path === undefined) return err('request.path');
    const id = parsePrincipalId(identity);
    if (!id.ok) return err('principal.id');
    const behalfOf = readDelegation(request);
    if (!behalfOf.ok) return behalfOf;
    return ok({ request, id: id.value, behalfOf: behalfOf.value, listener, method, host, path });
  }

  /** Which question policy would be asked, or why it would not be. */
  #route({ request, id, behalfOf, listener: name, method, host, path }: Question): Result<AccessRequest> {
    const listener = this.#listeners.get(name);
    if (listener === undefined) return refuse('route_not_found', `there is no listener ${name}`);
    const url = `https://${host}${path}`;
    const nowMs = this.atMs ?? request.timeMs;
    const { credential, token } = request;
    const kind = credential?.kind ?? 'x509';
    const hasNoToken = token.entry === undefined && kind === 'x509';
    const facts = new GivenFacts({ ...request, hasNoToken });
    const shown = { kind, tokenEntry: token.entry, behalfOf };
    const asked = toAccessRequest({ as: id, method, url, nowMs, facts, shown }, listener);
    if (!asked.ok) return asked;
    const route = this.#routes.get(asked.value.route);
    const refusal = route && whyNotThisRoute(route, request);
    return refusal === undefined ? asked : { ok: false, error: refusal };
  }

  /** A route that wants a token of who showed none that was looked at: what it would have been nobody knows. */
  #whatTokenTells(routed: Result<AccessRequest>, { token, credential }: RecordedRequest): string | undefined {
    if (!routed.ok) return routed.error.reason === 'token_missing' ? 'whose its token was' : undefined;
    const isWanted = this.#routes.get(routed.value.route)?.accept === 'mtls+token';
    const hasNone = token.entry === undefined && (credential?.kind ?? 'x509') === 'x509';
    return isWanted && hasNone ? 'its token' : undefined;
  }

  #decide(question: AccessRequest, request: RecordedRequest): Verdict {
    try {
      const decision = evaluate(this.#policy, question);
      const route = this.#routes.get(question.route);
      if (route !== undefined && isAskedAbout(this, route, decision))
        return this.#byEngine(question, request);
      return judged(question, decision, decision.reason);
    } catch (cause) {
      if (!(cause instanceof UnknownFact)) throw cause;
      return { kind: 'undecidable', unknown: cause.fact };
    }
  }

  /** Where an external engine has the last word it is not asked again: what it said then stands. */
  #byEngine(question: AccessRequest, { engine: result, answer }: RecordedRequest): Verdict {
    if (answer.reason === 'external_unavailable') return { kind: 'left_alone' };
    if (result === undefined) return { kind: 'undecidable', unknown: 'the answer of the external engine' };
    const mayAllow = this.config.externalDecision?.mayAllow === true;
    const said = authorizeExternally(this.#policy, question, { result, detail: '', mayAllow });
    if (said.ok) return judged(question, said.value.decision, said.value.decision.reason);
    return judged(question, said.error.decision, said.error.reason);
  }
}

const judged = (
  { destination }: AccessRequest,
  { effect, rule, exception }: Decision,
  reason: string,
): Verdict => ({
  kind: 'judged',
  answer: { effect, reason, rule, ...(exception === undefined ? {} : { exception }), destination },
});

interface Question {
  readonly request: RecordedRequest;
  readonly id: PrincipalId;
  readonly behalfOf: Delegation | undefined;
  readonly listener: string;
  readonly method: string;
  readonly host: string;
  readonly path: string;
}

function readDelegation({ behalfOf, answer }: RecordedRequest): Result<Delegation | undefined, string> {
  if (behalfOf === undefined)
    return answer.reason === 'delegation_denied' ? err('on whose behalf it was') : ok(undefined);
  const subject = parsePrincipalId(behalfOf.subject);
  return subject.ok ? ok({ ...behalfOf, subject: subject.value }) : err('behalfOf.id');
}

/** What a listener asks of a request beside its route's host and path, as far as records hold it. */
function whyNotThisRoute(route: RouteConfig, request: RecordedRequest): Refusal | undefined {
  const { serverName, host, isUpgraded } = request;
  if (route.host !== undefined && serverName !== undefined && serverName !== host)
    return { reason: 'misdirected_request', detail: `TLS was asked for ${serverName}` }; // RFC 9110 15.5.20
  if (isUpgraded && !route.upgrade.includes('websocket'))
    return { reason: 'upgrade_refused', detail: `route ${route.name} does not take an upgrade to websocket` };
  return undefined;
}
