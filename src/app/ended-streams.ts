import type { OpenTail } from '../audit/open-tails.js';
import type { GapFields } from '../audit/record.js';
import type { StreamName } from '../audit/seal-line.js';
import type { Diagnostics } from '../listener/ports.js';
import { readOpenTails } from '../telemetry/read-open-tails.js';

export interface EndedStreamsOptions {
  /** `-` is stdout, of which nothing can be read back. */
  readonly file: string;
  readonly isSealed: boolean;
  readonly diagnostics: Diagnostics;
  /** False of a stream that is still being written. */
  isEnded(stream: StreamName): boolean;
  writeGap(gap: GapFields, detail: string): void;
}

/**
 * Says of each stream of the file whose process was killed how far it is there. What no seal of its own covers is taken over:
 * the hash of it stands in a record that our own seals cover.
 */
export async function declareEndedStreams(options: EndedStreamsOptions): Promise<void> {
  const { file, isSealed, diagnostics, isEnded, writeGap } = options;
  if (file === '-') return;
  try {
    for (const tail of await readOpenTails(file, isSealed)) {
      if (!isEnded(tail.stream)) continue;
      const { boot, worker } = tail.stream;
      const adopted = isSealed && tail.lines !== undefined ? { adopted: tail.lines } : {};
      const why = 'ended_without_last_word';
      const detail = detailOf(tail, isSealed);
      writeGap({ why, boot, worker, after: tail.after, ...adopted }, detail);
      diagnostics.warn({ file, boot, worker }, detail);
    }
  } catch (error) {
    // Not the end: what is not taken over stays an open tail, and `audit verify` says so.
    diagnostics.error(
      { err: error, file },
      'what earlier processes left in the file of records cannot be read',
    );
  }
}

function detailOf({ stream, after, unsealed, lines }: OpenTail, isSealed: boolean): string {
  const which = `boot ${stream.boot}, worker ${stream.worker} ended without a last word; its last record here is ${after}`;
  if (!isSealed || unsealed === 0) return which;
  if (lines === undefined) return `${which}; its records without a seal begin too far back to be taken over`;
  return `${which}; records ${lines.from} to ${lines.to}, which it had not sealed, are taken over as they stand`;
}
