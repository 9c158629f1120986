import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Test } from 'tap';
import { World, type WorldOptions } from './start-proxy.js';

/** A service that speaks whatever a test tells it to; either of its ends may come first. */
export class TcpService {
  readonly sockets: Socket[] = [];
  readonly server: Server;
  received = '';
  /** Sockets whose other side sent its end in good order, and those that were broken off. */
  ended = 0;
  resets = 0;
  closed = 0;
  onSocket: (socket: Socket) => void = (socket) => void socket.pipe(socket);

  constructor() {
    this.server = createServer({ allowHalfOpen: true }, (socket) => {
      this.sockets.push(socket);
      socket.on('data', (chunk: Buffer) => {
        if (this.received.length < 1_000_000) this.received += chunk.toString('latin1');
      });
      socket.on('end', () => this.ended++);
      socket.on('error', () => this.resets++);
      socket.on('close', () => this.closed++);
      this.onSocket(socket);
    });
  }

  async open(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.server.address() as { port: number }).port;
  }

  close(): void {
    for (const socket of this.sockets) socket.destroy();
    this.server.close();
  }
}

export interface TcpWorldOptions extends WorldOptions {
  readonly listener?: string;
  readonly upstream?: string;
  readonly route?: string;
}

export const TCP_POLICY = `version: 1
default: deny
rules:
  - { id: db, effect: allow, principals: ["spiffe://a.test/web"], destinations: [db], methods: [CONNECT] }
`;

/** A world whose one listener speaks TCP. */
export async function startTcpWorld(
  service: TcpService,
  { listener = '', upstream = '', route = '', ...options }: TcpWorldOptions = {},
): Promise<World> {
  const world = new World();
  const common = { policy: TCP_POLICY, ...options };
  try {
    await world.prepare();
    world.writeConfig(common);
    const text = world
      .configText(common)
      .replace(/protocol: http\n {4}routes:[\s\S]*?\nupstreams:\n.*\n/, () =>
        [
          `protocol: tcp${listener}`,
          `    routes: [{ name: db, upstream: db${route} }]`,
          'upstreams:',
          `  db: { url: "tcp://127.0.0.1:${service.port}"${upstream} }\n`,
        ].join('\n'),
      );
    world.write('countersign.yaml', text);
    await world.run(common);
  } catch (error) {
    await world.close();
    throw error;
  }
  return world;
}

/** A transport without TLS to the world's listener, with all that it gets. */
export class PlainClient {
  received = '';
  closed = false;
  readonly socket: Socket;
  readonly #ended: Promise<void>;

  constructor(port: number, localAddress = '127.0.0.1') {
    this.socket = connect({ port, host: '127.0.0.1', localAddress });
    this.socket.on('data', (chunk: Buffer) => {
      this.received += chunk.toString('latin1');
    });
    this.socket.on('error', () => undefined);
    this.#ended = new Promise((resolve) =>
      this.socket.once('close', () => {
        this.closed = true;
        resolve();
      }),
    );
  }

  untilClosed(): Promise<void> {
    return this.#ended;
  }
}

/** With a service of its own; both end with the test. */
export async function startTcp(
  t: Test,
  options: TcpWorldOptions = {},
): Promise<{ readonly world: World; readonly service: TcpService }> {
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  const world = await startTcpWorld(service, options);
  t.teardown(() => world.close());
  return { world, service };
}
