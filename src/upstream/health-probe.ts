import { connect as connectHttp2 } from 'node:http2';
import type { HealthCheckConfig } from '../config/config.js';
import { Failure } from '../reasons.js';
import type { Alpn, Carrier, Connector } from './connector.js';
import { ResponseParser } from './response-parser.js';

export type Spoken = 'http1' | 'http2' | 'auto' | 'tcp';

const ALPN: Readonly<Record<Spoken, readonly Alpn[]>> = {
  http1: ['http/1.1'],
  http2: ['h2'],
  auto: ['h2', 'http/1.1'],
  tcp: [],
};

/**
 * Asks one target once, on a connection of its own, without anybody's identity.
 * @returns what is wrong with it; undefined = nothing. Never rejects, and never takes longer than the check's timeout.
 */
export function probeTarget(
  connector: Connector,
  spoken: Spoken,
  { path, timeoutMs }: Pick<HealthCheckConfig, 'path' | 'timeoutMs'>,
): Promise<string | undefined> {
  const alpn = ALPN[spoken];
  return new Promise((resolve) => {
    const untilMs = performance.now() + timeoutMs;
    connector.open({ connectMs: timeoutMs, ...(alpn.length === 0 ? {} : { alpn }) }, (result) => {
      if (result instanceof Failure) return resolve(`${result.code}: ${result.message}`);
      const { socket } = result;
      const timer = setTimeout(() => socket.destroy(), Math.max(1, untilMs - performance.now()));
      const end = (problem: string | undefined): void => {
        clearTimeout(timer);
        socket.destroy();
        resolve(problem);
      };
      socket.on('error', (error) => end(error.message));
      socket.once('close', () => end('no answer'));
      if (path === undefined) return end(undefined);
      const isHttp2 = spoken === 'http2' || result.alpn === 'h2';
      const answered = (status: number): void =>
        end(status >= 200 && status < 400 ? undefined : `answered ${status}`);
      if (isHttp2) askHttp2(result, path, answered, end);
      else askHttp1(result, path, answered, end);
    });
  });
}

/** Of a unix socket there is no host: `localhost`, as its users say. */
const authorityOf = ({ server }: Carrier): string =>
  server.target.startsWith('unix:') ? 'localhost' : server.target;

function askHttp1(
  carrier: Carrier,
  path: string,
  answered: (status: number) => void,
  failed: (problem: string) => void,
): void {
  const { socket } = carrier;
  const ignore = (): void => undefined;
  const parser = new ResponseParser({ onInformational: ignore, onHead: answered, onBody: ignore });
  parser.begin(false);
  socket.on('data', (bytes) => {
    parser.push(bytes, bytes.length);
    if (parser.problem !== undefined) failed(`malformed: ${parser.problem}`);
  });
  const head = `GET ${path} HTTP/1.1\r\nhost: ${authorityOf(carrier)}\r\nuser-agent: countersign\r\nconnection: close\r\n\r\n`;
  socket.write(head, 'latin1');
}

function askHttp2(
  carrier: Carrier,
  path: string,
  answered: (status: number) => void,
  failed: (problem: string) => void,
): void {
  const { socket } = carrier;
  const authority = authorityOf(carrier);
  const scheme = carrier.alpn === undefined ? 'http' : 'https';
  // Not the target's own name: what an URL takes for a malformed address (`web.1`) would throw out of a socket's event.
  const session = connectHttp2(`${scheme}://upstream.invalid`, { createConnection: () => socket });
  session.on('error', (error: Error) => failed(error.message));
  const head = { ':method': 'GET', ':scheme': scheme, ':authority': authority, ':path': path };
  const stream = session.request({ ...head, 'user-agent': 'countersign' }, { endStream: true });
  stream.on('error', (error: Error) => failed(error.message));
  stream.once('response', (headers) => answered(headers[':status'] ?? 0));
}
