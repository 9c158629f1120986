import type { SealKey } from '../audit/seal-key.js';
import type { Diagnostics } from '../listener/ports.js';
import type { FileSource } from '../sources/file-source.js';
import { SEAL_KEY, sealKeySource } from '../sources/seal-key-source.js';

const LOOK_MS = 1000;

export interface SealKeyEvents {
  readonly diagnostics: Diagnostics;
  record(event: 'seal.key_rotated' | 'seal.key_refused', detail: string): void;
}

/** The key of the supervisor's own seals, watched as the workers watch theirs. */
export class SealKeyWatch {
  readonly source: FileSource<SealKey>;
  #timer: NodeJS.Timeout | undefined;
  #reported: string | undefined;

  constructor(
    file: string,
    readonly events: SealKeyEvents,
  ) {
    const { diagnostics } = events;
    this.source = sealKeySource(file, ({ name }, note) =>
      diagnostics.warn({ source: name, note }, 'adopted, and worth a look'),
    );
  }

  /** @returns why nothing can be sealed. */
  async start(): Promise<string | undefined> {
    await this.source.loadNow();
    if (!this.source.hasValue) return `${SEAL_KEY}: ${this.source.lastError}`;
    this.#timer = setInterval(() => void this.look(), LOOK_MS).unref();
    return undefined;
  }

  async look(): Promise<void> {
    const isNew = await this.source.check();
    const { lastError, value } = this.source;
    if (isNew) this.events.record('seal.key_rotated', `key ${value?.kid}`);
    if (lastError !== undefined && lastError !== this.#reported) {
      this.events.diagnostics.error(
        { source: SEAL_KEY, problem: lastError },
        'refused; the last good version stays in force',
      );
      this.events.record('seal.key_refused', lastError);
    }
    this.#reported = lastError;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
