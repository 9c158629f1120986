import type { Readable } from 'node:stream';

const NEWLINE = 0x0a;
/** No record is as long; a worker that sends such a line is broken, and its line is not evidence. */
const MAX_LINE_BYTES = 1024 * 1024;

/** Hands on the whole lines of a stream, never a part of one: those of several workers end up in one place. */
export function relayLines(from: Readable, write: (line: string) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  from.on('data', (chunk: Buffer) => {
    let start = 0;
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
      const tail = chunk.subarray(start, end + 1);
      write((rest.length === 0 ? tail : Buffer.concat([rest, tail])).toString());
      rest = Buffer.alloc(0);
      start = end + 1;
    }
    const left = chunk.subarray(start);
    rest = rest.length === 0 ? left : Buffer.concat([rest, left]);
    if (rest.length > MAX_LINE_BYTES) rest = Buffer.alloc(0);
  });
}
