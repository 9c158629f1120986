import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { NetConnectOpts, Socket } from 'node:net';
import { join } from 'node:path';
import { createServer, type Server, type TlsOptions } from 'node:tls';
import type { Svid } from './pki.js';
import { RawClient } from './raw-client.js';
import { RecorderUpstream } from './recorder-upstream.js';
import { World, type WorldOptions } from './start-proxy.js';

export interface OutboundOptions extends WorldOptions {
  /** Of the outbound listener. */
  readonly address?: string;
  /** Further keys of it, as YAML. */
  readonly outboundExtra?: string;
  /** Further keys of the upstream, as YAML. */
  readonly upstreamExtra?: string;
  readonly spiffeId?: string;
  /** What the server shows; one of `spiffe://b.test/ledger` unless said otherwise. */
  readonly server?: (world: World) => Promise<Partial<Svid> | undefined>;
  readonly serverTls?: TlsOptions;
  /** Of the target, in place of the server's own port. */
  readonly target?: string;
}

export const OUTBOUND_POLICY = `version: 1
default: deny
rules:
  - { id: calls, effect: allow, principals: ["spiffe://a.test/proxy"], destinations: [ledger], paths: ["/ledger/**"] }
`;

export const ASK = 'GET /ledger/1 HTTP/1.1\r\nHost: ledger.test\r\n\r\n';

/** A workload beside us that calls a service of another trust domain: through us, and over mTLS from there. */
export class OutboundWorld {
  readonly server: MtlsServer;
  readonly #clients: RawClient<Socket>[] = [];

  private constructor(
    readonly world: World,
    server: MtlsServer,
  ) {
    this.server = server;
  }

  static async start(options: OutboundOptions = {}): Promise<OutboundWorld> {
    const world = new World();
    await world.prepare();
    const identity = await (options.server ?? ((of) => of.caB.issue('spiffe://b.test/ledger')))(world);
    const server = await MtlsServer.open(identity, options.serverTls);
    const outbound = new OutboundWorld(world, server);
    try {
      world.writeConfig({ policy: OUTBOUND_POLICY, routes: ROUTE, ...options });
      const text = readFileSync(join(world.dir, 'countersign.yaml'), 'utf8');
      world.write('countersign.yaml', withOutbound(text, server.port, options));
      await world.run(options);
    } catch (error) {
      await outbound.close();
      throw error;
    }
    return outbound;
  }

  get address(): string {
    return this.world.app.addresses.get('out') ?? '';
  }

  /** A connection of the workload. */
  async client(more: Partial<NetConnectOpts> = {}): Promise<RawClient<Socket>> {
    const at = this.address;
    const where = at.startsWith('/')
      ? { path: at }
      : { host: '127.0.0.1', port: Number(at.split(':').at(-1)) };
    const client = await RawClient.openPlain({ ...where, ...more } as NetConnectOpts);
    this.#clients.push(client);
    return client;
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.world.close();
    await this.server.close();
  }
}

const ROUTE = '[{ name: r1, path: /**, upstream: u }]';

function withOutbound(text: string, port: number, options: OutboundOptions): string {
  const target = options.target ?? `https://127.0.0.1:${port}`;
  const id = options.spiffeId ?? 'spiffe://b.test/ledger';
  return text.replace(
    /^upstreams:\n/m,
    `  - name: out
    direction: outbound
    address: ${options.address ?? '127.0.0.1:0'}${options.outboundExtra ?? ''}
    routes: [{ name: ledger-route, path: /**, upstream: ledger, upgrade: [websocket] }]
upstreams:
  ledger: { url: "${target}", protocol: http1, spiffeId: "${id}"${options.upstreamExtra ?? ''} }
`,
  );
}

/** A server that asks for a client certificate and keeps every byte that comes after the handshake. */
export class MtlsServer {
  readonly recorder = new RecorderUpstream();
  /** Handshakes that were finished. */
  handshakes = 0;
  /** Serial numbers of what clients showed, in order. */
  readonly clients: string[] = [];
  /** Names that were asked for. */
  readonly serverNames: (string | false | undefined)[] = [];

  private constructor(readonly tls: Server) {
    tls.on('secureConnection', (socket) => {
      this.handshakes++;
      this.clients.push(socket.getPeerX509Certificate()?.serialNumber.toLowerCase() ?? '');
      this.serverNames.push((socket as { servername?: string | false }).servername);
      this.recorder.server.emit('connection', socket);
    });
    tls.on('tlsClientError', () => undefined);
  }

  static async open(identity: Partial<Svid> | undefined, options: TlsOptions = {}): Promise<MtlsServer> {
    const tls = createServer({
      ...(identity === undefined ? {} : { cert: identity.chainPem ?? '', key: identity.keyPem ?? '' }),
      requestCert: true,
      rejectUnauthorized: false,
      ...options,
    });
    tls.listen(0, '127.0.0.1');
    await once(tls, 'listening');
    return new MtlsServer(tls);
  }

  get port(): number {
    const address = this.tls.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  /** New handshakes show this. */
  show({ chainPem, keyPem }: Svid): void {
    this.tls.setSecureContext({ cert: chainPem, key: keyPem });
  }

  async close(): Promise<void> {
    for (const { socket } of this.recorder.connections) socket.destroy();
    this.tls.close();
    await once(this.tls, 'close');
  }
}
