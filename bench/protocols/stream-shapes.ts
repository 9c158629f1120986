import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { CrowdJob } from '../contraction/crowd.js';
import { type BenchSite, withSite } from '../support/bench-site.js';
import type { CountersignOptions } from '../support/countersign-program.js';
import { freePort, untilListening } from '../support/free-port.js';
import { getRequest, HOST, type PemIdentity } from '../support/raw-connection.js';

/** Something that stays open, and how Countersign has to be set up for it. */
export interface StreamShape {
  readonly name: string;
  /** gRPC calls on each connection; undefined = the connection itself is the stream. */
  readonly calls?: number;
  /** What opens one. */
  readonly request: string;
  readonly status: number;
  /** @param ports of the service for requests and bytes, and of the one for gRPC. */
  options(ports: { readonly origin: number; readonly grpc: number }): CountersignOptions;
}

const SOCKET = `GET /socket HTTP/1.1\r\nHost: ${HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`;

export const webSockets: StreamShape = {
  name: 'WebSockets',
  request: SOCKET,
  status: 101,
  options: () => ({ route: 'path: /**, upgrade: [websocket]' }),
};

export const tcpConnections: StreamShape = {
  name: 'TCP connections',
  request: getRequest('/invoices/7').toString('latin1'),
  status: 200,
  options: ({ origin }) => ({
    listener: 'protocol: tcp',
    route: '',
    upstream: `url: "tcp://127.0.0.1:${origin}"`,
  }),
};

export const grpcCalls = (calls: number): StreamShape => ({
  name: calls === 1 ? 'gRPC calls, a connection each' : `gRPC calls, ${calls} a connection`,
  calls,
  request: '',
  status: 200,
  options: ({ grpc }) => ({ upstream: `url: "http://127.0.0.1:${grpc}", protocol: http2` }),
});

const MAX_STREAMS = 20_000;
/** Connections that share one identity: the more identities, the longer it takes to mint them. */
const EACH = 100;

/** Runs `use` on a Countersign that takes such streams, without the caps that are no question here. */
export async function withStreams<T>(
  nodePath: string,
  shape: StreamShape,
  preload: CountersignOptions['preload'],
  use: (site: BenchSite) => Promise<T>,
): Promise<T> {
  const grpc = await freePort();
  const server: ChildProcess = fork(fileURLToPath(new URL('./grpc-origin.js', import.meta.url)), [
    String(grpc),
  ]);
  try {
    await untilListening(grpc, () => server.exitCode !== null);
    const common = {
      crowd: MAX_STREAMS,
      maxConnections: MAX_STREAMS,
      limits: `connectionsPerPrincipal: ${MAX_STREAMS}`,
      ...(preload === undefined ? {} : { preload }),
    };
    return await withSite(nodePath, use, (origin) => ({ ...common, ...shape.options({ origin, grpc }) }));
  } finally {
    if (server.connected) server.disconnect();
  }
}

/** What opens `count` streams of one identity. */
export function jobOf(
  shape: StreamShape,
  { countersign }: BenchSite,
  identity: PemIdentity,
  count: number,
): CrowdJob {
  const { request, status, calls } = shape;
  return {
    port: countersign.port,
    request,
    status,
    groups: [{ identity, count: Math.ceil(count / (calls ?? 1)) }],
    ...(calls === undefined ? {} : { calls }),
  };
}

/** The same of several identities, so many connections each. */
export async function jobOfMany(shape: StreamShape, site: BenchSite, count: number): Promise<CrowdJob> {
  const groups: { identity: PemIdentity; count: number }[] = [];
  for (let left = count; left > 0; left -= EACH) {
    const identity = await site.pki.mint(`spiffe://example.org/ns/crowd/sa/w${groups.length}`);
    groups.push({ identity, count: Math.min(EACH, left) });
  }
  return { port: site.countersign.port, request: shape.request, status: shape.status, groups };
}
