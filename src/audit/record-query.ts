import { FACETS, type FacetName } from './record-facets.js';
import { fieldsOf, parseRecordTime, textOf } from './record-line.js';
import { fieldOf, type RecordOpening, type ScannedRecord } from './record-scanner.js';

/** What is asked for. A record must fit each that is given, and of one that is given several times any. */
export interface Criteria {
  /** Of the caller's ID in a record, verified or claimed. */
  readonly isIdentity?: ((id: string) => boolean) | undefined;
  /** Of the subject on whose behalf the caller acted. */
  readonly isSubject?: ((id: string) => boolean) | undefined;
  readonly ids?: readonly string[] | undefined;
  /** `jti` of a token, or the SHA-256 of its text in lower case. */
  readonly tokens?: readonly string[] | undefined;
  /** Upstreams or routes, as policy names destinations. */
  readonly destinations?: readonly string[] | undefined;
  readonly rules?: readonly string[] | undefined;
  readonly exceptions?: readonly string[] | undefined;
  readonly reasons?: readonly string[] | undefined;
  /** `exception.*` is every event that begins with `exception.`. */
  readonly events?: readonly string[] | undefined;
  readonly listeners?: readonly string[] | undefined;
  readonly effect?: 'allow' | 'deny' | undefined;
  /** Unix milliseconds: `sinceMs` <= time < `untilMs`. */
  readonly sinceMs?: number | undefined;
  readonly untilMs?: number | undefined;
}

type Test = (record: ScannedRecord) => boolean;

/** Criteria made into tests, the cheap ones first. */
export class RecordQuery {
  readonly #tests: readonly Test[];

  constructor(readonly criteria: Criteria) {
    this.#tests = testsOf(criteria);
  }

  matches(record: ScannedRecord): boolean {
    for (const test of this.#tests) if (!test(record)) return false;
    return true;
  }

  /** The record tells of a request that another one tells of too: it is no further request. */
  isRepetition(record: ScannedRecord): boolean {
    if (this.criteria.events?.includes(record.event)) return fieldOf(record, 'phase') === 'end';
    return record.event === 'access.corrected' || fieldOf(record, 'phase') === 'end';
  }
}

function testsOf(criteria: Criteria): Test[] {
  const { isIdentity, isSubject, ids, tokens, destinations, rules, exceptions } = criteria;
  const { reasons, events, listeners, effect } = criteria;
  const tests: Test[] = [];
  if (events !== undefined) tests.push(eventTest(events));
  tests.push(...periodTests(criteria));
  if (isIdentity !== undefined) tests.push(identityTest(isIdentity));
  if (isSubject !== undefined)
    tests.push((record) => {
      const subject = FACETS['behalf-of'](record);
      return subject !== undefined && isSubject(subject);
    });
  if (ids !== undefined) tests.push((record) => includes(ids, fieldOf(record, 'id')));
  if (tokens !== undefined)
    tests.push((record) => {
      const { jti, sha256 } = fieldsOf(fieldOf(record, 'token'));
      return includes(tokens, jti) || includes(tokens, sha256);
    });
  if (effect !== undefined) tests.push((record) => FACETS.effect(record) === effect);
  if (destinations !== undefined)
    tests.push((record) => {
      const { destination, route } = fieldsOf(fieldOf(record, 'request'));
      return includes(destinations, destination) || includes(destinations, route);
    });
  const plain: readonly (readonly [FacetName, readonly string[] | undefined])[] = [
    ['rule', rules],
    ['exception', exceptions],
    ['listener', listeners],
  ];
  for (const [name, wanted] of plain)
    if (wanted !== undefined) tests.push((record) => includes(wanted, FACETS[name](record)));
  if (reasons !== undefined)
    tests.push((record) => {
      const ended = fieldsOf(fieldOf(record, 'response')).reason;
      return includes(reasons, FACETS.reason(record)) || includes(reasons, ended);
    });
  return tests;
}

const includes = (wanted: readonly string[], value: unknown): boolean =>
  typeof value === 'string' && wanted.includes(value);

function eventTest(wanted: readonly string[]): Test {
  const exact = new Set(wanted);
  const prefixes = wanted.filter((name) => name.endsWith('.*')).map((name) => name.slice(0, -1));
  return ({ event }) => exact.has(event) || prefixes.some((prefix) => event.startsWith(prefix));
}

/** Records of one connection share their opening, and the principal stands in it. */
function identityTest(isIdentity: (id: string) => boolean): Test {
  const known = new WeakMap<RecordOpening, boolean>();
  const test = (record: ScannedRecord): boolean => {
    const id = textOf(fieldsOf(fieldOf(record, 'principal')).id);
    return id !== undefined && isIdentity(id);
  };
  return (record) => {
    const { opening, fields } = record;
    if (Object.hasOwn(fields, 'principal')) return test(record);
    const before = known.get(opening);
    if (before !== undefined) return before;
    const fits = test(record);
    known.set(opening, fits);
    return fits;
  };
}

/** As we write times, their order is that of their text. */
const OUR_LENGTH = '2026-11-21T10:00:00.000Z'.length;

function periodTests({ sinceMs, untilMs }: Criteria): Test[] {
  const tests: Test[] = [];
  if (sinceMs !== undefined) {
    const since = new Date(sinceMs).toISOString();
    tests.push(({ time }) =>
      time.length === OUR_LENGTH ? time >= since : (parseRecordTime(time) ?? Number.NaN) >= sinceMs,
    );
  }
  if (untilMs !== undefined) {
    const until = new Date(untilMs).toISOString();
    tests.push(({ time }) =>
      time.length === OUR_LENGTH ? time < until : (parseRecordTime(time) ?? Number.NaN) < untilMs,
    );
  }
  return tests;
}
