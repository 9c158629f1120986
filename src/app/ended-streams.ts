import type { OpenTail } from '../audit/open-tails.js';
import type { GapFields } from '../audit/record.js';
import type { StreamName } from '../audit/seal-line.js';
import type { Diagnostics } from '../listener/ports.js';
import { hasOtherWriter } from '../telemetry/other-writers.js';
import { readOpenTails } from '../telemetry/read-open-tails.js';

const LOOK_AGAIN_MS = 1000;

export interface EndedStreamsOptions {
  /** `-` is stdout, of which nothing can be read back. */
  readonly file: string;
  /** Milliseconds after which a record is sealed; undefined where nothing is. */
  readonly sealedEveryMs: number | undefined;
  readonly diagnostics: Diagnostics;
  writeGap(gap: GapFields, detail: string): void;
}

type IsIt = (stream: StreamName) => boolean;

/**
 * Says of each stream of the file whose process was killed how far it is there. What no seal of its own covers is taken over:
 * the hash of it stands in a record that our own seals cover.
 */
export class EndedStreams {
  #again: NodeJS.Timeout | undefined;
  #isWaiting = false;
  #isClosed = false;

  constructor(readonly options: EndedStreamsOptions) {}

  /** Of all streams but those that are alive; not before nobody else writes to the file, who may be what is left of them. */
  async declareAll(isAlive: IsIt): Promise<void> {
    const { file, diagnostics } = this.options;
    const tails = (await this.#read()).filter(({ stream }) => !isAlive(stream));
    if (tails.length === 0 || this.#isClosed) return;
    if (!(await hasOtherWriter(file))) return this.#declare(tails);
    if (!this.#isWaiting)
      diagnostics.warn(
        { file },
        'another process writes to the file of records: what earlier ones left is taken over when it is gone',
      );
    this.#isWaiting = true;
    this.#again = setTimeout(() => void this.declareAll(isAlive), LOOK_AGAIN_MS).unref();
  }

  /** Of a process that is known to be gone. */
  async declareLost(isLost: IsIt): Promise<void> {
    this.#declare((await this.#read()).filter(({ stream }) => isLost(stream)));
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#again);
  }

  async #read(): Promise<readonly OpenTail[]> {
    const { file, sealedEveryMs, diagnostics } = this.options;
    try {
      return file === '-' ? [] : await readOpenTails(file, sealedEveryMs !== undefined, sealedEveryMs ?? 0);
    } catch (error) {
      // Not the end: what is not taken over stays an open tail, and `audit verify` says so.
      diagnostics.error({ err: error, file }, 'the end of the file of records cannot be read');
      return [];
    }
  }

  #declare(tails: readonly OpenTail[]): void {
    const { file, sealedEveryMs, diagnostics, writeGap } = this.options;
    const isSealed = sealedEveryMs !== undefined;
    if (this.#isClosed) return;
    for (const tail of tails) {
      const { boot, worker } = tail.stream;
      const adopted = isSealed && tail.lines !== undefined ? { adopted: tail.lines } : {};
      const detail = detailOf(tail, isSealed);
      writeGap({ why: 'ended_without_last_word', boot, worker, after: tail.after, ...adopted }, detail);
      diagnostics.warn({ file, boot, worker }, detail);
    }
  }
}

function detailOf({ stream, after, unsealed, lines }: OpenTail, isSealed: boolean): string {
  const which = `boot ${stream.boot}, worker ${stream.worker} ended without a last word; its last record here is ${after}`;
  if (!isSealed) return which;
  if (unsealed === 0)
    return lines === undefined ? which : `${which}; a torn line after it is taken over as it stands`;
  if (lines === undefined) return `${which}; its records without a seal begin too far back to be taken over`;
  return `${which}; records ${lines.from} to ${lines.to}, which it had not sealed, are taken over as they stand`;
}
