import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type Authority, mintRoot, type Svid } from './pki.js';
import { Program } from './program.js';
import { readRecord } from './record-check.js';
import { type ReadRecord, waitFor } from './start-proxy.js';

const WORKLOADS = {
  sidecar: 'spiffe://example.org/ns/prod/sa/billing',
  ledger: 'spiffe://example.org/ns/prod/sa/ledger',
  web: 'spiffe://example.org/ns/prod/sa/web',
  batch: 'spiffe://example.org/ns/prod/sa/batch',
  monitor: 'spiffe://example.org/ns/ops/sa/monitor',
} as const;

export type Workload = keyof typeof WORKLOADS;

/** A copy of config/ with the pki/ that its files name: what a user has who begins with an example. */
export class Examples {
  readonly dir = mkdtempSync(join(tmpdir(), 'csn-'));
  readonly svids = new Map<Workload, Svid>();
  root!: Authority;

  static async mint(t: Test): Promise<Examples> {
    const examples = new Examples();
    t.teardown(() => rmSync(examples.dir, { recursive: true, force: true }));
    cpSync('config', examples.dir, { recursive: true });
    mkdirSync(join(examples.dir, 'pki'));
    examples.root = await mintRoot('example.org');
    examples.write('pki/bundle.pem', examples.root.certPem);
    examples.write('pki/internal-ca.pem', examples.root.certPem);
    for (const [name, id] of Object.entries(WORKLOADS)) {
      const svid = await examples.root.issue(id, { otherSans: ['DNS:localhost', 'DNS:payments.internal'] });
      examples.svids.set(name as Workload, svid);
      examples.write(`pki/${name}.pem`, svid.chainPem);
      examples.write(`pki/${name}-key.pem`, svid.keyPem);
    }
    return examples;
  }

  svid(name: Workload): Svid {
    return this.svids.get(name)!;
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.dir, name), text, { mode: 0o600 });
  }

  /** Runs one, with places of this machine for those that it names: each must stand there. */
  async run(t: Test, name: string, places: Readonly<Record<string, string>>): Promise<RunningExample> {
    let text = readFileSync(join(this.dir, name), 'utf8');
    for (const [from, to] of Object.entries(places)) {
      if (!text.includes(from)) throw new Error(`${name} does not say ${from}`);
      text = text.replace(from, to);
    }
    this.write(name, text);
    const program = new Program(['run', '-c', join(this.dir, name)]);
    t.teardown(async () => {
      program.child.kill('SIGKILL');
      await program.end();
    });
    return new RunningExample(program, await program.ready());
  }
}

export class RunningExample {
  constructor(
    readonly program: Program,
    readonly addresses: Readonly<Record<string, string>>,
  ) {}

  /** Of a listener. */
  port(name: string): number {
    return Number(this.addresses[name]?.split(':').at(-1));
  }

  /** Of requests and connections, as they come to standard output. */
  async records(count: number): Promise<ReadRecord[]> {
    const read = (): ReadRecord[] =>
      this.program.stdout
        .split('\n')
        .slice(0, -1)
        .map((line) => readRecord(line) as ReadRecord)
        .filter(({ event }) => event === 'access');
    await waitFor(
      () => read().length >= count,
      10_000,
      () => `${read().length} of ${count} records`,
    );
    return read();
  }
}
