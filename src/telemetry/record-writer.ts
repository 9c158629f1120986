import { type Batch, bytesOf, type Confirmed, type Confirms, Waiting } from './record-batch.js';
import { RecordDelivery, STALLED_MS, STAYED } from './record-delivery.js';
import type { RecordSealer } from './record-sealer.js';
import type { RecordTarget } from './record-target.js';
import { pause, standsStill } from './stands-still.js';

const FLUSH_MS = 10;
const FLUSH_BYTES = 64 * 1024;
const LOOK_MS = 1000;
/** Beyond this, records that cannot be written are dropped and counted: memory is not a log. */
const MAX_PENDING_BYTES = 64 * 1024 * 1024;
/** A sink that leaves this much waiting is as good as one that fails: said before records are lost. */
const STALLED_BYTES = MAX_PENDING_BYTES / 4;
const LAST_WORD_MS = 50;

export interface RecordWriterEvents {
  /** Writing failed (once per outage) or works again. */
  failed(error: Error): void;
  recovered(): void;
  /** Called with the number of records that the target has, or that were dropped. */
  written(records: number): void;
  dropped(records: number): void;
  /** Bytes that were written are not there any more: somebody cut the file in place. */
  truncated(bytes: number): void;
  /** The disk may not have them, though they were written: a sync failed. */
  uncertain(records: number): void;
  /** Whole lines, seals included, that are kept now: for a copy of them. */
  kept?(lines: Buffer): void;
}

/** Writes lines to a target in order, never tearing one; seals and confirms them; follows rotation; knows when it cannot write. */
export class RecordWriter {
  available = true;
  readonly #waiting = new Waiting();
  #running: Promise<void> | undefined;
  #isLookDue = false;
  #isClosing = false;
  /** Something was given up: no seal can say any more that what it covers is there. */
  #hasGivenUp = false;
  #isRunPlanned = false;
  /** What is at the place now could not be begun. */
  #isAstray = false;
  /** A seal could not be signed. */
  #isUnsealed = false;
  #timer: NodeJS.Timeout | undefined;
  readonly #looks: NodeJS.Timeout;
  readonly #delivery: RecordDelivery;

