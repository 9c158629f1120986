import type { Readable } from 'node:stream';

const NEWLINE = 0x0a;
/** No record is as long; a worker that sends such a line is broken, and its line is not evidence. */
const MAX_LINE_BYTES = 1024 * 1024;
const LOOK_MS = 50;

/** Where the lines of several workers go. */
export interface LineTaker {
  take(line: string): void;
  /** False: more should not come now. They stay with their worker, which knows what to do with too many, and to say so. */
  hasRoom(): boolean;
}

/**
 * Hands on the whole lines of a stream, never a part of one: those of several workers end up in one place.
 * @returns to be called when the worker is gone: what is left of its lines is read in any case.
 */
export function relayLines(from: Readable, taker: LineTaker): () => void {
  let rest: Buffer = Buffer.alloc(0);
  let isGone = false;
  let look: NodeJS.Timeout | undefined;
  const goOn = (): void => {
    clearInterval(look);
    look = undefined;
    from.resume();
  };
  from.on('data', (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, end + 1);
      taker.take((rest.length === 0 ? tail : Buffer.concat([rest, tail])).toString());
      rest = Buffer.alloc(0);
      start = end + 1;
    }
    const left = chunk.subarray(start);
    rest = rest.length === 0 ? left : Buffer.concat([rest, left]);
    if (rest.length > MAX_LINE_BYTES) rest = Buffer.alloc(0);
    if (isGone || taker.hasRoom()) return;
    from.pause();
    look ??= setInterval(() => taker.hasRoom() && goOn(), LOOK_MS);
  });
  return () => {
    isGone = true;
    goOn();
  };
}
