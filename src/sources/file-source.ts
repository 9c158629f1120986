import { setTimeout as delay } from 'node:timers/promises';
import { err, ok, type Result } from '../reasons.js';
import {
  type FileNames,
  identify,
  isInForce,
  isRenamed,
  isReplaced,
  isSame,
  isSameNames,
  type Look,
  type Reading,
  read,
} from './file-reading.js';
import type { Source, SourceStatus } from './source.js';

/** Between the two equal reads that a file changed in place needs (PRODUCT §4). */
const SETTLE_MS = 250;
/** And where the new content lacks something of the old: half of a file that is still being written may be whole in form. */
const SHRUNK_SETTLE_MS = 1000;
/** A file created and written a moment ago, not renamed into place, gets this long to be finished. */
const CREATED_MS = 15;
const MAX_ROUNDS = 40;

export interface SourceSpec<T> {
  /** For logs, metrics and /snapshot, e.g. `bundle:example.org`. */
  readonly name: string;
  files(): readonly string[];
  /** Further files that `parse` looks at by itself, and that may be missing. May change with what was parsed. */
  alsoFiles?(): readonly string[];
  /** Everything parsed and checked, or why not. Never half. */
  parse(contents: ReadonlyMap<string, Buffer>): Result<T, string> | Promise<Result<T, string>>;
  /** True where it could not be judged for want of something that has not come yet: no fault of what stands in the files. */
  isAwaited?(): boolean;
  /** Why what is in force is out of date by now; undefined while it is not. */
  outdated?(value: T): string | undefined;
  /** True where `next` lacks something that `current` has. */
  hasShrunk?(next: T, current: T): boolean;
  /** Told when `next` takes the place of what was in force. */
  adopted?(next: T, before: T | undefined): void;
}

/** One all-or-nothing source of files with its own last good value. */
export class FileSource<T> implements Source {
  value: T | undefined;
  #loadedAtMs: number | undefined;
  #lastError: string | undefined;
  #failures = 0;
  /** Identity of the files (device, inode, size, times) that were last looked into. */
  #seen = '';
  #inodes: readonly string[] = [];
  #digest = '';
  #failedDigest = '';
  /** Loads and checks run one after the other, so that an older reading never overwrites a newer one. */
  #turn: Promise<unknown> = Promise.resolve();
  #waiting: Promise<boolean> | undefined;
  #busy = 0;

  constructor(readonly spec: SourceSpec<T>) {}

  get name(): string {
    return this.spec.name;
  }

  get hasValue(): boolean {
    return this.value !== undefined;
  }

  get stale(): string | undefined {
    return this.value === undefined ? undefined : this.spec.outdated?.(this.value);
  }

  get isAwaited(): boolean {
    return this.value === undefined && (this.spec.isAwaited?.() ?? false);
  }

  get status(): SourceStatus {
    return {
      name: this.spec.name,
      files: this.files,
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      lastError: this.#lastError,
      failures: this.#failures,
    };
  }

