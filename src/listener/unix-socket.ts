import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, mkdirSync, mkdtempSync, renameSync, rmSync, type Stats } from 'node:fs';
import { connect, type ListenOptions, type Server } from 'node:net';
import { basename, dirname, join } from 'node:path';

/** What fits into sockaddr_un with its end. */
const MAX_PATH_BYTES = 107;
const PROBE_MS = 1000;
const PREFIX = '.cs';

/**
 * A unix socket that nobody can reach before it has its mode: it is made in a folder of our own, and moved to its place when it
 * has it. Of several workers one makes it, and all take connections from it: whoever starts them calls `shareSockets` before.
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
    if (cluster.isWorker) return this.#listenAt(server, sharedPlace(this.path, process.ppid));
    await assertFree(this.path);
    const folder = mkdtempSync(join(dirname(this.path), PREFIX)); // 0700
    try {
      await this.#listenAt(server, join(folder, 's'));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  /** Takes it away, if it is still the one that we put there. */
  remove(): void {
    const stats = lookAt(this.path);
    if (stats !== undefined && stats.ino === this.#ino) rmSync(this.path, { force: true });
  }

  async #listenAt(server: Server, made: string): Promise<void> {
    const excess = Buffer.byteLength(made) - MAX_PATH_BYTES;
    if (excess > 0)
      throw new Error(`${this.path}: its folder's path is ${excess} bytes too long for sockets`);
    await listenOn(server, { path: made });
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

/** Before workers start: their sockets have a folder to be made in, and nobody else is there. */
export async function shareSockets(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    await assertFree(path);
    const place = sharedPlace(path, process.pid);
    makeOwnFolder(dirname(place));
    rmSync(place, { force: true });
  }
}

/** In a folder that everybody may write to, somebody else may have been first. */
function makeOwnFolder(folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const stats = lookAt(folder);
  const isOurs =
    stats?.isDirectory() === true && stats.uid === process.getuid?.() && (stats.mode & 0o77) === 0;
  if (!isOurs) throw new Error(`${folder} is there, and others can reach into it`);
}

/** When the workers are gone. */
export function unshareSockets(paths: readonly string[]): void {
  for (const path of paths) rmSync(dirname(sharedPlace(path, process.pid)), { recursive: true, force: true });
}

/** Workers get one socket by asking for one place. */
function sharedPlace(path: string, pid: number): string {
  const name = createHash('sha256').update(basename(path)).digest('hex').slice(0, 8);
  return join(dirname(path), `${PREFIX}${pid}`, name);
}

/** Rejects where something is there that is not ours to replace: a socket that somebody listens on, or no socket at all. */
async function assertFree(path: string): Promise<void> {
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
    socket.on('error', ({ code }: NodeJS.ErrnoException) =>
      answer(code !== 'ECONNREFUSED' && code !== 'ENOENT'),
    );
  });
}

const lookAt = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });
