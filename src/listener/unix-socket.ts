import cluster from 'node:cluster';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  rmSync,
  type Stats,
  unlinkSync,
} from 'node:fs';
import { connect, type ListenOptions, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';

/** What fits into sockaddr_un with its end. */
const MAX_PATH_BYTES = 107;
const PROBE_MS = 1000;
const PREFIX = '.countersign-';

/**
 * A unix socket that nobody else can reach before it has its mode: it is made in a folder of our own, and moved to its place
 * when it has it. Of several workers one makes it; all take connections from it.
 */
export class UnixSocket {
  /** Of the file that we put there: another one is not ours to remove. */
  #ino: number | undefined;

  constructor(
    readonly path: string,
    /** Permission bits. */
    readonly mode: number,
  ) {}

  /** Rejects where the socket cannot be had; says why. */
  async listen(server: Server): Promise<void> {
    if (!cluster.isWorker) await assertFree(this.path); // for workers whoever starts them has looked
    const folder = this.#makeFolder();
    const made = join(folder, 's');
    try {
      if (Buffer.byteLength(made) > MAX_PATH_BYTES) throw new Error(`${this.path} is too long for a socket`);
      await listenOn(server, { path: made });
      this.#put(made);
    } finally {
      removeFolder(folder);
    }
  }

  /** Takes it away, if it is still the one that we put there. */
  remove(): void {
    const stats = lookAt(this.path);
    if (stats === undefined || stats.ino !== this.#ino) return;
    rmSync(this.path, { force: true });
  }

  /** Workers that share a socket name the same place: it is by that name that they get the same one. */
  #makeFolder(): string {
    const prefix = join(dirname(this.path), PREFIX);
    if (!cluster.isWorker) return mkdtempSync(prefix); // 0700
    const folder = `${prefix}${process.ppid}-${basename(this.path)}`;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    return folder;
  }

  #put(made: string): void {
    try {
      chmodSync(made, this.mode);
      renameSync(made, this.path);
    } catch (cause) {
      // Another worker was first.
      if (!cluster.isWorker || (cause as NodeJS.ErrnoException).code !== 'ENOENT') throw cause;
    }
    this.#ino = lookAt(this.path)?.ino;
  }
}

/** Rejects where something is there that is not ours to replace: a socket that somebody listens on, or no socket at all. */
export async function assertFree(path: string): Promise<void> {
  const stats = lookAt(path);
  if (stats === undefined) return;
  if (!stats.isSocket()) throw new Error(`${path} is there and is no socket`);
  if (await isLive(path)) throw new Error(`another process listens on ${path}`);
}

/** Rejects where the server cannot listen there. */
export function listenOn(server: Server, where: ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** A process that is gone leaves its socket behind: connecting to it is refused. Whatever else happens, it is not ours. */
function isLive(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const answer = (live: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(live);
    };
    const timer = setTimeout(() => answer(true), PROBE_MS);
    socket.once('connect', () => answer(true));
    socket.once('error', ({ code }: NodeJS.ErrnoException) =>
      answer(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}

const lookAt = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

function removeFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // another worker is still at it, or something went wrong half-way
    try {
      if (!cluster.isWorker) {
        unlinkSync(join(folder, 's'));
        rmdirSync(folder);
      }
    } catch {
      // what is left holds nothing
    }
  }
}
