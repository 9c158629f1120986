import { type Fields, fieldsOf } from '../record-line.js';
import { CappedMap, nameOf, OTHER } from './capped-map.js';
import type { ReportCaller } from './report-callers.js';

/** Requests of one caller on behalf of one subject, as one kind of source said so. */
export interface DelegationTally {
  readonly caller: string;
  readonly subject: string;
  readonly by: string;
  requests: number;
  refused: number;
  /** Of how many actors the longest chain was. */
  depth: number;
  last: string;
}

/** Requests that came with a token of one entry. */
export interface TokenTally {
  readonly entry: string;
  readonly issuer: string;
  requests: number;
  /** Of those, with a token that was good with the caller's certificate alone. */
  bound: number;
  /** Capped. */
  readonly callers: Set<string>;
  last: string;
}

/** Requests into which a secret was put, because the service still wants one. */
export interface InjectedTally {
  readonly route: string;
  readonly destination: string;
  readonly header: string;
  requests: number;
  last: string;
}

const MAX_DELEGATIONS = 10_000;
const MAX_ENTRIES = 1000;
const MAX_CALLERS = 10_000;

/** What requests rest on beside the caller's own certificate, added up. */
export class BorrowedTally {
  readonly delegations = new CappedMap<DelegationTally>(MAX_DELEGATIONS, (key) => {
    const [caller, subject, by] = partsOf(key);
    return { caller, subject, by, requests: 0, refused: 0, depth: 0, last: '' };
  });
  readonly tokens = new CappedMap<TokenTally>(MAX_ENTRIES, (key) => {
    const [entry, issuer] = partsOf(key);
    return { entry, issuer, requests: 0, bound: 0, callers: new Set(), last: '' };
  });
  readonly injected = new CappedMap<InjectedTally>(MAX_ENTRIES, (key) => {
    const [route, destination, header] = partsOf(key);
    return { route, destination, header, requests: 0, last: '' };
  });

  get isFull(): boolean {
    return this.delegations.isFull || this.tokens.isFull || this.injected.isFull;
  }

  /** Of the one record of a request that counts it. */
  takeRequest(caller: ReportCaller, time: string, effect: 'allow' | 'deny', fields: Fields): void {
    if (fields.behalfOf !== undefined) this.#takeDelegation(caller, time, effect, fieldsOf(fields.behalfOf));
    if (fields.token !== undefined) this.#takeToken(caller, time, fieldsOf(fields.token));
  }

  /** Of the record of its end: before it nothing need have gone to the service. */
  takeEnd(time: string, fields: Fields): void {
    const header = nameOf(fieldsOf(fields.upstream).injected);
    if (header === '') return;
    const request = fieldsOf(fields.request);
    const tally = this.injected.at(keyOf(nameOf(request.route), nameOf(request.destination), header));
    tally.requests++;
    if (time > tally.last) tally.last = time;
  }

  #takeDelegation(caller: ReportCaller, time: string, effect: 'allow' | 'deny', behalfOf: Fields): void {
    const key = keyOf(caller.identity ?? '', nameOf(behalfOf.id), nameOf(behalfOf.by));
    const tally = this.delegations.at(key);
    tally.requests++;
    if (effect === 'deny') tally.refused++;
    const depth = Array.isArray(behalfOf.actors) ? behalfOf.actors.length : 0;
    if (depth > tally.depth) tally.depth = depth;
    if (time > tally.last) tally.last = time;
  }

  #takeToken(caller: ReportCaller, time: string, token: Fields): void {
    const tally = this.tokens.at(keyOf(nameOf(token.entry), nameOf(token.issuer)));
    tally.requests++;
    if (token.bound === true) tally.bound++;
    const { callers } = tally;
    if (caller.identity !== undefined && callers.size < MAX_CALLERS) callers.add(caller.identity);
    if (time > tally.last) tally.last = time;
  }
}

const keyOf = (...parts: readonly string[]): string => parts.join('\n');

/** Of a key that found no place each part is the same. */
function partsOf(key: string): [string, string, string] {
  const [a = '', b = '', c = ''] = key.split('\n');
  return key === OTHER ? [OTHER, OTHER, OTHER] : [a, b, c];
}
