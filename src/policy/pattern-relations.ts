import type { PatternSegments } from './pattern.js';

/** True only if whatever `b` matches, `a` matches too. False may mean that it could not be told (`*` + `**` against `**` + `*`). */
export function covers(a: PatternSegments, b: PatternSegments): boolean {
  return reaches(a, b, (want, have) => {
    if (have === '**') return false; // any number of segments: only `**` takes that in
    return want === '*' ? have !== '' : want === have;
  });
}

/** False only if nothing is matched by both. */
export function canMeet(a: PatternSegments, b: PatternSegments): boolean {
  return reaches(a, b, meetsOne, true);
}

function meetsOne(want: string, have: string): boolean {
  if (want === '*') return have !== '';
  if (have === '*') return want !== '';
  return want === have;
}

/**
 * Walks both lists at once, each pair of places at most once. A `**` of `a` takes in any element of `b`; with `both` one of
 * `b` takes in any of `a`.
 */
function reaches(
  a: PatternSegments,
  b: PatternSegments,
  fits: (want: string, have: string) => boolean,
  both = false,
): boolean {
  const width = b.length + 1;
  const seen = new Uint8Array((a.length + 1) * width);
  const open: number[] = [];
  const visit = (i: number, j: number): void => {
    const place = i * width + j;
    if (seen[place] === 1) return;
    seen[place] = 1;
    open.push(place);
  };
  visit(0, 0);
  for (let place = open.pop(); place !== undefined; place = open.pop()) {
    const i = Math.floor(place / width);
    const j = place % width;
    const want = a[i];
    const have = b[j];
    if (want === undefined && have === undefined) return true;
    if (want === '**') {
      visit(i + 1, j);
      if (have !== undefined) visit(i, j + 1);
    }
    if (both && have === '**') {
      visit(i, j + 1);
      if (want !== undefined) visit(i + 1, j);
    }
    if (want === undefined || have === undefined || want === '**' || (both && have === '**')) continue;
    if (fits(want, have)) visit(i + 1, j + 1);
  }
  return false;
}
