import { stat } from 'node:fs/promises';
import { STDIN } from './record-bytes.js';

/** Of all files together; undefined where one has no end that is known. */
export async function bytesOf(files: readonly string[]): Promise<number | undefined> {
  let sum = 0;
  for (const file of files) {
    const found = file === STDIN ? undefined : await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) return undefined;
    sum += found.size;
  }
  return sum;
}
