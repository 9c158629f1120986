import { createHash, type Hash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { err, ok, type Result } from '../reasons.js';

const MAX_FILE_BYTES = 64 * 1024 * 1024;
/** Digested between two turns of the event loop: about a millisecond. */
const SLICE_BYTES = 512 * 1024;

/** The files of a source: those it needs, and those that are read where they can be and are the parser's to miss. */
export interface FileNames {
  readonly needed: readonly string[];
  readonly also: readonly string[];
}

export interface Reading {
  readonly contents: ReadonlyMap<string, Buffer>;
  readonly digest: string;
}

/** What the file system says of them, without reading. */
export interface Look {
  readonly key: string;
  /** Device and inode of each file, in order; '' where it is missing. */
  readonly inodes: readonly string[];
  /** Each file put there by rename(2): its change time is later than its last write. */
  readonly renamed: readonly boolean[];
  readonly missing: boolean;
}

/** Other files than those looked at before stand under the names. */
export const isReplaced = (look: Look, inodes: readonly string[]): boolean =>
  !look.missing && look.inodes.some((inode, i) => inode !== inodes[i]);

/** Every one that was replaced came whole, by rename. */
export const isRenamed = (look: Look, inodes: readonly string[]): boolean =>
  look.inodes.every((inode, i) => inode === inodes[i] || look.renamed[i] === true);

export const isInForce = (reading: Result<Reading, string>, digest: string): boolean =>
  reading.ok && reading.value.digest === digest;

export const isSame = (a: Result<Reading, string>, b: Result<Reading, string>): boolean =>
  a.ok && b.ok ? a.value.digest === b.value.digest : a.ok === b.ok;

export const isSameNames = (a: FileNames, b: FileNames): boolean =>
  a.needed.join('\0') === b.needed.join('\0') && a.also.join('\0') === b.also.join('\0');

export async function identify({ needed, also }: FileNames): Promise<Look> {
  let key = '';
  const inodes: string[] = [];
  const renamed: boolean[] = [];
  let missing = false;
  for (const file of [...needed, ...also]) {
    const info = await stat(file, { bigint: true }).catch(() => undefined);
    if (info === undefined) {
      missing = true;
      key += `${file}:missing;`;
      inodes.push('');
      renamed.push(false);
      continue;
    }
    key += `${file}:${info.dev}:${info.ino}:${info.size}:${info.mtimeNs}:${info.ctimeNs};`;
    inodes.push(`${info.dev}:${info.ino}`);
    renamed.push(info.ctimeNs > info.mtimeNs);
  }
  return { key, inodes, renamed, missing };
}

export async function read({ needed, also }: FileNames): Promise<Result<Reading, string>> {
  const contents = new Map<string, Buffer>();
  const hash = createHash('sha256');
  for (const file of [...needed, ...also]) {
    const bytes = await readWhole(file);
    if (!bytes.ok) {
      if (needed.includes(file)) return bytes;
      hash.update(`${file}\0missing\0`);
      continue;
    }
    contents.set(file, bytes.value);
    hash.update(`${file}\0${bytes.value.length}\0`);
    await updateInSlices(hash, bytes.value);
  }
  return ok({ contents, digest: hash.digest('base64url') });
}

/** A long revocation list would hold up every request for as long as its digest takes. */
async function updateInSlices(hash: Hash, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
    if (at > 0) await nextTurn();
    hash.update(bytes.subarray(at, at + SLICE_BYTES));
  }
}

/** A regular file, looked at before it is read: a pipe would never end, a device never stop. */
async function readWhole(file: string): Promise<Result<Buffer, string>> {
  try {
    const info = await stat(file);
    if (!info.isFile()) return err(`${file}: is not a regular file`);
    if (info.size > MAX_FILE_BYTES) return err(`${file}: larger than ${MAX_FILE_BYTES} bytes`);
    const handle = await open(file);
    try {
      return ok(await handle.readFile());
    } finally {
      await handle.close();
    }
  } catch (cause) {
    return err(`${file}: cannot be read (${(cause as { code?: string }).code ?? cause})`);
  }
}
