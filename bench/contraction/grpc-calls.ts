import { once } from 'node:events';
import { type ClientHttp2Session, connect } from 'node:http2';
import { HOST, type PemIdentity } from '../support/raw-connection.js';

interface Calls {
  readonly port: number;
  readonly identity: PemIdentity;
  /** At once, on one connection. */
  readonly count: number;
}

/** An empty message: not compressed, no bytes. */
const MESSAGE = Buffer.alloc(5);

/** Opens one HTTP/2 connection with `count` gRPC calls on it; each has heard a message of its server when this resolves. */
export async function openCalls({ port, identity, count }: Calls, onEnd: () => void): Promise<void> {
  const session = connect(`https://127.0.0.1:${port}`, {
    cert: identity.certificate,
    key: identity.key,
    servername: HOST,
    ALPNProtocols: ['h2'],
    minVersion: 'TLSv1.3',
    rejectUnauthorized: false, // whom we load is no question here
  });
  session.on('error', () => undefined); // its calls say what became of it
  await once(session, 'remoteSettings');
  await Promise.all(Array.from({ length: count }, () => openCall(session, onEnd)));
}

function openCall(session: ClientHttp2Session, onEnd: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': '/bench.Ledger/Watch',
      ':authority': HOST,
      'content-type': 'application/grpc',
      te: 'trailers',
    });
    let isOpen = false;
    stream.on('error', () => undefined);
    stream.once('close', () => {
      if (isOpen) onEnd();
      else reject(new Error('a call ended before anything was taken away'));
    });
    stream.once('data', () => {
      isOpen = true;
      resolve();
    });
    stream.on('end', () => stream.end());
    stream.write(MESSAGE);
  });
}
