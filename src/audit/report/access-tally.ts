import { type Fields, fieldsOf } from '../record-line.js';
import { BorrowedTally } from './borrowed-tally.js';
import { CappedMap, nameOf, OTHER } from './capped-map.js';
import { DurationHistogram } from './duration-histogram.js';
import type { ReportCaller } from './report-callers.js';
import { widen } from './time-span.js';
import { VolumeTally } from './volume-tally.js';

/** Requests of one identity to one destination that were answered alike: all tables of requests are sums of these. */
export interface AccessCell {
  readonly effect: string;
  readonly reason: string;
  readonly rule: string;
  /** Empty: none. */
  readonly exception: string;
  readonly routes: Set<string>;
  requests: number;
  first: string;
  last: string;
}

/** One identity (empty: not verified) and one destination (empty: none was found). */
export interface AccessEdge {
  readonly identity: string;
  readonly destination: string;
  readonly cells: AccessCell[];
}

export interface DestinationTally {
  readonly name: string;
  readonly durations: DurationHistogram;
  readonly outcomes: CappedMap<{ readonly outcome: string; requests: number }>;
}

export interface SecretTally {
  readonly identity: string;
  readonly route: string;
  readonly kind: string;
  requests: number;
  last: string;
}

export interface RevisionTally {
  readonly revision: string;
  requests: number;
  first: string;
  last: string;
}

const MAX_IDENTITIES = 5000;
const MAX_EDGES = 30_000;
const MAX_CELLS = 90_000;
const MAX_CELLS_OF_EDGE = 200;
const MAX_ROUTES_OF_CELL = 256;
const MAX_DESTINATIONS = 1000;
const MAX_NAMES = 1000;

/** What access records say, added up. */
export class AccessTally {
  requests = 0;
  corrected = 0;
  readonly borrowed = new BorrowedTally();
  readonly volume = new VolumeTally();
  readonly durations = new DurationHistogram();
  readonly destinations = new CappedMap<DestinationTally>(MAX_DESTINATIONS, (name) => ({
    name,
    durations: new DurationHistogram(),
    outcomes: new CappedMap(50, (outcome) => ({ outcome, requests: 0 })),
  }));
  readonly secrets = new CappedMap<SecretTally>(10_000, () => ({
    identity: OTHER,
    route: OTHER,
    kind: OTHER,
    requests: 0,
    last: '',
  }));
  readonly policyRevisions = new CappedMap(MAX_NAMES, newRevision);
  readonly trustRevisions = new CappedMap(MAX_NAMES, newRevision);
  /** By rule: conditions that could not be evaluated. */
  readonly conditionErrors = new CappedMap(MAX_NAMES, (rule) => ({ rule, requests: 0 }));
  /** By rule of what is tried out: requests that it would have answered otherwise. */
  readonly shadow = new CappedMap(MAX_NAMES, (rule) => ({ rule, toAllow: 0, toDeny: 0 }));
  readonly #edges = new Map<string, Map<string, AccessEdge>>();
  #edgeCount = 0;
  #cellCount = 0;

  /** @returns whether it is a request as we write them. */
  take(caller: ReportCaller, time: string, fields: Fields): boolean {
    const decision = fieldsOf(fields.decision);
    const request = fieldsOf(fields.request);
    const { effect, reason } = decision;
    if ((effect !== 'allow' && effect !== 'deny') || typeof reason !== 'string') return false;
    if (fields.phase !== 'end') {
      this.#takeRequest(caller, time, decision, request);
      this.borrowed.takeRequest(caller, time, effect, fields);
    }
    if (fields.phase !== 'start') {
      this.#takeEnd(effect, time, fields, request);
      this.borrowed.takeEnd(time, fields);
    }
    return true;
  }

  /** Of an answer that was recorded as complete and was not: how it really ended. */
  correct(time: string, fields: Fields): void {
    const outcome = nameOf(fieldsOf(fields.response).outcome);
    const destination = nameOf(fieldsOf(fields.request).destination);
    this.corrected++;
    if (outcome === 'complete') return;
    this.volume.at(time).failed++;
    if (destination === '') return;
    const { outcomes } = this.destinations.at(destination);
    const complete = outcomes.at('complete');
    if (complete.requests > 0) complete.requests--;
    outcomes.at(outcome).requests++;
  }

