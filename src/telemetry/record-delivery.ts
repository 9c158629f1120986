import { PartialWrite, type RecordTarget } from './record-target.js';

const RETRY_MS = 250;
/** A target that takes nothing for this long is as good as one that fails, and so is one that is slower with a record. */
export const STALLED_MS = 5000;
const NOTHING = Buffer.alloc(0);
export const STAYED = { hasMoved: false, bytesLost: 0 };

interface DeliveryEvents {
  failed(error: Error): void;
  stalled(): void;
  /** The disk may not have them, though they were written: a sync failed. */
  uncertain(records: number): void;
  /** Bytes that were written are not there any more. */
  truncated(bytes: number): void;
  kept(lines: Buffer): void;
}

/** Gets bytes to the target, however often that takes. */
export class RecordDelivery {
  /** When a part was taken last (a tick). */
  progressedMs = 0;
  #isHurried = false;
  /** What the next try is for. */
  #left: Buffer = NOTHING;
  /** Runs while something is to be taken. */
  #stalled: NodeJS.Timeout | undefined;
  /** Ends the wait before the next try. */
  #tryNow: () => void = () => undefined;

  constructor(
    readonly target: RecordTarget,
    readonly isSynced: boolean,
    readonly events: DeliveryEvents,
  ) {}

  /** For a process that ends now: what was to be tried again comes before all else. Throws where it is not taken. */
  putNow(bytes: Buffer): void {
    const left = this.#left;
    this.#left = NOTHING;
    this.target.writeNow(left.length === 0 ? bytes : Buffer.concat([left, bytes]));
  }

  /** From now on what fails is given up. */
  hurry(): void {
    this.#isHurried = true;
    this.#tryNow();
  }

  /** Whole lines. @returns false where they were given up. */
  async put(bytes: Buffer, records: number): Promise<boolean> {
    const { target } = this;
    let left = bytes;
    /** From the beginning of the line that was broken off, maybe several tries ago. */
    let whole = bytes;
    let isUncertain = false;
    for (;;) {
      this.#stalled = setTimeout(() => this.events.stalled(), STALLED_MS).unref();
      try {
        if (left.length > 0) await target.write(left, this.#progressed);
        left = NOTHING;
        if (this.isSynced) await target.sync?.();
        // A system that failed to sync once may forget what it could not write, and say yes the next time.
        if (isUncertain) this.events.uncertain(records);
        this.events.kept(bytes);
        return true;
      } catch (error) {
        this.events.failed(error as Error);
        isUncertain ||= left.length === 0 && target.forgets === true;
        if (this.#isHurried) return false;
        if (error instanceof PartialWrite) {
          left = error.rest;
          whole = error.whole ?? whole;
        }
        this.#left = left;
        await this.#untilNextTry();
        this.#left = NOTHING;
        if (error instanceof PartialWrite && (await this.#hasLeft())) left = whole;
      } finally {
        clearTimeout(this.#stalled);
      }
    }
  }

  readonly #progressed = (): void => {
    this.#stalled?.refresh();
    this.progressedMs = performance.now();
  };

  /** Who makes room renames the file, or deletes it: nothing more is tried where it does not help. */
  async #hasLeft(): Promise<boolean> {
    try {
      const { hasMoved, bytesLost } = this.target.look?.() ?? STAYED;
      if (bytesLost > 0) this.events.truncated(bytesLost);
      if (!hasMoved) return false;
      await this.target.follow?.();
      return true;
    } catch {
      return false; // said already, of the write
    }
  }

  #untilNextTry(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, RETRY_MS);
      this.#tryNow = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
