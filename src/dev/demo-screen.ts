import { type ReadRecord, recordColumns } from './demo-records.js';

const CODES = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;
type Colour = keyof typeof CODES;

export interface ScreenOptions {
  readonly colour: boolean;
  /** Every record has its own line, also the hundreds of the calls that go on in the background. */
  readonly everyRecord: boolean;
}

/** One thing that the demo promised to show. */
export interface Expectation {
  readonly what: string;
  readonly expected: string;
  readonly seen: string;
  readonly met: boolean;
}

/** What the demo writes: headings, records as they come, and the summary. */
export class DemoScreen {
  readonly expectations: Expectation[] = [];
  /** Calls run in the background: of records that differ in their time alone one is shown, with a count. */
  collapsing = false;
  readonly #counts = new Map<string, { columns: string[]; more: number }>();

  constructor(
    readonly write: (text: string) => void,
    readonly options: ScreenOptions,
  ) {}

  act(title: string): void {
    this.flushCounts();
    this.write(`
${this.#paint('bold', title)}
`);
  }

  say(line: string): void {
    this.write(`  ${line}\n`);
  }

  /** A record's line; of a repeated one the first, and a count when the act ends. */
  record(record: ReadRecord): void {
    const columns = recordColumns(record);
    if (record.event !== 'access' || !this.collapsing || this.options.everyRecord) {
      return this.#line(columns, '');
    }
    const kind = columns.slice(1).join(' ');
    const known = this.#counts.get(kind);
    if (known === undefined) {
      this.#counts.set(kind, { columns, more: 0 });
      return this.#line(columns, '');
    }
    known.more++;
    known.columns = columns;
  }

  flushCounts(): void {
    for (const { columns, more } of this.#counts.values())
      if (more > 0) this.#line(columns, `  and ${more} more like it`);
    this.#counts.clear();
  }

  /** @returns whether it was met. */
  expect(what: string, expected: string, seen: string, met = expected === seen): boolean {
    this.expectations.push({ what, expected, seen, met });
    return met;
  }

  /** The table at the end. @returns true where everything promised was seen. */
  summary(): boolean {
    this.flushCounts();
    const widest = Math.max(...this.expectations.map(({ what }) => what.length));
    this.write(`\n${this.#paint('bold', 'Summary')}\n`);
    for (const { what, expected, seen, met } of this.expectations) {
      const mark = met ? this.#paint('green', '✓') : this.#paint('red', '✗');
      const said = met ? seen : `${seen}  (expected: ${expected})`;
      this.write(`  ${mark} ${what.padEnd(widest)}  ${said}\n`);
    }
    return this.expectations.every(({ met }) => met);
  }

  #line(columns: readonly string[], after: string): void {
    const [time = '', who = '', effect = '', ...rest] = columns;
    if (columns.length < 5) {
      this.write(
        `  ${this.#paint('dim', time)}  ${this.#paint('yellow', `${who} ${effect}`)} ${rest.join(' ')}\n`,
      );
      return;
    }
    const [rule = '', ...asked] = rest;
    const colour = effect === 'allow' ? 'green' : 'red';
    const said = `${this.#paint(colour, effect.padEnd(5))}  ${rule.padEnd(24)}  ${asked.join('  ')}`;
    this.write(`  ${this.#paint('dim', time)}  ${who.padEnd(40)}  ${said}${this.#paint('dim', after)}\n`);
  }

  #paint(colour: Colour, text: string): string {
    return this.options.colour && text !== '' ? `\u001b[${CODES[colour]}m${text}\u001b[0m` : text;
  }
}
