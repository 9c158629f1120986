import { randomBytes } from 'node:crypto';
import { open, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { err, ok, type Result } from '../reasons.js';

/** On the disk, whole, before anybody is told so: temporary file, fsync, rename, fsync of the folder. */
export async function replaceSynced(file: string, text: string, mode = 0o600): Promise<Result<void, string>> {
  // Through a link, so that the file it leads to is the one that a restart finds.
  const target = await realpath(file).catch(() => file);
  const temporary = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}.tmp`);
  try {
    await writeSynced(temporary, text, mode);
    await rename(temporary, target);
    await syncFolder(dirname(target));
    return ok(undefined);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined);
    return err(`${file}: cannot be written (${codeOf(cause)})`);
  }
}

/** Of a failed effect: its system code, or what it says. */
export const codeOf = (cause: unknown): string => (cause as { code?: string }).code ?? String(cause);

async function writeSynced(file: string, text: string, mode: number): Promise<void> {
  const handle = await open(file, 'wx', mode);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
