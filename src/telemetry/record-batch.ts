/** Told once: whether the record is kept as the durability asks. Never from within the call that wrote it. */
export type Confirmed = (isKept: boolean) => void;

/** When a record counts as kept: not told at all, when the target has it, or when `sync` has it. */
export type Confirms = 'never' | 'written' | 'synced';

/** No more go out together: one seal never covers more than a line of it can say, and none stops the event loop for long. */
const MAX_LINES = 1024;
const MAX_BYTES = 1024 * 1024;

/** Lines that go out together. */
export class Batch {
  readonly lines: string[] = [];
  /** Those of our own stream, where not all are. */
  own: string[] | undefined;
  confirms: Confirmed[] = [];
  /** When the first came that somebody waits for (a tick). */
  awaitedSinceMs = Number.POSITIVE_INFINITY;
  bytes = 0;

  get isFull(): boolean {
    return this.lines.length >= MAX_LINES || this.bytes >= MAX_BYTES;
  }

  takeConfirms(): Confirmed[] {
    const { confirms } = this;
    this.confirms = [];
    this.awaitedSinceMs = Number.POSITIVE_INFINITY;
    return confirms;
  }

  add(line: string, isOwn: boolean, confirmed: Confirmed | undefined): void {
    if (!isOwn) this.own ??= [...this.lines];
    else this.own?.push(line);
    this.lines.push(line);
    this.bytes += line.length;
    if (confirmed === undefined) return;
    if (this.confirms.length === 0) this.awaitedSinceMs = performance.now();
    this.confirms.push(confirmed);
  }
}

/** Lines that wait to be written, in the batches that they will go out in. */
export class Waiting {
  #batches: Batch[] = [];
  /** It is being written; who waits for it is told with the others where that fails. */
  #taken: Batch | undefined;
  /** Of what was not taken yet. */
  bytes = 0;

  get isEmpty(): boolean {
    return this.#batches.length === 0;
  }

  /** When the oldest came that somebody waits for (a tick); Infinity = nobody waits. */
  get awaitedSinceMs(): number {
    const taken = this.#taken?.awaitedSinceMs ?? Number.POSITIVE_INFINITY;
    return this.#batches.reduce((oldest, { awaitedSinceMs }) => Math.min(oldest, awaitedSinceMs), taken);
  }

  add(line: string, isOwn: boolean, confirmed: Confirmed | undefined): void {
    let last = this.#batches.at(-1);
    if (last === undefined || last.isFull) {
      last = new Batch();
      this.#batches.push(last);
    }
    last.add(line, isOwn, confirmed);
    this.bytes += line.length;
  }

  take(): Batch | undefined {
    this.#taken = this.#batches.shift();
    this.bytes -= this.#taken?.bytes ?? 0;
    return this.#taken;
  }

  takeAll(): readonly Batch[] {
    const batches = this.#batches;
    this.#batches = [];
    this.bytes = 0;
    return batches;
  }

  takeConfirms(): Confirmed[] {
    return [
      ...(this.#taken?.takeConfirms() ?? []),
      ...this.#batches.flatMap((batch) => batch.takeConfirms()),
    ];
  }
}

/** Nearly all records are plain ASCII, which is copied as it is; only others are worth an encoder's pass over every character. */
export function bytesOf(lines: readonly string[]): Buffer {
  const text = lines.join('');
  return Buffer.from(text, Buffer.byteLength(text) === text.length ? 'latin1' : 'utf8');
}
