import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, chownSync, constants, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

/** As whom a process runs; nothing where we are not root anyway. */
export type RunAs = { readonly uid: number; readonly gid: number } | Record<string, never>;

/** A server that we did not write, in a folder of its own, with data that are gone when it stops. */
export class RealServer {
  #said = '';
  readonly #exited: Promise<unknown>;
  readonly #onExit = (): void => void this.child.kill('SIGKILL');

  private constructor(
    readonly child: ChildProcess,
    readonly folder: string,
  ) {
    this.#exited = once(child, 'close');
    const hear = (chunk: Buffer): void => {
      this.#said += chunk.toString();
    };
    child.stdout?.on('data', hear);
    child.stderr?.on('data', hear);
    process.once('exit', this.#onExit); // a test that dies leaves nothing behind
  }

  /** Resolves when it has said `ready`, on either output. */
  static async start(
    command: string,
    args: readonly string[],
    { folder, as, ready }: { readonly folder: string; readonly as: RunAs; readonly ready: string },
  ): Promise<RealServer> {
    const child = spawn(command, args, { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], ...as });
    const server = new RealServer(child, folder);
    while (!server.#said.includes(ready)) {
      const next = [once(child.stdout!, 'data'), once(child.stderr!, 'data'), server.#exited];
      await Promise.race(next);
      if (child.exitCode !== null || child.signalCode !== null) {
        await server.stop();
        throw new Error(`${command} did not start: ${server.#said}`);
      }
    }
    return server;
  }

  /** @param signal what makes it end at once, whoever is still connected. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    process.off('exit', this.#onExit);
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), 5000);
    await this.#exited;
    clearTimeout(timer);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Where a program is, also in folders that a user's PATH leaves out; undefined when it is not installed. */
export function programAt(name: string, ...folders: readonly string[]): string | undefined {
  const places = [...folders, ...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/bin'];
  return places
    .filter((place) => place !== '')
    .map((place) => join(place, name))
    .find(isProgram);
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The first of these users that there is, where we are root: no server of a test needs that, and PostgreSQL refuses it. */
export function runAs(...users: readonly string[]): RunAs {
  if (process.getuid?.() !== 0) return {};
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n');
  for (const user of users) {
    const [, , uid, gid] = lines.find((line) => line.startsWith(`${user}:`))?.split(':') ?? [];
    if (uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
  }
  throw new Error(`none of ${users.join(', ')} is a user here`);
}

/** A folder that is theirs. Short: a unix socket's path holds 107 bytes. */
export function folderFor(as: RunAs): string {
  const folder = mkdtempSync(join(tmpdir(), 'csn-'));
  if ('uid' in as) chownSync(folder, as.uid!, as.gid!);
  return folder;
}

/** A loopback port that was free a moment ago, for servers that cannot be asked for port 0. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
