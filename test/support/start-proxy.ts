import { mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApp } from '../../src/app/app.js';
import type { App } from '../../src/app/app-face.js';
import { type Authority, mintRoot, type Svid } from './pki.js';
import { type ClientOptions, RawClient } from './raw-client.js';
import { RecordChecks } from './record-check.js';
import { RecorderUpstream } from './recorder-upstream.js';

/** A record as it stands in the file; tests look at what is there, not at types. */
// biome-ignore lint/suspicious/noExplicitAny: records are read back as plain JSON
export type ReadRecord = Record<string, any>;

export interface WorldOptions {
  /** Replaces or adds top-level YAML of the configuration. */
  readonly extra?: string;
  /** Of the listener; http unless said otherwise. */
  readonly protocol?: 'http' | 'tcp';
  readonly listenerExtra?: string;
  readonly drain?: string;
  readonly routes?: string;
  readonly policy?: string;
  /** Replaces the one upstream `u`. */
  readonly upstreams?: string;
  readonly trust?: string;
  /** Replaces where our own SVID comes from. */
  readonly identity?: string;
  /** Replaces where records go. */
  readonly audit?: string;
  readonly nowMs?: () => number;
  readonly env?: Readonly<Record<string, string>>;
  readonly revoked?: string;
  readonly files?: Readonly<Record<string, string | Buffer>>;
}

const ROUTES = `
      - { name: r1, host: svc.test, path: /public/**, upstream: u }
      - { name: r2, host: svc.test, path: /admin/**, upstream: u }
      - { name: r3, host: svc.test, path: /upload, upstream: u }
      - { name: r4, host: svc.test, path: /ws, upstream: u, upgrade: [websocket] }
      - { name: r5, host: locked.test, path: /**, upstream: u }`;

export const POLICY = `version: 1
default: deny
rules:
  - { id: public, effect: allow, principals: ["spiffe://a.test/**", "spiffe://b.test/**"], destinations: [r1], methods: [GET, HEAD, POST] }
  - { id: admin, effect: allow, principals: ["spiffe://a.test/admin"], destinations: [r2, r5] }
  - { id: upload, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r3], methods: [POST] }
  - { id: ws, effect: allow, principals: ["spiffe://a.test/web"], destinations: [r4] }
`;

/** The test world of the attack corpus, with a real proxy in it. */
export class World {
  readonly dir = mkdtempSync(join(tmpdir(), 'countersign-test-'));
  readonly diagnostics: { level: string; detail: object; message: string }[] = [];
  app!: App;
  upstream!: RecorderUpstream;
  caA!: Authority;
  caB!: Authority;
  caC!: Authority;
  web!: Svid;
  admin!: Svid;
  bweb!: Svid;
  own!: Svid;
  readonly #clients: RawClient[] = [];
  readonly #checks = new RecordChecks();

  static async start(options: WorldOptions = {}): Promise<World> {
    const world = new World();
    try {
      await world.prepare();
      world.writeConfig(options);
      await world.run(options);
    } catch (error) {
      await world.close();
      throw error;
    }
    return world;
  }

  async prepare(): Promise<void> {
    this.upstream = await new RecorderUpstream().open();
    [this.caA, this.caB, this.caC] = await Promise.all([
      mintRoot('a.test'),
      mintRoot('b.test'),
      mintRoot('c.test'),
    ]);
    this.web = await this.caA.issue('spiffe://a.test/web');
    this.admin = await this.caA.issue('spiffe://a.test/admin');
    this.bweb = await this.caB.issue('spiffe://b.test/web');
    this.own = await this.caA.issue('spiffe://a.test/proxy', {
      otherSans: ['DNS:svc.test', 'DNS:localhost'],
    });
  }

  writeConfig(options: WorldOptions = {}): void {
    this.write('a.pem', this.caA.certPem);
    this.write('b.pem', this.caB.certPem);
    this.write('own.pem', this.own.chainPem);
    this.write('own-key.pem', this.own.keyPem);
    this.write('policy.yaml', options.policy ?? POLICY);
    this.write('revoked.yaml', options.revoked ?? 'version: 1\nrevoked: []\n');
    for (const [name, content] of Object.entries(options.files ?? {})) this.write(name, content);
    this.write('countersign.yaml', this.configText(options));
  }

  configText(options: WorldOptions = {}): string {
    const trust =
      options.trust ??
      `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { file: b.pem } }`;
    return `version: 1
identity:
  ${options.identity ?? 'files: { certificate: own.pem, key: own-key.pem }'}
trust: ${trust}
revocations: revoked.yaml
listeners:
  - name: inbound
    address: 127.0.0.1:0
    protocol: ${options.protocol ?? 'http'}${options.listenerExtra ?? ''}
    routes: ${options.routes ?? ROUTES}
upstreams:${options.upstreams ?? `\n  u: { url: "http://127.0.0.1:${this.upstream.port}" }`}
policy: policy.yaml
audit: { file: ${options.audit ?? 'audit.ndjson'} }
admin: { address: 127.0.0.1:0 }
drain: ${options.drain ?? '{ delay: 0s, deadline: 2s }'}
${options.extra ?? ''}
`;
  }

