import type { RecordedRequest } from '../audit/recorded-request.js';
import { type Answer, REDACTED_PATH, type Verdict } from './replay-judge.js';

/** In the order of how much they matter: what would be let in first. */
export const CHANGES = ['deny_to_allow', 'allow_to_deny', 'same_effect', 'undecidable'] as const;
export type Change = (typeof CHANGES)[number];

/** Requests of one identity whose answer changes alike. */
export interface ChangeGroup {
  readonly change: Change;
  readonly identity: string | undefined;
  readonly listener: string | undefined;
  readonly was: Answer;
  /** undefined where it cannot be told. */
  readonly now: Answer | undefined;
  /** What it hangs on. */
  readonly unknown: string | undefined;
  requests: number;
  firstSeen: string;
  lastSeen: string;
  /** The first that was read. */
  readonly example: Pick<RecordedRequest, 'id' | 'time' | 'method' | 'host' | 'path'>;
}

/** Groups kept of each kind of change: what is read must not fill the memory. */
export const MAX_GROUPS = 1000;
/** Reasons told apart of what is left alone; there are fewer of them in what we write. */
const MAX_REASONS = 200;

/** What came of all requests, in memory that does not grow with their number. */
export class ReplayTally {
  judged = 0;
  unchanged = 0;
  readonly changed: Record<Change, number> = {
    deny_to_allow: 0,
    allow_to_deny: 0,
    same_effect: 0,
    undecidable: 0,
  };
  /** Of those that cannot be told: a template stands in place of their path. */
  redacted = 0;
  /** Requests of further groups than are kept. */
  readonly ungrouped: Record<Change, number> = { ...this.changed };
  /** By the reason that was recorded: neither routes nor policy refused them. */
  readonly leftAlone = new Map<string, number>();
  #groups = new Map<string, ChangeGroup>();
  readonly #groupsOf: Record<Change, number> = { ...this.changed };

  /** @param wantsSameEffect Keep groups of requests whose answer stays and whose rule does not. */
  constructor(readonly wantsSameEffect: boolean) {}

  take(request: RecordedRequest, verdict: Verdict): void {
    if (verdict.kind === 'left_alone') return this.#leaveAlone(request.answer.reason);
    this.judged++;
    const change = changeOf(request.answer, verdict);
    if (change === undefined) {
      this.unchanged++;
      return;
    }
    this.changed[change]++;
    if (verdict.kind === 'undecidable' && verdict.unknown === REDACTED_PATH) this.redacted++;
    if (change !== 'same_effect' || this.wantsSameEffect) this.#group(change, request, verdict);
  }

  /** By kind, the largest first. */
  get groups(): readonly ChangeGroup[] {
    return [...this.#groups.values()].sort(
      (a, b) => CHANGES.indexOf(a.change) - CHANGES.indexOf(b.change) || b.requests - a.requests,
    );
  }

  #leaveAlone(reason: string): void {
    const isKnown = this.leftAlone.has(reason) || this.leftAlone.size < MAX_REASONS;
    const key = isKnown ? reason : 'other';
    this.leftAlone.set(key, (this.leftAlone.get(key) ?? 0) + 1);
  }

  #group(change: Change, request: RecordedRequest, verdict: Exclude<Verdict, { kind: 'left_alone' }>): void {
    const { identity, listener, answer: was, id, time, method, host, path } = request;
    const now = verdict.kind === 'judged' ? verdict.answer : undefined;
    const unknown = verdict.kind === 'undecidable' ? verdict.unknown : undefined;
    const key = JSON.stringify([identity, listener, keyOf(was), now && keyOf(now), unknown]);
    const known = this.#groups.get(key);
    if (known !== undefined) {
      known.requests++;
      if (time < known.firstSeen) known.firstSeen = time;
      if (time > known.lastSeen) known.lastSeen = time;
    } else if (this.#groupsOf[change] >= MAX_GROUPS) this.ungrouped[change]++;
    else {
      this.#groupsOf[change]++;
      const example = { id, time, method, host, path };
      const seen = { requests: 1, firstSeen: time, lastSeen: time };
      this.#groups.set(key, { change, identity, listener, was, now, unknown, ...seen, example });
    }
  }
}

/** A route_not_found says which listener and path in its detail: not what makes a group. */
const keyOf = ({ effect, reason, rule, destination }: Answer): readonly unknown[] => [
  effect,
  reason,
  rule,
  destination,
];

function changeOf(was: Answer, verdict: Verdict): Change | undefined {
  if (verdict.kind !== 'judged') return 'undecidable';
  const { answer: now } = verdict;
  if (was.effect !== now.effect) return now.effect === 'allow' ? 'deny_to_allow' : 'allow_to_deny';
  // Where no rule was asked, then or now, there is none to be another one.
  if (now.rule === undefined && was.rule === undefined) return undefined;
  const isSame = was.rule === now.rule && was.reason === now.reason && was.destination === now.destination;
  return isSame ? undefined : 'same_effect';
}
