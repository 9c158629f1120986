import { deepEqual, equal } from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { fieldOf, RecordScanner, type ScannedRecord } from '../../../src/audit/record-scanner.js';
import { recordText } from '../../support/records.js';

const scanText = (text: string, scanner = new RecordScanner()): ScannedRecord | undefined => {
  const bytes = Buffer.from(`x${text}y`);
  return scanner.scan(bytes, 1, bytes.length - 1);
};

const TIME = '"time":"2026-11-21T10:00:00.000Z"';
const REST = `"seq":1,${TIME},"event":"access"`;

/** What JSON.parse says of the line; undefined where it is none, or no record. */
function parsed(text: string): Record<string, unknown> | undefined {
  try {
    const value = JSON.parse(text) as Record<string, unknown> | null;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
    const isRecord = typeof value.event === 'string' && typeof value.time === 'string';
    return isRecord ? value : undefined;
  } catch {
    return undefined;
  }
}

/** The members of opening and rest, as one object. */
function joined(record: ScannedRecord | undefined): Record<string, unknown> | undefined {
  if (record === undefined) return undefined;
  const all: [string, unknown][] = [
    ...Object.entries(record.opening.fields),
    ...Object.entries(record.fields),
  ];
  const whole: Record<string, unknown> = Object.fromEntries(all);
  equal(Object.keys(whole).length, all.length, 'no name is in both');
  for (const name of Object.keys(whole)) deepEqual(fieldOf(record, name), whole[name]);
  return whole;
}

t.test(
  'a record is what JSON.parse says of it, and its opening is shared with those that begin alike',
  async (t) => {
    const scanner = new RecordScanner();
    const [one, two] = [recordText({ phase: 'start' }), recordText({ phase: 'end' })];
    const first = scanText(one, scanner);
    const second = scanText(two, scanner);
    t.same(joined(first), JSON.parse(one));
    t.same(joined(second), JSON.parse(two));
    t.equal(first?.opening, second?.opening);
    t.equal(first?.event, 'access');
    t.equal(first?.time, '2026-11-21T10:00:00.000Z');
    t.same(Object.keys(first?.opening.fields ?? {}), ['stream', 'principal', 'tls', 'peer']);
  },
);

t.test('what stands in a string, or twice, or elsewhere, is read as JSON.parse reads it', async (t) => {
  const lines = [
    `{"a":",\\"seq\\":1",${REST}}`,
    `{"a":{"b":1,"seq":2,"c":{}},${REST}}`,
    `{"a":[{"b":1,"seq":2}],${REST}}`,
    `{"principal":{"id":"x"},${REST},"principal":{"id":"y"}}`,
    `{"a":1,"a":2,${REST}}`,
    `{"__proto__":{"event":"none"},${REST}}`,
    `{"a":1,${REST},"__proto__":{"id":"y"}}`,
    `{"toString":1,${REST}}`,
    `{"event":"other",${TIME},"seq":1}`,
    `{"event":"other","a":1,${REST}}`,
    `{"a":1,"seq":1,"seq":2,${TIME},"event":"access"}`,
    `{${REST}}`,
    `  {"a":1 ,${REST} }  `,
    `{"a":1,${REST}}\r`,
    `{"a":"\u2028\u202e\ud83d\ude00",${REST},"b":"ä"}`,
    `{"stream":{},${TIME},"event":"access"}`,
  ];
  for (const line of lines) {
    t.ok(parsed(line), `line ${lines.indexOf(line)}`);
    t.doesNotThrow(() => deepEqual(joined(scanText(line)), parsed(line)));
  }
});

t.test('what is no record is none', async (t) => {
  const lines = [
    '',
    '{}',
    '[]',
    'null',
    `{,${REST}}`,
    `{,"seq":1,${TIME},"event":"access"}`,
    `{"a":1},${REST}}`,
    `{"a":1},"seq":1}`,
    `{"a":{"b":1,${REST}}`,
    `"a":1,${REST}}`,
    `{"a":1,${REST}`,
    `{"a":1,${REST}}}`,
    `{"a":1,${REST}}{"a":1,${REST}}`,
    `{"a":1,"seq":1,"event":"access"}`,
    `{"a":1,"seq":1,${TIME}}`,
    `{"a":1,"seq":1,${TIME},"event":7}`,
    `{"a":1,"seq":1,"time":"2026-11-21T10:00:00+01:00","event":"access"}`,
    `{"a":1,"seq":1,"time":"2026-13-21T10:00:00.000Z","event":"access"}`,
    `{"a":"\n",${REST}}`,
    `[{"a":1,${REST}}]`,
  ];
  for (const line of lines) t.equal(scanText(line), undefined, JSON.stringify(line));
});

t.test('any line, however it is harmed, is read as JSON.parse reads it', async (t) => {
  const line = recordText({ principal: { id: 'spiffe://a.test/wéb' } });
  const piece = fc.constantFrom(
    ',"seq":',
    '"',
    '{',
    '}',
    ',',
    '\\',
    '[',
    ']',
    ':',
    '1',
    '"seq":1',
    ' ',
    'ü',
    '\0',
  );
  const harm = fc.tuple(fc.nat(line.length), fc.nat(12), fc.array(piece, { maxLength: 3 }));
  const scanner = new RecordScanner();
  const law = fc.property(fc.array(harm, { minLength: 1, maxLength: 3 }), (harms) => {
    let text = line;
    for (const [at, cut, put] of harms) text = text.slice(0, at) + put.join('') + text.slice(at + cut);
    const told = parsed(text);
    // A time that is none is the scanner's own no.
    const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z$/.test(String(told?.time));
    const expected = isTime && !Number.isNaN(Date.parse(String(told?.time))) ? told : undefined;
    deepEqual(joined(scanText(text, scanner)), expected);
  });
  t.doesNotThrow(() => fc.assert(law, { numRuns: 2000, seed: 7 }));
});

t.test('openings in any number are read right, those that were forgotten too', async (t) => {
  const scanner = new RecordScanner();
  const texts = Array.from({ length: 12_000 }, (_, n) => `{"stream":{"boot":"${n}"},${REST}}`);
  let wrong = 0;
  for (const round of [texts, texts])
    for (const [n, text] of round.entries()) {
      const stream = scanText(text, scanner)?.opening.fields.stream as { boot: string } | undefined;
      if (stream?.boot !== String(n)) wrong++;
    }
  t.equal(wrong, 0);
});

t.test('an opening that differs in one character is another one', async (t) => {
  const scanner = new RecordScanner();
  const at = `{"stream":{"boot":"${'0'.repeat(600)}"},${REST}}`;
  for (let place = 0; place < 600; place += 7) {
    const boot = `${'0'.repeat(place)}1${'0'.repeat(599 - place)}`;
    const found = scanText(at.replace(/0{600}/, boot), scanner)?.opening.fields.stream;
    t.same(found, { boot });
  }
});

t.test('an opening of any length is read', async (t) => {
  const scanner = new RecordScanner();
  for (const length of [8000, 9000, 100_000]) {
    const text = `{"a":"${'b'.repeat(length)}",${REST}}`;
    t.same(joined(scanText(text, scanner)), JSON.parse(text));
    t.same(joined(scanText(text, scanner)), JSON.parse(text));
  }
});
