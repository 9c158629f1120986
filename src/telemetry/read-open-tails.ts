import { type FileHandle, open, stat } from 'node:fs/promises';
import { ByteLines } from '../audit/byte-lines.js';
import { type OpenTail, OpenTails } from '../audit/open-tails.js';

/** Most of a file's end that is looked at: more than the open batches of many workers. */
const MAX_BYTES = 128 * 1024 * 1024;
const FIRST_BYTES = 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;
/** What a seal may take beyond the time that it is due after. */
const SLACK_MS = 5000;

/**
 * Streams of a file of records that ended without a last word. Nobody may be writing to it. Nothing where there is no such
 * file, or it is no regular one.
 * @param isSealed the last seal is the last word, else the record of the process's end
 * @param everyMs for so long at most a stream leaves a record without a seal
 */
export async function readOpenTails(
  path: string,
  isSealed: boolean,
  everyMs: number,
): Promise<readonly OpenTail[]> {
  // Looked at before it is opened: to open a pipe for reading waits for a writer.
  const before = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (before?.isFile() !== true) return [];
  const file = await open(path);
  try {
    const info = await file.stat();
    for (let bytes = FIRST_BYTES; ; bytes *= 4) {
      const tails = await readEnd(file, info.size, Math.min(bytes, MAX_BYTES), isSealed);
      const isEnough = tails.isConclusive && tails.spanMs > everyMs + SLACK_MS;
      if (isEnough || bytes >= info.size || bytes >= MAX_BYTES) return tails.tails;
    }
  } finally {
    await file.close();
  }
}

async function readEnd(file: FileHandle, size: number, bytes: number, isSealed: boolean): Promise<OpenTails> {
  const start = Math.max(0, size - bytes);
  const tails = new OpenTails(isSealed, start === 0);
  let isFirst = start > 0; // begins anywhere in a line
  const lines = new ByteLines((line, from, to) => {
    if (!isFirst) tails.takeLine(line, from, to);
    isFirst = false;
  });
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  for (let at = start; at < size; ) {
    const { bytesRead } = await file.read(chunk, 0, Math.min(chunk.length, size - at), at);
    if (bytesRead === 0) break; // it was cut meanwhile
    lines.push(chunk.subarray(0, bytesRead));
    at += bytesRead;
  }
  lines.end();
  return tails;
}
