import fc from 'fast-check';
import t from 'tap';
import { foldSegments, matchSegments } from '../../src/policy/pattern.js';
import { covers } from '../../src/policy/pattern-cover.js';

const literal = fc.constantFrom('a', 'b', 'A', 'c.', '');
const pattern = fc.array(fc.oneof(literal, fc.constantFrom('*', '**')), { maxLength: 5 });
const path = fc.array(fc.constantFrom('a', 'b', 'A', 'c.', 'x', '...', ''), { maxLength: 6 });
const options = { seed: 4, numRuns: 20_000 };

t.test('what a covered pattern matches, the covering one matches', async () => {
  fc.assert(
    fc.property(pattern, pattern, path, (a, b, asked) => {
      return !covers(a, b) || !matchSegments(b, asked) || matchSegments(a, asked);
    }),
    options,
  );
});

t.test('in the reading of deny rules it holds of the path as it was asked for', async () => {
  fc.assert(
    fc.property(pattern, pattern, path, (deny, other, asked) => {
      if (!matchSegments(other, asked)) return true;
      const folded = foldSegments(deny);
      return !covers(folded, foldSegments(other)) || matchSegments(folded, foldSegments(asked));
    }),
    options,
  );
});

t.test('covering is found where a person would see it', async (t) => {
  const cases: readonly [a: string, b: string, covers: boolean][] = [
    ['**', 'a/b', true],
    ['a/**', 'a', true],
    ['a/**', 'a/**', true],
    ['a/*', 'a/*', true],
    ['a/**', 'a/*/c/**', true],
    ['**/c', 'a/*/c', true],
    ['*/b', 'a/b', true],
    ['a/*', 'a/**', false],
    ['a/*', 'a', false],
    ['a/b', 'a/*', false],
    ['a', 'a/**', false],
    ['a/**/c', 'a/**', false],
  ];
  for (const [a, b, expected] of cases)
    t.equal(covers(a.split('/'), b.split('/')), expected, `${a} over ${b}`);
  t.notOk(covers(['a', '*'], ['a', '']), '* is a segment with something in it');
});

t.test('patterns of the longest kind are compared in bounded time', async (t) => {
  const long = Array.from({ length: 128 }, (_, i) => (i % 2 === 0 ? '**' : 'a'));
  const started = performance.now();
  for (let i = 0; i < 20; i++) covers([...long, 'b'], [...long, 'c']);
  t.ok(performance.now() - started < 2000);
});
