import { readFile, stat } from 'node:fs/promises';
import type { AssertionConfig } from '../config/config.js';
import { warnOfKeyMode } from '../config/seal-check.js';
import { type AssertionKeys, parseAssertionKeys } from '../identity/assertion-key.js';
import { jwksOf, type PublicSigningKey } from '../identity/signing-key.js';
import { err, type Result } from '../reasons.js';
import { FileSource } from './file-source.js';
import type { SourceHost } from './source.js';
import { replaceSynced } from './synced-file.js';

/** For logs, metrics and /snapshot. */
export const ASSERTION_KEY = 'assertion-key';

/** Services under other users read it. */
const PUBLIC_MODE = 0o644;
/** setTimeout takes no more. */
const MAX_TIMER_MS = 2 ** 31 - 1;

type Settings = Pick<AssertionConfig, 'keyFile' | 'overlapMs' | 'jwksFile'>;
type Host = Pick<SourceHost, 'nowMs' | 'noted'>;

/**
 * The keys of assertions. A key that leaves its file signs no more and is published for a while: what it signed last is still
 * under way. Where the public keys are kept in a file they stand there before the first signature is made with them.
 */
export class AssertionKeySource extends FileSource<AssertionKeys> {
  /** Gone from the file, by kid; `untilMs`: published before that. */
  readonly #retired = new Map<string, { readonly key: PublicSigningKey; readonly untilMs: number }>();
  #lapse: NodeJS.Timeout | undefined;
  #writing: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  #from: AssertionKeySource | undefined;

  /** @param from Another file's: what it published is retired here. */
  constructor(
    readonly settings: Settings,
    readonly host: Host,
    from?: AssertionKeySource,
  ) {
    super({
      name: ASSERTION_KEY,
      files: () => [settings.keyFile],
      parse: (contents) => this.#parse(contents.get(settings.keyFile) ?? Buffer.alloc(0)),
      adopted: (next, before) => this.#retire(next, before?.published ?? this.#from?.published ?? []),
    });
    this.#from = from;
  }

  /** The key that signs first, then the others of the file, then those that are retired. */
  get published(): readonly PublicSigningKey[] {
    return this.#withRetired(this.value?.published ?? []);
  }

  override close(): void {
    this.#isClosed = true;
    clearTimeout(this.#lapse);
  }

  get #before(): readonly PublicSigningKey[] {
    return this.value?.published ?? this.#from?.published ?? [];
  }

  async #parse(bytes: Uint8Array): Promise<Result<AssertionKeys, string>> {
    const { keyFile, jwksFile } = this.settings;
    const keys = parseAssertionKeys(bytes);
    if (!keys.ok) return err(`${keyFile}: ${keys.error}`);
    const mode = await stat(keyFile).then(
      (found) => found.mode,
      () => 0,
    );
    const warning = warnOfKeyMode(keyFile, mode);
    if (warning !== undefined) this.host.noted(this, warning);
    if (jwksFile === undefined) return keys;
    const written = await this.#write(
      jwksFile,
      this.#withRetired([...keys.value.published, ...this.#before]),
    );
    return written.ok ? keys : written;
  }

  #retire(next: AssertionKeys, before: readonly PublicSigningKey[]): void {
    const untilMs = this.host.nowMs() + this.settings.overlapMs;
    for (const key of before) this.#retired.set(key.kid, { key, untilMs });
    for (const { kid } of next.published) this.#retired.delete(kid);
    this.#from = undefined;
    this.#awaitLapse();
  }

  #withRetired(keys: readonly PublicSigningKey[]): readonly PublicSigningKey[] {
    const nowMs = this.host.nowMs();
    const retired = [...this.#retired.values()].filter(({ untilMs }) => untilMs > nowMs);
    return jwksOf([...keys, ...retired.map(({ key }) => key)]).keys;
  }

  /** The file, unlike who asks for `published`, has to be told when a key's time is over. */
  #awaitLapse(): void {
    clearTimeout(this.#lapse);
    const nowMs = this.host.nowMs();
    for (const [kid, { untilMs }] of this.#retired) if (untilMs <= nowMs) this.#retired.delete(kid);
    const first = Math.min(...[...this.#retired.values()].map(({ untilMs }) => untilMs));
    if (!Number.isFinite(first) || this.#isClosed) return;
    this.#lapse = setTimeout(() => this.#lapsed(), Math.min(first - nowMs, MAX_TIMER_MS)).unref();
  }

  #lapsed(): void {
    this.#awaitLapse();
    const { jwksFile } = this.settings;
    if (jwksFile === undefined) return;
    void this.#write(jwksFile, this.published).then((written) => {
      if (!written.ok) this.host.noted(this, written.error);
    });
  }

  /** In turn, and only where something else stands there: other processes write the same. */
  #write(file: string, keys: readonly PublicSigningKey[]): Promise<Result<void, string>> {
    const text = `${JSON.stringify(jwksOf(keys), null, 2)}\n`;
    const write = this.#writing.then(async (): Promise<Result<void, string>> => {
      const there = await readFile(file, 'utf8').catch(() => undefined);
      return there === text ? { ok: true, value: undefined } : replaceSynced(file, text, PUBLIC_MODE);
    });
    this.#writing = write;
    return write;
  }
}
