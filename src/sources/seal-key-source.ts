import { stat } from 'node:fs/promises';
import { parseSealKey, type SealKey } from '../audit/seal-key.js';
import { warnOfKeyMode } from '../config/seal-check.js';
import { err } from '../reasons.js';
import { FileSource } from './file-source.js';

/** For logs, metrics and /snapshot. */
export const SEAL_KEY = 'seal-key';

/** The private key that signs seals, tried out before it is adopted. @param noted told of a file that everybody may read */
export function sealKeySource(
  file: string,
  noted: (source: FileSource<SealKey>, note: string) => void,
): FileSource<SealKey> {
  const source: FileSource<SealKey> = new FileSource<SealKey>({
    name: SEAL_KEY,
    files: () => [file],
    parse: async (contents) => {
      const key = await parseSealKey(contents.get(file) ?? Buffer.alloc(0));
      if (!key.ok) return err(`${file}: ${key.error}`);
      const mode = await stat(file).then(
        (found) => found.mode,
        () => 0,
      );
      const warning = warnOfKeyMode(file, mode);
      if (warning !== undefined) noted(source, warning);
      return key;
    },
  });
  return source;
}
