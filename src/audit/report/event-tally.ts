import { type Fields, fieldsOf } from '../record-line.js';
import { CappedMap, nameOf } from './capped-map.js';
import { DurationHistogram } from './duration-histogram.js';
import type { ReportCaller } from './report-callers.js';
import type { StreamTally } from './stream-tally.js';

/** A record that is told by itself. */
export interface ToldEvent {
  readonly time: string;
  readonly event: string;
  readonly stream: StreamTally;
  readonly source: string;
  readonly detail: string;
  readonly identity: string;
  readonly connections: number | undefined;
  readonly latencyMs: number | undefined;
  readonly policyRevision: string;
  readonly trustRevision: string;
  /** What an event has besides. */
  readonly fields: Fields;
}

export interface ExceptionTally {
  readonly id: string;
  owner: string;
  expires: string;
  /** Newest event of it, without `exception.`. */
  state: string;
  stateAt: string;
}

const MAX_TOLD_OF_EVENT = 500;
const MAX_DETAIL = 2000;
const MAX_NAMES = 1000;
/** Long enough to be told, and of each but few. */
const LARGEST_FIELDS = 20_000;
/** Characters of all that is told: what is read may hold events of any name and size. */
const MAX_TOLD_CHARACTERS = 24 * 1024 * 1024;

/** What records that are no requests say. */
export class EventTally {
  readonly counts = new CappedMap(200, (event) => ({ event, records: 0 }));
  readonly refusedHandshakes = new CappedMap(200, (reason) => ({ reason, connections: 0 }));
  /** By claim and reason: certificates that nothing verified. */
  readonly claims = new CappedMap(2000, (key) => ({ key, times: 0, last: '' }));
  readonly terminated = new CappedMap(200, (reason) => ({ reason, durations: new DurationHistogram() }));
  readonly exceptions = new CappedMap<ExceptionTally>(MAX_NAMES, (id) => ({
    id,
    owner: '',
    expires: '',
    state: '',
    stateAt: '',
  }));
  readonly #told = new Map<string, ToldEvent[]>();
  /** Events that were counted and are not told one by one. */
  untold = 0;
  #toldCharacters = 0;

  takeHandshake(caller: ReportCaller, time: string, fields: Fields): void {
    const reason = nameOf(fieldsOf(fields.decision).reason);
    this.refusedHandshakes.at(reason).connections++;
    this.takeClaim(caller, reason, time);
  }

  takeClaim({ claim }: ReportCaller, reason: string, time: string): void {
    if (claim === undefined) return;
    const found = this.claims.at(`${claim}\n${reason}`);
    found.times++;
    if (time > found.last) found.last = time;
  }

  takeTermination(fields: Fields): void {
    const { durations } = this.terminated.at(nameOf(fields.reason));
    if (typeof fields.latencyMs === 'number') durations.add(fields.latencyMs);
  }

  takeEvent(event: string, caller: ReportCaller, stream: StreamTally, time: string, fields: Fields): void {
    this.counts.at(event).records++;
    if (event.startsWith('exception.')) this.#takeException(event, time, fieldsOf(fields.exception));
    const told = this.#told.get(event) ?? [];
    const isFull = told.length >= MAX_TOLD_OF_EVENT || (told.length === 0 && this.#told.size >= MAX_NAMES);
    const size = isFull ? 0 : JSON.stringify(fields).length;
    if (isFull || this.#toldCharacters + Math.min(size, LARGEST_FIELDS) > MAX_TOLD_CHARACTERS) {
      this.untold++;
      return;
    }
    this.#toldCharacters += Math.min(size, LARGEST_FIELDS);
    this.#told.set(event, told);
    const { connections, latencyMs } = fields;
    told.push({
      time,
      event,
      stream,
      source: nameOf(fields.source),
      detail: typeof fields.detail === 'string' ? fields.detail.slice(0, MAX_DETAIL) : '',
      identity: caller.identity ?? '',
      connections: typeof connections === 'number' ? connections : undefined,
      latencyMs: typeof latencyMs === 'number' ? latencyMs : undefined,
      policyRevision: nameOf(fields.policyRevision),
      trustRevision: nameOf(fields.trustRevision),
      // A hostile record of a megabyte is counted, not kept.
      fields: size > LARGEST_FIELDS ? NOTHING : fields,
    });
  }

  /** Those of these events that were kept, in order of time. */
  told(...events: readonly string[]): ToldEvent[] {
    const found = events.flatMap((event) => this.#told.get(event) ?? []);
    return found.sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
  }

  get toldEvents(): string[] {
    return [...this.#told.keys()];
  }

  #takeException(event: string, time: string, { id, owner, expires }: Fields): void {
    const exception = this.exceptions.at(nameOf(id));
    exception.owner = nameOf(owner);
    if (nameOf(expires) > exception.expires) exception.expires = nameOf(expires);
    if (time < exception.stateAt) return;
    exception.state = event.slice('exception.'.length);
    exception.stateAt = time;
  }
}

const NOTHING: Fields = {};
