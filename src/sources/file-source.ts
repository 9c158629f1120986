import { createHash } from 'node:crypto';
import { readFile, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Result } from '../reasons.js';

/** Between the two equal reads that a file changed in place needs (PRODUCT §4). */
const SETTLE_MS = 250;
/** A file created and written a moment ago, not renamed into place, gets this long to be finished. */
const CREATED_MS = 15;
const MAX_ROUNDS = 40;
const MAX_FILE_BYTES = 64 * 1024 * 1024;

export interface SourceStatus {
  readonly name: string;
  readonly files: readonly string[];
  readonly loadedAt: string | undefined;
  readonly lastError: string | undefined;
  readonly failures: number;
}

export interface SourceSpec<T> {
  /** For logs, metrics and /snapshot, e.g. `bundle:example.org`. */
  readonly name: string;
  /** May change with what was loaded (a configuration names further files). */
  files(): readonly string[];
  /** Everything parsed and checked, or why not. Never half. */
  parse(contents: ReadonlyMap<string, Buffer>): Result<T, string> | Promise<Result<T, string>>;
}

interface Reading {
  readonly contents: ReadonlyMap<string, Buffer>;
  readonly digest: string;
}

/** One all-or-nothing source of files with its own last good value. */
export class FileSource<T> {
  value: T | undefined;
  #loadedAtMs: number | undefined;
  #lastError: string | undefined;
  #failures = 0;
  /** Identity of the files (device, inode, size, times) that were last looked into. */
  #seen = '';
  #inodes = '';
  #digest = '';
  #failedDigest = '';
  #running: Promise<boolean> | undefined;

  constructor(readonly spec: SourceSpec<T>) {}

  get status(): SourceStatus {
    return {
      name: this.spec.name,
      files: this.spec.files(),
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      lastError: this.#lastError,
      failures: this.#failures,
    };
  }

  get loadedAtMs(): number | undefined {
    return this.#loadedAtMs;
  }

  get lastError(): string | undefined {
    return this.#lastError;
  }

  /** Reads at once, whatever the times say. @returns true where a new value was adopted. */
  async loadNow(): Promise<boolean> {
    await this.#running;
    const look = await identify(this.spec.files());
    const reading = await this.#read();
    const adopted = this.#settle(reading, await this.#parse(reading));
    this.#seen = look.key;
    this.#inodes = look.inodes;
    return adopted;
  }

  /** Looks whether the files changed, and adopts what is whole and settled. Safe to call at any rate: calls join. */
  check(): Promise<boolean> {
    this.#running ??= this.#check().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  /** Forget a failure, so that the same bytes are judged again: something they depend on has changed. */
  retry(): Promise<boolean> {
    if (this.#lastError === undefined) return Promise.resolve(false);
    this.#failedDigest = '';
    this.#seen = '';
    return this.check();
  }

  async #check(): Promise<boolean> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const look = await identify(this.spec.files());
      if (look.key === this.#seen) return false;
      const replaced = !look.missing && look.inodes !== this.#inodes;
      const early = await this.#read();
      // A file gone for milliseconds is not gone (kubernetes#92851), and one changed in place may be half written: both
      // get time. A new inode is whole if it was renamed into place; if it was created there, it gets a moment.
      await delay(!replaced ? SETTLE_MS : look.renamed ? 0 : CREATED_MS);
      let reading = await this.#read();
      if (!same(early, reading) || (await identify(this.spec.files())).key !== look.key) continue;
      let parsed = await this.#parse(reading);
      if (replaced && !parsed.ok) {
        await delay(SETTLE_MS);
        reading = await this.#read();
        if ((await identify(this.spec.files())).key !== look.key) continue;
        parsed = await this.#parse(reading);
      }
      this.#seen = look.key;
      this.#inodes = look.inodes;
      return this.#settle(reading, parsed);
    }
    return this.#fail('the files keep changing; the last good version stays', '');
  }

  async #parse(reading: Result<Reading, string>): Promise<Result<T | undefined, string>> {
    if (!reading.ok) return reading;
    if (reading.value.digest === this.#digest) return { ok: true, value: undefined };
    return this.spec.parse(reading.value.contents);
  }

  async #read(): Promise<Result<Reading, string>> {
    const contents = new Map<string, Buffer>();
    const hash = createHash('sha256');
    for (const file of this.spec.files()) {
      try {
        const bytes = await readFile(file);
        if (bytes.length > MAX_FILE_BYTES)
          return { ok: false, error: `${file}: larger than ${MAX_FILE_BYTES} bytes` };
        contents.set(file, bytes);
        hash.update(`${file}\0${bytes.length}\0`).update(bytes);
      } catch (cause) {
        return {
          ok: false,
          error: `${file}: cannot be read (${(cause as { code?: string }).code ?? cause})`,
        };
      }
    }
    return { ok: true, value: { contents, digest: hash.digest('base64url') } };
  }

  #settle(reading: Result<Reading, string>, parsed: Result<T | undefined, string>): boolean {
    const digest = reading.ok ? reading.value.digest : '';
    if (!parsed.ok) return this.#fail(parsed.error, digest);
    this.#failedDigest = '';
    this.#lastError = undefined;
    if (parsed.value === undefined) return false; // what is in force already
    this.value = parsed.value;
    this.#digest = digest;
    this.#loadedAtMs = Date.now();
    return true;
  }

  #fail(error: string, digest: string): false {
    if (digest !== '' && digest === this.#failedDigest) return false;
    if (digest === '' && this.#lastError === error) return false;
    this.#failedDigest = digest;
    this.#lastError = error;
    this.#failures++;
    return false;
  }
}

interface Look {
  readonly key: string;
  readonly inodes: string;
  /** All put there by rename(2): the change time is later than the last write. */
  readonly renamed: boolean;
  readonly missing: boolean;
}

const same = (a: Result<Reading, string>, b: Result<Reading, string>): boolean =>
  a.ok === b.ok && (!a.ok || !b.ok || a.value.digest === b.value.digest);

async function identify(files: readonly string[]): Promise<Look> {
  let key = '';
  let inodes = '';
  let renamed = true;
  let missing = false;
  for (const file of files) {
    const info = await stat(file, { bigint: true }).catch(() => undefined);
    if (info === undefined) {
      missing = true;
      key += `${file}:missing;`;
      continue;
    }
    key += `${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs};`;
    inodes += `${info.dev}:${info.ino};`;
    if (info.ctimeNs <= info.mtimeNs) renamed = false;
  }
  return { key, inodes, renamed, missing };
}
