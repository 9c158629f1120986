import fc from 'fast-check';
import t from 'tap';
import { formatXfcc, lastSpiffeId, parseXfcc, type XfccElement } from '../../src/message/xfcc.js';

const SEED = 20_261_121;
/** Printable ASCII, with the characters that matter to the grammar much more often than by chance. */
const text = fc
  .array(fc.oneof(fc.constantFrom('"', '\\', ',', ';', '=', ' ', 'URI=', '%'), fc.string({ maxLength: 4 })), {
    maxLength: 12,
  })
  .map((parts) => parts.join(''));
const pair = fc.oneof(
  fc.tuple(fc.constant('Subject'), text),
  fc.tuple(fc.constantFrom('By', 'URI', 'DNS'), text),
);
const element = fc
  .array(pair, { minLength: 1, maxLength: 5 })
  .filter((pairs) => pairs.filter(([key]) => key === 'Subject').length <= 1);

t.test('what is written is read back as it was', (t) => {
  fc.assert(
    fc.property(fc.array(element, { minLength: 1, maxLength: 3 }), (elements: XfccElement[]) => {
      const parsed = parseXfcc([formatXfcc(elements)]);
      return parsed.ok && JSON.stringify(parsed.value) === JSON.stringify(elements);
    }),
    { numRuns: 5_000, seed: SEED },
  );
  t.end();
});

t.test('no name of a certificate forges a pair, an element or a raw octet', (t) => {
  fc.assert(
    fc.property(fc.oneof(text, fc.string({ unit: 'binary', maxLength: 30 })), (subject) => {
      const header = formatXfcc([
        [
          ['Subject', subject],
          ['URI', 'spiffe://a.test/web'],
        ],
      ]);
      const parsed = parseXfcc([header]);
      return (
        /^[ -~]*$/.test(header) &&
        parsed.ok &&
        parsed.value.length === 1 &&
        parsed.value[0]?.length === 2 &&
        lastSpiffeId(parsed.value) === 'spiffe://a.test/web'
      );
    }),
    { numRuns: 5_000, seed: SEED },
  );
  t.end();
});

t.test('no text makes the parser throw, and what it accepts survives being written and read', (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.oneof(text, fc.string({ unit: 'binary', maxLength: 40 })), { maxLength: 3 }),
      (lines) => {
        const parsed = parseXfcc(lines);
        if (!parsed.ok) return parsed.error.reason === 'header_malformed';
        const again = parseXfcc([formatXfcc(parsed.value)]);
        return again.ok && again.value.length === parsed.value.length;
      },
    ),
    { numRuns: 5_000, seed: SEED },
  );
  t.end();
});