  /** Everything to watch. */
  get files(): readonly string[] {
    return [...this.spec.files(), ...(this.spec.alsoFiles?.() ?? [])];
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Failed, or being looked into: what it was judged against may be out of date by the time it is judged. */
  get isUnsettled(): boolean {
    return this.#lastError !== undefined || this.#busy > 0;
  }

  /** The first load: reads once, at once. @returns true where a value was adopted. */
  loadNow(): Promise<boolean> {
    return this.#inTurn(async () => {
      let files = this.#names();
      for (;;) {
        const look = await identify(files);
        const reading = await read(files);
        const parsed = await this.#parse(reading);
        const named = this.#names();
        this.#seen = look.key;
        this.#inodes = look.inodes;
        if (isSameNames(named, files)) return this.#settle(reading, parsed);
        files = named; // what was read names further files: all of them are the source
      }
    });
  }

  /**
   * Looks whether the files changed, and adopts what is whole and settled. Safe to call at any rate: calls that wait for their
   * turn are one, and a call during a check is followed by another check, so that no change falls between two.
   */
  check(): Promise<boolean> {
    this.#waiting ??= this.#inTurn(() => {
      this.#waiting = undefined;
      return this.#check();
    });
    return this.#waiting;
  }

  /** A check that reads whatever the times say, and judges again what failed: what it depends on may have changed. */
  refresh(): Promise<boolean> {
    return this.#inTurn(() => {
      this.#seen = '';
      return this.#check(true);
    });
  }

  close(): void {
    // Nothing is open between two looks.
  }

  #names(): FileNames {
    return { needed: this.spec.files(), also: this.spec.alsoFiles?.() ?? [] };
  }

  #hasShrunk(parsed: Result<T | undefined, string>): boolean {
    const { value, spec } = this;
    if (!parsed.ok || parsed.value === undefined || value === undefined) return false;
    return spec.hasShrunk?.(parsed.value, value) ?? false;
  }

  #inTurn(work: () => Promise<boolean>): Promise<boolean> {
    this.#busy++;
    const run = this.#turn.then(work).finally(() => this.#busy--);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  async #check(asked = false): Promise<boolean> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const files = this.#names();
      const look = await identify(files);
      if (look.key === this.#seen) return false;
      const early = await read(files);
      const reading = isInForce(early, this.#digest) ? early : await this.#readSettled(files, look, early);
      if (reading === undefined) continue;
      const replaced = isReplaced(look, this.#inodes);
      let parsed = await this.#parse(reading);
      // Also after the parsing, which may have read files itself, or have named further ones.
      if (!(await this.#isStill(files, look))) continue;
      if (replaced && !parsed.ok) {
        // It may have been created in place and be half written still, or be ahead of what it depends on.
        await delay(SETTLE_MS);
        if (!isSame(reading, await read(files))) continue;
        parsed = await this.#parse(reading);
        if (!(await this.#isStill(files, look))) continue;
      }
      if (!replaced && !asked && this.#hasShrunk(parsed)) {
        await delay(SHRUNK_SETTLE_MS - SETTLE_MS);
        if (!(await this.#isStill(files, look)) || !isSame(reading, await read(files))) continue;
      }
      this.#seen = look.key;
      this.#inodes = look.inodes;
      return this.#settle(reading, parsed);
    }
    this.#fail('the files keep changing; the last good version stays', '');
    return false;
  }

  /**
   * The content once it can be taken for whole, or undefined when it moved meanwhile. A file gone for milliseconds is not
   * gone (kubernetes#92851), and one changed in place may be half written: both get time. A new inode is whole if it was
   * renamed into place; if it was created there, it gets a moment.
   */
  async #readSettled(
    files: FileNames,
    look: Look,
    early: Result<Reading, string>,
  ): Promise<Result<Reading, string> | undefined> {
    await delay(!isReplaced(look, this.#inodes) ? SETTLE_MS : isRenamed(look, this.#inodes) ? 0 : CREATED_MS);
    const reading = await read(files);
    return isSame(early, reading) && (await identify(files)).key === look.key ? reading : undefined;
  }

  async #isStill(files: FileNames, look: Look): Promise<boolean> {
    return isSameNames(this.#names(), files) && (await identify(files)).key === look.key;
  }

  async #parse(reading: Result<Reading, string>): Promise<Result<T | undefined, string>> {
    if (!reading.ok) return reading;
    if (reading.value.digest === this.#digest) return ok(undefined);
    try {
      return await this.spec.parse(reading.value.contents);
    } catch (cause) {
      // A file that a parser stumbles over is a bad file, never the end of the process.
      return err(`cannot be parsed: ${cause instanceof Error ? cause.message : String(cause)}`);
    }
  }

  #settle(reading: Result<Reading, string>, parsed: Result<T | undefined, string>): boolean {
    const digest = reading.ok ? reading.value.digest : '';
    if (!parsed.ok) {
      this.#fail(parsed.error, digest);
      return false;
    }
    this.#failedDigest = '';
    this.#lastError = undefined;
    if (parsed.value === undefined) return false; // what is in force already
    const before = this.value;
    this.value = parsed.value;
    this.spec.adopted?.(parsed.value, before);
    this.#digest = digest;
    this.#loadedAtMs = Date.now();
    return true;
  }

  #fail(error: string, digest: string): void {
    if (digest !== this.#failedDigest || error !== this.#lastError) this.#failures++;
    this.#failedDigest = digest;
    this.#lastError = error;
  }
}
