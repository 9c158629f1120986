import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Svid } from './pki.js';
import { type ClientOptions, RawClient } from './raw-client.js';
import { changeConfig } from './sources.js';
import { type ReadRecord, World, waitFor } from './start-proxy.js';

export const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));

export interface ProcessOptions {
  /** No file gets larger, as if the disk were full: in units of 512 bytes. */
  readonly fileBlocks?: number;
  /** Where its records go instead, as in `audit`; to standard output they are the test's to read. */
  readonly audit?: string;
}

/** The test world with the proxy as a process of its own: for signals, descriptors and memory. */
export class ProcessWorld {
  stderr = '';
  readonly exited: Promise<number | null>;
  readonly #clients: RawClient[] = [];

  private constructor(
    readonly world: World,
    readonly child: ChildProcess,
  ) {
    child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.exited = new Promise((resolve) => child.once('exit', (code) => resolve(code)));
  }

  /** @param descriptors Most open files of the process. */
  static async start(
    options: Parameters<typeof World.start>[0] = {},
    descriptors?: number,
    more: ProcessOptions = {},
  ): Promise<ProcessWorld> {
    const world = await World.start(options);
    await world.app.close(); // the files stay, the process takes over
    const { audit } = more;
    if (audit !== undefined)
      changeConfig(world, (text) => text.replace(/^audit: .*$/m, `audit: { file: ${audit} }`));
    return ProcessWorld.#run(world, descriptors, more);
  }

  static async #run(world: World, descriptors?: number, more: ProcessOptions = {}): Promise<ProcessWorld> {
    const run = [process.execPath, MAIN, 'run', '-c', `${world.dir}/countersign.yaml`];
    const limits = [
      ...(descriptors === undefined ? [] : [`ulimit -n ${descriptors}`]),
      ...(more.fileBlocks === undefined ? [] : [`ulimit -f ${more.fileBlocks}`]),
    ];
    // The test runner watches what tests start, and writes at their end what they loaded: where no file may grow that fails.
    const bare = `unset NODE_OPTIONS; ${limits.join('; ')}; exec "$@"`;
    const [command, ...args] = limits.length === 0 ? run : ['/bin/sh', '-c', bare, 'sh', ...run];
    const child = spawn(command!, args, {
      stdio: ['ignore', more.audit === undefined ? 'ignore' : 'pipe', 'pipe'],
    });
    const started = new ProcessWorld(world, child);
    try {
      await waitFor(
        () => child.exitCode !== null || started.stderr.includes('countersign is ready'),
        15_000,
        () => `the process: ${started.stderr}`,
      );
      if (child.exitCode !== null) throw new Error(`exit ${child.exitCode}: ${started.stderr}`);
    } catch (error) {
      await started.close(); // what is left open would keep the test waiting instead of failing
      throw error;
    }
    return started;
  }

  address(name: string): string {
    const line = this.stderr.split('\n').find((text) => text.includes('countersign is ready')) ?? '{}';
    return (JSON.parse(line) as { addresses: Record<string, string> }).addresses[name] ?? '';
  }

  get port(): number {
    return Number(this.address('inbound').split(':').at(-1));
  }

  async admin(path: string): Promise<Response> {
    return fetch(`http://${this.address('admin')}${path}`);
  }

  async snapshot(): Promise<ReadRecord> {
    return (await (await this.admin('/snapshot')).json()) as ReadRecord;
  }

  async client(
    identity: Svid | undefined = this.world.web,
    options: Partial<ClientOptions> = {},
  ): Promise<RawClient> {
    const client = await RawClient.open({ identity, port: this.port, ...options });
    this.#clients.push(client);
    return client;
  }

  /** A TLS client without a certificate. */
  async nobody(options: Partial<ClientOptions> = {}): Promise<RawClient> {
    const client = await RawClient.open({ port: this.port, ...options });
    this.#clients.push(client);
    return client;
  }

  /** Ends the process as a crash does, and starts another one with the same files on the same port. This one is over. */
  async restart(): Promise<ProcessWorld> {
    const { port, world } = this;
    await this.#end();
    changeConfig(world, (text) =>
      text.replace('127.0.0.1:0\n    protocol', `127.0.0.1:${port}\n    protocol`),
    );
    return ProcessWorld.#run(world);
  }

  get accesses(): ReadRecord[] {
    return this.world.records.filter((record) => record.event === 'access');
  }

  async close(): Promise<void> {
    await this.#end();
    await this.world.close();
  }

  async #end(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    if (this.child.exitCode === null) this.child.kill('SIGKILL');
    await this.exited;
  }
}