  constructor(
    readonly target: RecordTarget,
    readonly events: RecordWriterEvents,
    readonly confirms: Confirms = 'never',
    readonly sealer?: RecordSealer,
  ) {
    this.#delivery = new RecordDelivery(target, confirms === 'synced', {
      failed: (error) => this.#fail(error),
      stalled: () => this.#failAsStalled(),
      uncertain: (records) => this.events.uncertain(records),
      truncated: (bytes) => this.events.truncated(bytes),
      kept: (lines) => this.events.kept?.(lines),
    });
    this.#looks = setInterval(() => this.look(), LOOK_MS).unref();
  }

  /** One more would be dropped. */
  get isFull(): boolean {
    return this.#waiting.bytes > MAX_PENDING_BYTES;
  }

  /** More would be so much that it is said to stall. */
  get hasRoom(): boolean {
    return this.#waiting.bytes <= STALLED_BYTES;
  }

  /** One line of our own stream, with its newline. */
  write(line: string, confirmed?: Confirmed): void {
    this.#add(line, true, confirmed);
  }

  /** One line that somebody else wrote and seals. */
  relay(line: string, confirmed?: Confirmed): void {
    this.#add(line, false, confirmed);
  }

  /** Whether the place is still what is written to, and whether a seal is due: at the next moment between two batches. */
  look(): void {
    this.#isLookDue = true;
    if (performance.now() - this.#waiting.awaitedSinceMs > STALLED_MS) this.#failAsStalled(); // it moves, and is too slow
    this.#run();
  }

  /** One more could not be taken: it is dropped, and counted. */
  refuse(confirmed?: Confirmed): void {
    this.events.dropped(1);
    if (confirmed !== undefined) setImmediate(confirmed, false);
  }

  /** Writes what is left, and the last seal, and closes. What is not taken for some seconds is dropped, and counted. */
  async close(): Promise<void> {
    this.#isClosing = true;
    clearTimeout(this.#timer);
    clearInterval(this.#looks);
    this.#delivery.hurry();
    const end = this.#finish();
    if (await standsStill(end, () => this.#delivery.progressedMs))
      this.#fail(new Error('records are not taken'));
    this.target.close();
    await Promise.race([end, pause(LAST_WORD_MS)]);
  }

  /** For a process that ends now, whatever the reason: what is waiting is written before it does. */
  writeNow(): void {
    if (this.#waiting.isEmpty || this.#isClosing) return;
    const lines = this.#waiting.takeAll().flatMap((batch) => batch.lines);
    try {
      this.#delivery.putNow(bytesOf(lines));
    } catch {
      this.events.dropped(lines.length); // and nobody is left to be told
    }
  }

  #add(line: string, isOwn: boolean, confirmed: Confirmed | undefined): void {
    if (this.isFull) return this.refuse(confirmed);
    // Before it is one of those that are told: its own writer is not told from within.
    if (!this.hasRoom) this.#failAsStalled();
    const isKnownToFail = !this.available;
    this.#waiting.add(line, isOwn, isKnownToFail ? undefined : confirmed);
    if (isKnownToFail && confirmed !== undefined) setImmediate(confirmed, false);
    if (this.#running === undefined) this.#runSoon();
  }

  /** Where somebody waits: at the end of this turn of the event loop, with all that comes in it. */
  #runSoon(): void {
    if (this.confirms !== 'never') {
      if (this.#isRunPlanned) return;
      this.#isRunPlanned = true;
      setImmediate(() => {
        this.#isRunPlanned = false;
        this.#run();
      });
    } else if (this.#waiting.bytes >= FLUSH_BYTES) this.#run();
    else this.#timer ??= setTimeout(() => this.#run(), FLUSH_MS);
  }

  #run(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#running === undefined && !this.#isClosing) this.#running = this.#round();
  }

  async #round(): Promise<void> {
    if (this.#isLookDue) await this.#lookAtPlace();
    const isWritten = await this.#writeBatch();
    await this.#sealIfDue();
    if (isWritten && !this.#isAstray && !this.#isUnsealed && this.hasRoom) this.#recover();
    this.#running = undefined;
    if (!this.#waiting.isEmpty && !this.#isClosing) this.#runSoon();
  }

  async #finish(): Promise<void> {
    await this.#running;
    while (!this.#waiting.isEmpty && !this.#hasGivenUp) {
      await this.#writeBatch();
      await this.#sealIfDue();
    }
    for (const batch of this.#waiting.takeAll()) this.#settle(batch, false);
    if (this.sealer?.isOpen === true && !this.#hasGivenUp) await this.#seal(this.sealer, true);
  }

  async #lookAtPlace(): Promise<void> {
    this.#isLookDue = false;
    const { target, sealer } = this;
    try {
      const { hasMoved, bytesLost } = target.look?.() ?? STAYED;
      if (bytesLost > 0) this.events.truncated(bytesLost);
      // Each file ends with a seal, so that each can be verified by itself.
      if (hasMoved && sealer?.isOpen === true && !(await this.#seal(sealer, false))) return;
      if (hasMoved) await target.follow?.();
      this.#isAstray = false;
    } catch (error) {
      this.#isAstray = true; // where no new file can be begun, the old one may still take them
      this.#fail(error as Error);
    }
  }

  /** @returns false where they were given up. */
  async #writeBatch(): Promise<boolean> {
    if (this.#hasGivenUp) return false; // what follows would be glued to half a line
    const batch = this.#waiting.take();
    if (batch === undefined) return true;
    const { lines, own } = batch;
    const bytes = bytesOf(lines);
    if (this.sealer !== undefined && own?.length !== 0)
      this.sealer.cover(own ?? lines, own === undefined ? bytes : bytesOf(own));
    const isWritten = await this.#delivery.put(bytes, lines.length);
    this.#hasGivenUp ||= !isWritten;
    this.#settle(batch, isWritten);
    return isWritten;
  }

  #settle(batch: Batch, isWritten: boolean): void {
    if (isWritten) this.events.written(batch.lines.length);
    else this.events.dropped(batch.lines.length);
    for (const confirmed of batch.takeConfirms()) confirmed(isWritten);
  }

  async #sealIfDue(): Promise<void> {
    if (this.sealer?.isDue === true && !this.#hasGivenUp) await this.#seal(this.sealer, false);
  }

  /** @returns false where it could not be signed, or not be written. */
  async #seal(sealer: RecordSealer, isLast: boolean): Promise<boolean> {
    try {
      const line = await sealer.seal(isLast);
      this.#hasGivenUp ||= !(await this.#delivery.put(Buffer.from(line), 0));
      if (this.#hasGivenUp) return false;
      sealer.sealed();
      this.#isUnsealed = false;
      return true;
    } catch (error) {
      this.#isUnsealed = true;
      this.#fail(error as Error);
      return false;
    }
  }

  #failAsStalled(): void {
    if (this.available) this.#fail(new Error('records are not taken'));
  }

  /** Whoever waits is told now: nobody hangs for as long as an outage lasts. */
  #fail(error: Error): void {
    const told = this.#waiting.takeConfirms();
    if (this.available) {
      this.available = false;
      this.events.failed(error);
    }
    for (const confirmed of told) confirmed(false);
  }

  #recover(): void {
    if (this.available) return;
    this.available = true;
    this.events.recovered();
  }
}
