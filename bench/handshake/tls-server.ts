import { once } from 'node:events';
import { request } from 'node:https';
import { fileURLToPath } from 'node:url';
import type { BenchPki } from '../support/bench-pki.js';
import { clientContext, HOST, type PemIdentity, startHandshake } from '../support/raw-connection.js';
import { freePort, RunningProgram } from '../support/running-program.js';
import type { WorkFolder } from '../support/work-folder.js';

export interface TlsServer {
  readonly program: RunningProgram;
  readonly port: number;
}

export async function startTlsServer(
  folder: WorkFolder,
  { files }: BenchPki,
  nodePath: string,
  tickets: 'on' | 'off',
): Promise<TlsServer> {
  const port = await freePort();
  const script = fileURLToPath(new URL('./server.js', import.meta.url));
  const program = await RunningProgram.start({
    command: nodePath,
    args: [script, String(port), files.certificate, files.key, tickets],
    outputFile: folder.log(`tickets-${tickets}.log`),
    port,
  });
  return { program, port };
}

/** What the server's process sees of its client on one connection. */
export interface Shown {
  readonly isResumed: boolean;
  readonly certificates: number;
}

/** The same client twice: with a full handshake, and with the session of that resumed. */
export async function whatIsShown(
  port: number,
  caller: PemIdentity,
): Promise<{ readonly full: Shown; readonly resumed: Shown }> {
  const first = startHandshake(port, clientContext(caller));
  const [session] = (await once(first.resume(), 'session')) as [Buffer];
  first.on('error', () => undefined).end(); // it has served its purpose
  return { full: await askOn(port, caller), resumed: await askOn(port, caller, session) };
}

function askOn(port: number, caller: PemIdentity, session?: Buffer): Promise<Shown> {
  return new Promise((resolve, reject) => {
    const socket = startHandshake(port, clientContext(caller), session);
    const asking = request({ createConnection: () => socket, host: HOST }, (response) => {
      response.setEncoding('utf8');
      let body = '';
      response.on('data', (chunk: string) => {
        body += chunk;
      });
      response.on('end', () => {
        socket.destroy();
        resolve(JSON.parse(body) as Shown);
      });
    });
    asking.once('error', reject).end();
  });
}
