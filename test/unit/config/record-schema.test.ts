import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import type { LifecycleRecord } from '../../../src/audit/record.js';
import { LIFECYCLE_EVENTS, recordSchema } from '../../../src/config/record-schema.js';
import { checkRecord } from '../../support/record-check.js';
import { recordText } from '../../support/records.js';

/** Does not compile where the schema lacks an event that the code writes. */
const NONE_IS_MISSING: Exclude<LifecycleRecord['event'], (typeof LIFECYCLE_EVENTS)[number]> extends never
  ? true
  : never = true;

const STREAM = { id: 'vm', boot: '0123456789abcdef', worker: 0 };
const NUMBERED = { stream: STREAM, seq: 3, time: '2026-11-21T10:00:00.000Z' };
const fits = (record: object): boolean => recordSchema.safeParse(record).success;

/** The text of a record with another value at a place of it. */
function changed(place: readonly string[], value: unknown): object {
  const record = JSON.parse(recordText()) as Record<string, unknown>;
  const holder = place.slice(0, -1).reduce((at, key) => at[key] as Record<string, unknown>, record);
  holder[place.at(-1)!] = value;
  return record;
}

t.test('the schema knows every event of the code, and a record of each fits', async (t) => {
  t.ok(NONE_IS_MISSING);
  t.equal(new Set(LIFECYCLE_EVENTS).size, LIFECYCLE_EVENTS.length);
  for (const event of LIFECYCLE_EVENTS) t.ok(fits({ ...NUMBERED, event, detail: 'd' }), event);
  t.ok(fits(JSON.parse(recordText()) as object));
  const seal = { number: 1, from: 1, to: 2, head: 'h' };
  t.ok(fits({ stream: STREAM, time: NUMBERED.time, event: 'audit.seal', seal, jws: 'a.b.c' }));
  t.ok(
    fits({
      ...NUMBERED,
      event: 'audit.gap',
      gap: { why: 'dropped', from: 4, to: 6, records: 3 },
      detail: 'd',
    }),
  );
});

t.test('a field too many, too few or of another kind does not fit', async (t) => {
  const wrong: readonly (readonly [readonly string[], unknown])[] = [
    [['surprise'], 1],
    [['request', 'surprise'], 1],
    [['principal', 'password'], 'x'],
    [['seq'], 0],
    [['seq'], '1'],
    [['time'], '2026-11-21 10:00:00'],
    [['event'], 'access.unheard_of'],
    [['decision', 'reason'], 'because'],
    [['decision', 'effect'], 'maybe'],
    [['response', 'outcome'], 'fine'],
    [['stream', 'boot'], 'x'],
    [['request', 'headers'], { a: 1 }],
    [['request', 'redacted'], false],
    [['principal', 'sha256'], 'zz'],
    [['tls'], undefined],
    [['peer'], undefined],
  ];
  for (const [place, value] of wrong) {
    t.notOk(fits(changed(place, value)), place.join('.'));
    t.throws(() => checkRecord(JSON.stringify(changed(place, value))), {
      message: /does not fit its schema/,
    });
  }
});

t.test('the check of records finds what a reader could take for a line end', async (t) => {
  for (const char of ['\u2028', '\u2029', '\u0085', '\u202e', '\u009b']) {
    const line = recordText({ request: { path: `/${char}` } });
    t.throws(() => checkRecord(line), { message: /stands raw in/ }, `U+${char.charCodeAt(0).toString(16)}`);
  }
});

t.test('the published schema is versioned, and closed to nothing that a later release may add', async (t) => {
  const text = readFileSync('config/record.schema.json', 'utf8');
  const schema = JSON.parse(text) as { $id: string; oneOf: readonly object[] };
  t.equal(schema.$id, 'urn:countersign:record:1');
  t.equal(schema.oneOf.length, 7);
  t.notMatch(text, /"additionalProperties": false/);
});

t.test('no value of a record makes the check itself fail', async () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      fits({ ...NUMBERED, event: 'access', request: value });
      fits(value as object);
    }),
    { numRuns: 300, seed: 20261124 },
  );
});
