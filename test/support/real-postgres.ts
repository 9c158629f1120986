import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { folderFor, freePort, programAt, RealServer, type RunAs, runAs } from './real-server.js';

const PACKAGES = '/usr/lib/postgresql';
const run = promisify(execFile);

/** A PostgreSQL that speaks plaintext on loopback and on a unix socket, and lets in whoever says `app`. */
export interface RealPostgres {
  readonly port: number;
  readonly socketPath: string;
  readonly user: string;
  readonly database: string;
  stop(): Promise<void>;
}

/** Why tests with it are skipped here, or false. */
export const missingPostgres = (): string | false =>
  programOf('postgres') === undefined || programOf('psql') === undefined
    ? 'PostgreSQL is not installed'
    : false;

/** With empty data, gone when it stops. */
export async function startPostgres(): Promise<RealPostgres> {
  const [postgres, initdb] = [programOf('postgres'), programOf('initdb')];
  if (postgres === undefined || initdb === undefined) throw new Error('PostgreSQL is not installed');
  const as = runAs('postgres', 'nobody');
  const folder = folderFor(as);
  const data = join(folder, 'data');
  await initialise(initdb, data, as);
  const port = await freePort();
  const settings = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: folder,
    logging_collector: 'off',
    log_destination: 'stderr',
    fsync: 'off',
    max_connections: '20',
    shared_buffers: '1MB',
    autovacuum: 'off',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  const server = await RealServer.start(postgres, ['-D', data, '-p', String(port), ...args], {
    folder,
    as,
    ready: 'ready to accept connections',
  });
  return {
    port,
    socketPath: join(folder, `.s.PGSQL.${port}`),
    user: 'app',
    database: 'postgres',
    stop: () => server.stop('SIGINT'), // "fast": SIGTERM would wait until every client has gone
  };
}

/** Of the newest version that is installed. */
export const programOf = (name: 'postgres' | 'initdb' | 'psql' | 'pgbench'): string | undefined =>
  programAt(name, ...folders());

async function initialise(initdb: string, data: string, as: RunAs): Promise<void> {
  const args = ['-D', data, '-U', 'app', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync'];
  await run(initdb, args, { ...as, cwd: '/', env: { PATH: process.env.PATH, TZ: 'UTC' } });
}

/** Debian keeps a folder for each version; the newest first. */
function folders(): string[] {
  try {
    const versions = readdirSync(PACKAGES).sort((a, b) => Number(b) - Number(a));
    return versions.map((version) => join(PACKAGES, version, 'bin'));
  } catch {
    return [];
  }
}
