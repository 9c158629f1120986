const NEWLINE = 0x0a;

/** Whole lines that wait to be exported, as bytes: bounded, oldest first. */
export class ExportQueue {
  readonly #chunks: Buffer[] = [];
  #waiting = 0;
  /** Taken and not settled yet. */
  #held = 0;

  constructor(readonly maxBytes: number) {}

  get isEmpty(): boolean {
    return this.#waiting === 0;
  }

  /** Of what waits and what is under way. */
  get bytes(): number {
    return this.#waiting + this.#held;
  }

  /**
   * The newest are what is lost: then what a collector lacks after an outage is one piece.
   * @returns the lines that have no room.
   */
  push(lines: Buffer): Buffer {
    const room = this.maxBytes - this.bytes;
    const end = lines.length <= room ? lines.length : lineEndBefore(lines, room);
    if (end > 0) {
      // A part of it would keep all of it in memory.
      this.#chunks.push(end === lines.length ? lines : Buffer.from(lines.subarray(0, end)));
      this.#waiting += end;
    }
    return lines.subarray(end);
  }

  /** The oldest whole lines, up to `maxBytes` of them but at least one; they count as held until `settle`. */
  take(maxBytes: number): Buffer {
    const parts: Buffer[] = [];
    let size = 0;
    for (let first = this.#chunks[0]; first !== undefined; first = this.#chunks[0]) {
      if (size + first.length > maxBytes) {
        if (size === 0) parts.push(this.#cut(first, maxBytes));
        break;
      }
      parts.push(first);
      size += first.length;
      this.#chunks.shift();
    }
    const taken = parts.length === 1 ? parts[0]! : Buffer.concat(parts);
    this.#waiting -= taken.length;
    this.#held += taken.length;
    return taken;
  }

  /** The first lines of the first chunk, which is longer than that. */
  #cut(first: Buffer, maxBytes: number): Buffer {
    const end = lineEndBefore(first, maxBytes) || first.indexOf(NEWLINE) + 1 || first.length;
    if (end === first.length) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(end);
    return first.subarray(0, end);
  }

  /** What was taken is exported, or given up. */
  settle(taken: Buffer): void {
    this.#held -= taken.length;
  }
}

/** Where the last line ends that ends within `room`; 0 = none does. */
const lineEndBefore = (lines: Buffer, room: number): number =>
  room <= 0 ? 0 : lines.lastIndexOf(NEWLINE, room - 1) + 1;
