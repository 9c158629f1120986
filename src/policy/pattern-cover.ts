import type { PatternSegments } from './pattern.js';

/**
 * True only if whatever `b` matches, `a` matches too; both may be folded. False may mean that it could not be told (`*` + `**`
 * against `**` + `*`). Walks both at once, each pair of places at most once.
 */
export function covers(a: PatternSegments, b: PatternSegments): boolean {
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
    } else if (want !== undefined && have !== undefined && takesIn(want, have)) {
      visit(i + 1, j + 1);
    }
  }
  return false;
}

/** `have` may be any number of segments: only `**` takes that in. */
function takesIn(want: string, have: string): boolean {
  if (have === '**') return false;
  return want === '*' ? have !== '' : want === have;
}