  get edges(): AccessEdge[] {
    return [...this.#edges.values()].flatMap((edges) => [...edges.values()]);
  }

  /** Names that found no place of their own. */
  get isFull(): boolean {
    return (
      this.#edges.has(OTHER) ||
      this.destinations.isFull ||
      this.secrets.isFull ||
      this.borrowed.isFull ||
      this.#cellCount >= MAX_CELLS
    );
  }

  #takeRequest(caller: ReportCaller, time: string, decision: Fields, request: Fields): void {
    this.requests++;
    const effect = decision.effect as 'allow' | 'deny';
    const span = this.volume.at(time);
    if (effect === 'allow') span.allowed++;
    else span.refused++;
    const cell = this.#cellOf(
      this.#edgeOf(caller.identity ?? '', nameOf(request.destination)),
      effect,
      nameOf(decision.reason),
      nameOf(decision.rule),
      nameOf(decision.exception),
    );
    cell.requests++;
    if (cell.routes.size < MAX_ROUTES_OF_CELL) cell.routes.add(nameOf(request.route));
    widen(cell, time);
    takeRevision(this.policyRevisions, decision.policyRevision, time);
    takeRevision(this.trustRevisions, decision.trustRevision, time);
    if (request.secrets !== undefined) this.#takeSecrets(caller, time, request);
    if (decision.shadow !== undefined) this.#takeShadow(effect, fieldsOf(decision.shadow));
    if (Array.isArray(decision.conditionErrors))
      for (const error of decision.conditionErrors as unknown[])
        this.conditionErrors.at(nameOf(fieldsOf(error).rule)).requests++;
  }

  #takeEnd(effect: string, time: string, fields: Fields, request: Fields): void {
    const name = nameOf(request.destination);
    if (effect !== 'allow' || name === '') return;
    const outcome = nameOf(fieldsOf(fields.response).outcome);
    const destination = this.destinations.at(name);
    destination.outcomes.at(outcome).requests++;
    if (outcome !== 'complete') this.volume.at(time).failed++;
    else if (fields.phase === undefined) {
      const { totalMs } = fieldsOf(fields.timing);
      if (typeof totalMs !== 'number') return;
      destination.durations.add(totalMs);
      this.durations.add(totalMs);
    }
  }

  #takeSecrets(caller: ReportCaller, time: string, request: Fields): void {
    const kinds: unknown[] = Array.isArray(request.secrets) ? request.secrets : [];
    const route = nameOf(request.route);
    for (const kind of kinds.slice(0, 16)) this.secretAt(caller, route, nameOf(kind), time).requests++;
  }

  /** The tally of this kind of secret from this caller on this route. */
  secretAt(caller: ReportCaller, route: string, kind: string, time: string): SecretTally {
    const identity = caller.identity ?? '';
    const key = `${identity}\n${route}\n${kind}`;
    let secret = this.secrets.get(key);
    if (secret === undefined) {
      secret = this.secrets.at(key);
      if (this.secrets.get(key) === secret) Object.assign(secret, { identity, route, kind });
    }
    if (time > secret.last) secret.last = time;
    return secret;
  }

  #takeShadow(effect: string, shadow: Fields): void {
    if (shadow.effect === effect) return;
    const rule = this.shadow.at(nameOf(shadow.rule));
    if (shadow.effect === 'allow') rule.toAllow++;
    else rule.toDeny++;
  }

  #edgeOf(identity: string, destination: string): AccessEdge {
    const known = this.#edges.get(identity)?.get(destination);
    if (known !== undefined) return known;
    const isFull =
      this.#edgeCount >= MAX_EDGES || (this.#edges.size >= MAX_IDENTITIES && !this.#edges.has(identity));
    if (isFull && identity !== OTHER) return this.#edgeOf(OTHER, OTHER);
    const edge: AccessEdge = { identity, destination, cells: [] };
    const edges = this.#edges.get(identity) ?? new Map<string, AccessEdge>();
    this.#edges.set(identity, edges.set(destination, edge));
    this.#edgeCount++;
    return edge;
  }

  #cellOf(
    { cells }: AccessEdge,
    effect: string,
    reason: string,
    rule: string,
    exception: string,
  ): AccessCell {
    for (const cell of cells)
      if (
        cell.rule === rule &&
        cell.reason === reason &&
        cell.effect === effect &&
        cell.exception === exception
      )
        return cell;
    if (this.#cellCount >= MAX_CELLS || cells.length >= MAX_CELLS_OF_EDGE) {
      const other = cells.find((cell) => cell.rule === OTHER && cell.effect === effect);
      if (other !== undefined) return other;
      return add(cells, newCell(effect, OTHER, OTHER, ''));
    }
    this.#cellCount++;
    return add(cells, newCell(effect, reason, rule, exception));
  }
}

function newCell(effect: string, reason: string, rule: string, exception: string): AccessCell {
  return { effect, reason, rule, exception, routes: new Set(), requests: 0, first: '', last: '' };
}

function add<T>(list: T[], item: T): T {
  list.push(item);
  return item;
}

function newRevision(revision: string): RevisionTally {
  return { revision, requests: 0, first: '', last: '' };
}

function takeRevision(revisions: CappedMap<RevisionTally>, name: unknown, time: string): void {
  if (typeof name !== 'string') return;
  const revision = revisions.at(name);
  revision.requests++;
  widen(revision, time);
}
