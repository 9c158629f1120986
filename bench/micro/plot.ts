import type { MicroResult } from './harness.js';
import { evaluateName, plotted, ruleCounts } from './policy-cases.js';

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [640, 320, 60, 20, 20, 110];
const COLOURS = ['#0b6e4f', '#b5179e', '#1d4ed8', '#c2410c'];
/** What the plot must stay under, in nanoseconds. */
const LIMIT_NS = 5000;

/** Time of one evaluation over the number of rules, as a plot for docs: SVG, both scales as they are named on the axes. */
export function plotEvaluation(results: readonly MicroResult[]): string {
  const nsOf = (dimension: string, count: number): number =>
    results.find(({ name }) => name === evaluateName(dimension, count))?.nsPerOp ?? Number.NaN;
  const x = (count: number): number => LEFT + ((Math.log10(count) - 1) / 3) * (WIDTH - LEFT - RIGHT);
  const y = (ns: number): number => HEIGHT - BOTTOM - (ns / (LIMIT_NS * 1.1)) * (HEIGHT - TOP - BOTTOM);
  const text = (at: number, down: number, words: string, anchor = 'middle'): string =>
    `<text x="${at.toFixed(1)}" y="${down.toFixed(1)}" text-anchor="${anchor}">${words}</text>`;
  const lines = plotted.flatMap((dimension, i) => {
    const points = ruleCounts.map(
      (count) => `${x(count).toFixed(1)},${y(nsOf(dimension, count)).toFixed(1)}`,
    );
    const down = HEIGHT - BOTTOM + 52 + i * 14;
    return [
      `<polyline fill="none" stroke="${COLOURS[i]}" stroke-width="2" points="${points.join(' ')}"/>`,
      `<line x1="${LEFT}" x2="${LEFT + 24}" y1="${down - 4}" y2="${down - 4}" stroke="${COLOURS[i]}" stroke-width="2"/>`,
      text(LEFT + 30, down, `rules of many ${dimension}`, 'start'),
    ];
  });
  const grid = [0, 1000, 2000, 3000, 4000, LIMIT_NS].flatMap((ns) => [
    `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${y(ns).toFixed(1)}" y2="${y(ns).toFixed(1)}" stroke="#8886" ${ns === LIMIT_NS ? 'stroke-dasharray="6 4"' : ''}/>`,
    text(LEFT - 6, y(ns) + 4, `${ns / 1000} µs`, 'end'),
  ]);
  const counts = ruleCounts.map((count) => text(x(count), HEIGHT - BOTTOM + 16, count.toLocaleString('en')));
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="11" fill="#777" role="img">`,
    '<title>Time to decide one request, over the number of rules</title>',
    ...grid,
    ...counts,
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 32, 'rules in the policy'),
    ...lines,
    '</svg>',
    '',
  ].join('\n');
}
