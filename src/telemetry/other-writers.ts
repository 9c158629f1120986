import { readdir, readFile, stat } from 'node:fs/promises';

/** Access mode bits of open(2), as /proc shows a descriptor's flags in octal. */
const WRITES = 0o3;

/**
 * Whether a process that is neither this one nor a child of it has the file open for writing. False too where the system does
 * not tell (no /proc, another user's process, another machine's).
 */
export async function hasOtherWriter(path: string): Promise<boolean> {
  const file = await stat(path).catch(() => undefined);
  if (file === undefined) return false;
  for (const pid of await namesIn('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) continue;
    for (const fd of await namesIn(`/proc/${pid}/fd`)) {
      const open = await stat(`/proc/${pid}/fd/${fd}`).catch(() => undefined);
      if (open === undefined || open.ino !== file.ino || open.dev !== file.dev) continue;
      if ((await isWriting(pid, fd)) && !(await isChild(pid))) return true;
    }
  }
  return false;
}

const namesIn = (folder: string): Promise<string[]> => readdir(folder).catch(() => []);
const textOf = (file: string): Promise<string> => readFile(file, 'utf8').catch(() => '');

async function isWriting(pid: string, fd: string): Promise<boolean> {
  const flags = /^flags:\s*([0-7]+)$/m.exec(await textOf(`/proc/${pid}/fdinfo/${fd}`))?.[1];
  return flags !== undefined && (Number.parseInt(flags, 8) & WRITES) !== 0;
}

async function isChild(pid: string): Promise<boolean> {
  return /^PPid:\s*(\d+)$/m.exec(await textOf(`/proc/${pid}/status`))?.[1] === String(process.pid);
}
