import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Server } from 'node:net';
import { connect, type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { askChild } from '../support/ask-child.js';
import { HOST, type PemIdentity } from '../support/raw-connection.js';

/**
 * mTLS for h2load, which has no client certificates: plaintext in, mTLS out, in a process of its own. The handshakes are done
 * before it takes anything, so that none is in what is measured.
 */

export interface WrapJob {
  readonly port: number;
  readonly identity: PemIdentity;
  readonly alpn: 'h2' | 'http/1.1';
  readonly connections: number;
}

type WrapAnswer = { readonly port: number } | { readonly error: string };

export class TlsWrapper {
  readonly #child: ChildProcess = fork(fileURLToPath(import.meta.url), ['wrap']);

  /** @returns the port that takes so many plaintext connections. What was wrapped before is ended. */
  async wrap(job: WrapJob): Promise<number> {
    const answer = await askChild<WrapAnswer>(this.#child, { ...job });
    if ('error' in answer) throw new Error(`the wrapper: ${answer.error}`);
    return answer.port;
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}

let ready: TLSSocket[] = [];
let server: Server | undefined;

async function wrap({ port, identity, alpn, connections }: WrapJob): Promise<number> {
  server?.close();
  for (const socket of ready) socket.destroy();
  ready = await Promise.all(Array.from({ length: connections }, () => open(port, identity, alpn)));
  server = createServer({ noDelay: true }, (plain) => {
    const socket = ready.pop();
    if (socket === undefined) return void plain.destroy();
    plain.on('error', () => socket.destroy()).on('close', () => socket.destroy());
    socket.on('close', () => plain.destroy());
    plain.pipe(socket).pipe(plain);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as { port: number }).port;
}

async function open(port: number, identity: PemIdentity, alpn: string): Promise<TLSSocket> {
  const socket = connect({
    host: '127.0.0.1',
    port,
    servername: HOST,
    cert: identity.certificate,
    key: identity.key,
    ALPNProtocols: [alpn],
    minVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256',
    rejectUnauthorized: false, // whom we load is no question here
  });
  socket.setNoDelay(true);
  await once(socket, 'secureConnect');
  socket.on('error', () => undefined);
  if (socket.alpnProtocol !== alpn) throw new Error(`${alpn} was asked for, and not taken`);
  return socket;
}

if (process.argv[2] === 'wrap' && process.send !== undefined) {
  process.on('message', (job: WrapJob) => {
    wrap(job).then(
      (port) => process.send?.({ port } satisfies WrapAnswer),
      (error: unknown) => process.send?.({ error: String(error) } satisfies WrapAnswer),
    );
  });
  process.on('disconnect', () => process.exit(0));
}
