import { join } from 'node:path';
import { folderFor, freePort, programAt, RealServer, runAs } from './real-server.js';

/** A Redis that speaks plaintext on loopback and on a unix socket, without a password, and keeps nothing. */
export interface RealRedis {
  readonly port: number;
  readonly socketPath: string;
  stop(): Promise<void>;
}

/** Why tests with it are skipped here, or false. */
export const missingRedis = (): string | false =>
  programAt('redis-server') === undefined || redisCli() === undefined ? 'Redis is not installed' : false;

/** Empty. */
export async function startRedis(): Promise<RealRedis> {
  const command = programAt('redis-server');
  if (command === undefined) throw new Error('Redis is not installed');
  const as = runAs('redis', 'nobody');
  const folder = folderFor(as);
  const [port, socketPath] = [await freePort(), join(folder, 'redis.sock')];
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    unixsocket: socketPath,
    unixsocketperm: '777',
    dir: folder,
    save: '',
    appendonly: 'no',
    daemonize: 'no',
    logfile: '',
  };
  const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]);
  const ready = 'connections at'; // said of the unix socket, which is opened last
  const server = await RealServer.start(command, args, { folder, as, ready });
  return { port, socketPath, stop: () => server.stop() };
}

export const redisCli = (): string | undefined => programAt('redis-cli');
