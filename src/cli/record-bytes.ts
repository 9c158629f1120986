import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip } from 'node:zlib';
import { err, ok, type Result } from '../reasons.js';

export const STDIN = '-';
const CHUNK_BYTES = 256 * 1024;
/** What Node says where a stream ended before all that was to go into it. */
const ENDED_EARLY = new Set(['ABORT_ERR', 'ERR_STREAM_PREMATURE_CLOSE']);
const GZIP_MAGIC = Buffer.of(0x1f, 0x8b);

export interface RecordSource {
  /** Absolute path, or `-`. */
  readonly file: string;
  readonly stdin?: (() => Readable) | undefined;
  /** Told of every piece that was read, in bytes as they are in the file. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

/**
 * Reads a record file piece by piece, plain or gzip (told by its first bytes; several members may follow each other), in memory
 * that does not grow with it. A piece is the reader's own until the next is given: what is kept of it is copied.
 * @param take false = it is enough.
 * @returns for a person, why it could not be read to its end. `place` says how far it came.
 */
export async function readRecordBytes(
  source: RecordSource,
  take: (bytes: Buffer) => unknown,
  place: () => string,
): Promise<Result<undefined, string>> {
  let bytes = 0;
  const onBytes = (count: number): void => {
    bytes += count;
    source.onBytes?.(count);
  };
  let isEnough = false;
  let isTaken = false;
  const takeAll = async (chunks: AsyncIterable<Buffer>): Promise<void> => {
    for await (const chunk of chunks) {
      isEnough = take(chunk) === false;
      if (isEnough) return;
    }
    isTaken = true;
  };
  try {
    const { isGzip, chunks } = await open(source, onBytes);
    if (!isGzip) await takeAll(chunks);
    else {
      const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
      await pipeline(chunks, gunzip, takeAll);
      if (!isEnough && gunzip.bytesWritten < bytes) return err(somethingElse(source));
    }
    return ok(undefined);
  } catch (cause) {
    if (isEnough) return ok(undefined);
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === undefined) throw cause; // a defect of ours
    if (isTaken && ENDED_EARLY.has(code)) return err(somethingElse(source));
    const isGzip = code.startsWith('Z_');
    const why = isGzip ? `gzip that is broken after ${place()} (${message})` : `cannot be read (${code})`;
    return err(`${source.file}: ${why}`);
  }
}

/** Node takes what follows the last member for padding and drops it, sometimes before all of it was read: here it may be records. */
const somethingElse = ({ file }: RecordSource): string =>
  `${file}: after its end as gzip there is something else`;

interface Opened {
  readonly isGzip: boolean;
  readonly chunks: AsyncIterable<Buffer>;
}

async function open({ file, stdin }: RecordSource, onBytes: (bytes: number) => void): Promise<Opened> {
  const stream =
    file === STDIN && stdin !== undefined ? stdin() : createReadStream(file, { highWaterMark: CHUNK_BYTES });
  const rest = stream[Symbol.asyncIterator]() as AsyncIterableIterator<Buffer>;
  let head: Buffer = Buffer.alloc(0);
  while (head.length < GZIP_MAGIC.length) {
    const next = await rest.next(); // a pipe may give a byte at a time
    if (next.done === true) break;
    head = Buffer.concat([head, next.value]);
  }
  return {
    isGzip: head.subarray(0, GZIP_MAGIC.length).equals(GZIP_MAGIC),
    chunks: rejoined(head, rest, onBytes),
  };
}

async function* rejoined(
  head: Buffer,
  rest: AsyncIterable<Buffer>,
  onBytes: (bytes: number) => void,
): AsyncGenerator<Buffer> {
  onBytes(head.length);
  if (head.length > 0) yield head;
  for await (const chunk of rest) {
    onBytes(chunk.length);
    yield chunk;
  }
}
