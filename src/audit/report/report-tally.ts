import { type Fields, fieldsOf } from '../record-line.js';
import { fieldOf, type ScannedRecord } from '../record-scanner.js';
import { AccessTally } from './access-tally.js';
import { nameOf } from './capped-map.js';
import { EventTally } from './event-tally.js';
import { type ReportCaller, ReportCallers } from './report-callers.js';
import { StreamsTally } from './stream-tally.js';
import { isWithin, type TimeSpan } from './time-span.js';

/** Which records count. */
export interface ReportFilter extends TimeSpan {
  /** undefined: everybody, and also who was not verified. */
  readonly isIdentity: ((identity: string) => boolean) | undefined;
  readonly destination: string | undefined;
}

/** All that a report needs of its records, added up as they are read, in memory that does not grow with their number. */
export class ReportTally {
  records = 0;
  outsideFilter = 0;
  first = '';
  last = '';
  readonly streams = new StreamsTally();
  readonly callers: ReportCallers;
  readonly access = new AccessTally();
  readonly events = new EventTally();

  constructor(readonly filter: ReportFilter) {
    this.callers = new ReportCallers(filter.isIdentity);
  }

  /** @returns whether it is a record as we write them. */
  take(record: ScannedRecord): boolean {
    const { time, event, fields } = record;
    const stream = this.streams.take(record);
    this.records++;
    if (!isWithin(this.filter, time)) {
      this.outsideFilter++;
      return true;
    }
    if (event === 'audit.seal') return true;
    const caller = this.#callerOf(record);
    if (caller === undefined || !this.#isThere(event, fields)) {
      this.outsideFilter++;
      return true;
    }
    if (this.first === '' || time < this.first) this.first = time;
    if (time > this.last) this.last = time;
    if (event === 'access') return this.#takeAccess(caller, time, fields);
    if (event === 'access.corrected') this.access.correct(time, fields);
    else if (event === 'handshake') this.events.takeHandshake(caller, time, fields);
    else if (event === 'connection.terminated') this.events.takeTermination(fields);
    else this.events.takeEvent(event, caller, stream, time, fields);
    if (event === 'static_secret.observed') this.#takeSecret(caller, time, fields);
    return true;
  }

  /** It is counted with the requests that brought it; here it only gets its place. */
  #takeSecret(caller: ReportCaller, time: string, { request, secret }: Fields): void {
    this.access.secretAt(caller, nameOf(fieldsOf(request).route), nameOf(fieldsOf(secret).kind), time);
  }

  /** What is about nobody, such as a new policy, counts whomever one asks about. */
  #callerOf(record: ScannedRecord): ReportCaller | undefined {
    const isSomebodys = REQUESTS.has(record.event) || record.event === 'handshake';
    return isSomebodys || fieldOf(record, 'principal') !== undefined ? this.callers.of(record) : NOBODY;
  }

  #isThere(event: string, { request }: Fields): boolean {
    const { destination } = this.filter;
    if (destination === undefined) return true;
    const asked = fieldsOf(request).destination;
    return asked === destination || (asked === undefined && !REQUESTS.has(event));
  }

  #takeAccess(caller: ReportCaller, time: string, fields: Fields): boolean {
    if (!this.access.take(caller, time, fields)) return false;
    const { credential } = caller;
    if (credential !== undefined && fields.phase !== 'end') {
      credential.requests++;
      if (time > credential.last) credential.last = time;
    } else if (caller.claim !== undefined) {
      this.events.takeClaim(caller, nameOf(fieldsOf(fields.decision).reason), time);
    }
    return true;
  }
}

const REQUESTS = new Set(['access', 'access.corrected']);
const NOBODY: ReportCaller = { identity: undefined, claim: undefined, credential: undefined };
