import { printable } from './printable.js';

/** A column of a table for people. */
export interface Column {
  readonly title: string;
  /** Numbers stand at the right. */
  readonly isNumber?: boolean;
  /** The narrowest that it may be made, where the terminal is too narrow for all. */
  readonly least?: number;
  /** Where it is too long, what is left out: the beginning (names that differ at their end) or the end. */
  readonly keeps?: 'end' | 'beginning';
}

const BETWEEN = '  ';
const CUT = '~';

/** Lays rows out in columns that fit a line of so many characters; without a width nothing is cut. */
export class TextTable {
  #widths: readonly number[] = [];

  constructor(
    readonly columns: readonly Column[],
    readonly width: number | undefined,
  ) {}

  /** Takes the measure of these rows, which later ones are cut to as well where there is a width. */
  begin(rows: readonly (readonly string[])[]): string {
    const natural = this.columns.map(({ title }, i) =>
      Math.max(title.length, ...rows.map((row) => printable(row[i] ?? '').length)),
    );
    this.#widths = this.width === undefined ? natural : fitted(natural, this.columns, this.width);
    return this.line(this.columns.map(({ title }) => title));
  }

  line(cells: readonly string[]): string {
    const laid = this.columns.map((column, i) => {
      const width = this.#widths[i] ?? 0;
      const text = printable(cells[i] ?? '');
      const fits = this.width === undefined ? text : cut(text, width, column.keeps);
      return column.isNumber === true ? fits.padStart(width) : fits.padEnd(width);
    });
    return `${laid.join(BETWEEN).trimEnd()}\n`;
  }
}

/** Takes from the widest column first, as long as it may still be made narrower. */
function fitted(natural: readonly number[], columns: readonly Column[], width: number): number[] {
  const widths = [...natural];
  const room = width - BETWEEN.length * (columns.length - 1);
  const leastOf = (i: number): number => Math.min(natural[i]!, columns[i]!.least ?? natural[i]!);
  for (let over = sum(widths) - room; over > 0; over--) {
    let widest = -1;
    for (const [i, at] of widths.entries())
      if (at > leastOf(i) && (widest < 0 || at > widths[widest]!)) widest = i;
    if (widest < 0) break; // too narrow for anything: lines will wrap
    widths[widest]!--;
  }
  return widths;
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

function cut(text: string, width: number, keeps: Column['keeps']): string {
  if (text.length <= width) return text;
  if (width <= CUT.length) return text.slice(0, width);
  return keeps === 'end' ? CUT + text.slice(text.length - width + 1) : text.slice(0, width - 1) + CUT;
}
