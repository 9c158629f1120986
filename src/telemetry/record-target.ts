const NEWLINE = 0x0a;

/** Where the bytes of records go. One write is under way at a time. */
export interface RecordTarget {
  /** For messages. */
  readonly name: string;
  /**
   * Whole lines, in order. Resolves when the kernel has all of them; rejects with a PartialWrite where it could not go on.
   * @param progressed called when a part was taken: what moves is slow, and does not stand still.
   */
  write(bytes: Buffer, progressed: () => void): Promise<void>;
  /** Until the disk (or whoever writes for us) has all that was written; undefined where there is nothing to wait for. */
  readonly sync?: () => Promise<void>;
  /** A sync that failed may have lost what was written before it, though the next one says yes. */
  readonly forgets?: boolean;
  /** Looks at its place. `moved`: something else is there now (a rename), and `follow` goes there. Throws where it cannot look. */
  look?(): { readonly hasMoved: boolean; readonly bytesLost: number };
  /** Leaves what was written to for what is at the place now. Rejects where nothing can be begun there; the old one goes on then. */
  follow?(): Promise<void>;
  /** For a process that ends now. Throws where they are not taken. */
  writeNow(bytes: Buffer): void;
  /** What is still under way is given up first. */
  close(): void;
}

/** A write that could not go on. */
export class PartialWrite extends Error {
  // Private, so that no log of the error shows them: records never stand among diagnostics, and they may be 64 MiB.
  readonly #rest: Buffer;
  readonly #whole: Buffer | undefined;

  /** @param taken of these bytes. */
  constructor(bytes: Buffer, taken: number, cause: Error, whole = wholeAt(bytes, taken)) {
    super(cause.message, { cause });
    this.name = 'PartialWrite';
    this.#rest = bytes.subarray(taken);
    this.#whole = whole;
  }

  /** What is left, for another try there. */
  get rest(): Buffer {
    return this.#rest;
  }

  /** The same from the beginning of the line that was broken off, for another place; undefined where that is the line it began in. */
  get whole(): Buffer | undefined {
    return this.#whole;
  }
}

/** Where the line begins that byte `at` belongs to, or would. */
export const lineStartOf = (bytes: Buffer, at: number): number =>
  at === 0 ? 0 : bytes.lastIndexOf(NEWLINE, at - 1) + 1;

/** Whole lines from the one on that byte `at` belongs to; undefined where that is the first. */
export function wholeAt(bytes: Buffer, at: number): Buffer | undefined {
  const lineStart = lineStartOf(bytes, at);
  return lineStart === 0 ? undefined : bytes.subarray(lineStart);
}

/**
 * What to write where the target took a part (a full disk) and another process may have written since: the line that was torn
 * is ended, as a fragment, and stands again whole. Where only its end is missing, it gets that: twice would be once too often.
 */
export function afterTear(bytes: Buffer, at: number): Buffer {
  const lineStart = lineStartOf(bytes, at);
  if (lineStart === at || bytes[at] === NEWLINE) return bytes.subarray(at);
  return Buffer.concat([Buffer.of(NEWLINE), bytes.subarray(lineStart)]);
}
