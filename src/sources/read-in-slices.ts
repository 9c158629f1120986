import { setImmediate as turn } from 'node:timers/promises';
import type { Reading } from '../identity/workload-update.js';
import { err, type Result } from '../reasons.js';

/** Longer than this no message keeps requests waiting, one heavy item apart. */
const SLICE_MS = 5;

/** Reads to the end, letting others work in between; undefined when `isWanted` says no meanwhile. */
export async function readInSlices<T>(
  reading: Reading<T>,
  isWanted: () => boolean,
): Promise<Result<T, string> | undefined> {
  let sliceEnd = performance.now() + SLICE_MS;
  try {
    for (;;) {
      const step = reading.next();
      if (step.done) return step.value;
      if (performance.now() < sliceEnd) continue;
      await turn();
      if (!isWanted()) return undefined;
      sliceEnd = performance.now() + SLICE_MS;
    }
  } catch (cause) {
    // What a parser stumbles over is a bad message, never the end of the process.
    return err(`it cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
}