  async run(options: WorldOptions = {}): Promise<void> {
    const log = (level: string) => (detail: object, message: string) => {
      this.diagnostics.push({ level, detail, message });
    };
    this.app = await startApp({
      configFile: join(this.dir, 'countersign.yaml'),
      env: options.env ?? {},
      diagnostics: { info: log('info'), warn: log('warn'), error: log('error') },
      ...(options.nowMs === undefined ? {} : { nowMs: options.nowMs }),
    });
  }

  get port(): number {
    return Number(this.app.addresses.get('inbound')?.split(':').at(-1));
  }

  get adminUrl(): string {
    return `http://${this.app.addresses.get('admin')}`;
  }

  write(name: string, content: string | Buffer): void {
    writeFileSync(join(this.dir, name), content);
  }

  /** Puts a file in place as operators should: written beside, renamed over. */
  replace(name: string, content: string | Buffer): void {
    this.replaceIn('.', name, content);
  }

  replaceIn(folder: string, name: string, content: string | Buffer): void {
    writeFileSync(join(this.dir, folder, `.${name}.tmp`), content);
    renameSync(join(this.dir, folder, `.${name}.tmp`), join(this.dir, folder, name));
  }

  async client(
    identity: Svid | undefined = this.web,
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

  /** Records in the file so far; each is checked against the schema of records. */
  get records(): ReadRecord[] {
    const text = readFileSync(join(this.dir, 'audit.ndjson'), 'utf8');
    // A line that is being written right now is not there yet.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1).split('\n');
    const lines = whole.filter((line) => line !== '');
    this.#checks.check(lines);
    return lines.map((line) => JSON.parse(line) as ReadRecord);
  }

  /** So that no test leaves a record behind that nobody ever looked at. What does not begin as ours do, or is a fragment, is that test's matter. */
  #checkRecords(): void {
    for (const name of readdirSync(this.dir)) {
      if (!name.startsWith('audit.ndjson') || name.endsWith('.gz')) continue;
      const lines = readFileSync(join(this.dir, name), 'utf8').split('\n');
      this.#checks.check(lines.filter(isWholeRecord));
    }
  }

  /** Requests and refused handshakes. */
  get exchanges(): ReadRecord[] {
    return this.records.filter((record) => record.event === 'access' || record.event === 'handshake');
  }

  async untilRecords(count: number, timeoutMs = 10_000): Promise<ReadRecord[]> {
    await waitFor(
      () => this.exchanges.length >= count,
      timeoutMs,
      () => `${this.exchanges.length} of ${count} records`,
    );
    return this.exchanges;
  }

  async snapshot(): Promise<ReadRecord> {
    return (await (await fetch(`${this.adminUrl}/snapshot`)).json()) as ReadRecord;
  }

  /** Polls /snapshot until it is as wanted. */
  async untilSnapshot(wanted: (snapshot: ReadRecord) => boolean, timeoutMs = 10_000): Promise<ReadRecord> {
    let last: ReadRecord = {};
    await waitFor(
      async () => {
        last = await this.snapshot();
        return wanted(last);
      },
      timeoutMs,
      () => `the snapshot, which is ${JSON.stringify(last)}`,
    );
    return last;
  }

  /** Gives the sidecar a new SVID and waits until it shows it. */
  async rotateOwn(): Promise<void> {
    this.own = await this.caA.issue(this.own.uri, { otherSans: ['DNS:svc.test', 'DNS:localhost'] });
    this.replace('own.pem', this.own.chainPem);
    this.replace('own-key.pem', this.own.keyPem);
    await this.untilSnapshot((snapshot) => snapshot.own.serial === this.own.serial);
  }

  async metrics(): Promise<string> {
    return (await fetch(`${this.adminUrl}/metrics`)).text();
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.app?.close();
    await this.upstream?.close();
    try {
      this.#checkRecords();
    } finally {
      rmSync(this.dir, { recursive: true, force: true });
    }
  }
}

function isWholeRecord(line: string): boolean {
  if (!line.startsWith('{"stream":')) return false;
  try {
    return JSON.parse(line) !== null;
  } catch {
    return false;
  }
}

/** Polls a condition that no event announces (a file's content, a remote state). */
export async function waitFor(
  condition: () => boolean | Promise<boolean>,
  timeoutMs = 10_000,
  what: () => string = () => 'the condition',
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms for ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
