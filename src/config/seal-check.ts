import { parseSealKey } from '../audit/seal-key.js';
import type { Config } from './config.js';
import type { Problem } from './problem.js';
import type { FileReader } from './trust-check.js';
import type { KeyPath } from './yaml-text.js';

/** Permission bit of stat(2): users that are neither its owner nor of its group may read it. */
const READ_BY_OTHERS = 0o004;

/** What to say of a private key's file that everybody may read; undefined where they may not. @param mode of stat(2) */
export const warnOfKeyMode = (file: string, mode: number): string | undefined =>
  (mode & READ_BY_OTHERS) === 0
    ? undefined
    : `${file}: every user of this machine can read it and sign what it likes; chmod 600 it`;

/** The key that signs seals, read and tried out. @param modeOf undefined where the file cannot be looked at */
export async function checkSealKey(
  config: Config,
  at: (path: KeyPath, message: string) => Problem,
  read: FileReader,
  modeOf: (file: string) => Promise<number | undefined>,
): Promise<{ readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] }> {
  const file = config.audit.seal?.keyFile;
  if (file === undefined) return { problems: [], warnings: [] };
  const path = ['audit', 'seal', 'key'];
  const bytes = await read(file);
  if (!bytes.ok) return { problems: [at(path, bytes.error)], warnings: [] };
  const key = await parseSealKey(bytes.value);
  if (!key.ok) return { problems: [at(path, `${file}: ${key.error}`)], warnings: [] };
  const warning = warnOfKeyMode(file, (await modeOf(file)) ?? 0);
  return { problems: [], warnings: warning === undefined ? [] : [at(path, warning)] };
}
