import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import t from 'tap';
import { mintRoot, type Svid } from '../support/pki.js';
import { Program } from '../support/program.js';
import { RawClient } from '../support/raw-client.js';
import { RecorderUpstream } from '../support/recorder-upstream.js';
import { MAIN } from '../support/run-process.js';
import { newSealKey } from '../support/seal-key.js';
import { waitFor } from '../support/start-proxy.js';

const PAGE = readFileSync('docs/evidence.md', 'utf8');
const ID = 'spiffe://example.org/sa/';

const block = (file: string): string => {
  const found = new RegExp(`^\`\`\`yaml\\n# ${file}\\n(.*?)^\`\`\`$`, 'ms').exec(PAGE)?.[1];
  if (found === undefined) throw new Error(`the page has no ${file}`);
  return found;
};

const REGISTRY = `version: 1
unregistered: deny
identities:
  - { id: "${ID}web", owner: team-web, environment: prod }
  - { id: "${ID}batch", owner: team-batch, environment: prod }
`;

/** A folder with everything that the page starts from; what happened in it is in its records. */
class Site {
  readonly #upstream = new RecorderUpstream();
  #program!: Program;
  #port = 0;
  #svids!: Readonly<Record<'web' | 'batch' | 'stranger', Svid>>;

  constructor(readonly dir: string) {}

  async prepare(): Promise<void> {
    await this.#upstream.open();
    const root = await mintRoot('example.org');
    const own = await root.issue(`${ID}sidecar`, { otherSans: ['DNS:localhost'] });
    const [web, batch, stranger] = await Promise.all(
      ['web', 'batch', 'stranger'].map((name) => root.issue(ID + name)),
    );
    this.#svids = { web: web!, batch: batch!, stranger: stranger! };
    mkdirSync(join(this.dir, 'pki'));
    this.#write('pki/sidecar.pem', own.chainPem);
    this.#write('pki/sidecar-key.pem', own.keyPem);
    this.#write('pki/bundle.pem', root.certPem);
    this.#write('seal.jwk', (await newSealKey()).text);
    this.#write('policy.yaml', block('policy.yaml'));
    this.#write('registry.yaml', REGISTRY);
    this.#write('revoked.yaml', 'version: 1\nrevoked: []\n');
    const config = block('countersign.yaml')
      .replace('every: 10s', 'every: 1s') // nobody need wait so long
      .replace('127.0.0.1:8443', '127.0.0.1:0')
      .replace('127.0.0.1:9901', '127.0.0.1:0')
      .replace('127.0.0.1:8080', `127.0.0.1:${this.#upstream.port}`);
    this.#write('countersign.yaml', config);
  }

  /** Calls, a revocation, more calls. @returns what the page's commands are told by name */
  async live(): Promise<{ readonly REQUEST_ID: string; readonly REVOKED_AT: string }> {
    this.#program = new Program(['run', '-c', 'countersign.yaml'], this.dir);
    const { inbound = '', admin = '' } = await this.#program.ready();
    this.#port = Number(inbound.split(':').at(-1));
    const { web, batch, stranger } = this.#svids;
    await this.#ask(web, 'GET', '/invoices/7');
    await this.#ask(web, 'DELETE', '/invoices/7');
    await this.#ask(stranger, 'GET', '/invoices/7');
    const open = await this.#client(batch);
    await open.ask(requestOf('GET', '/exports/nightly'));
    const ids = [...this.#upstream.bytes.matchAll(/^x-request-id: (.*)\r$/gim)].map(([, id]) => id!);
    await this.#sealed();
    this.#revoke();
    await open.untilClosed();
    const REVOKED_AT = new Date().toISOString();
    await this.#ask(batch, 'GET', '/exports/nightly');
    await this.#ask(web, 'GET', '/invoices/8');
    await this.#sealed();
    this.#write('snapshot.json', await (await fetch(`http://${admin}/snapshot`)).text());
    this.#program.child.kill('SIGTERM');
    await this.#program.end();
    return { REQUEST_ID: ids.at(-1)!, REVOKED_AT };
  }

  /** As a shell does it, with `countersign` and these names in its environment. */
  shell(command: string, names: Readonly<Record<string, string>>): string {
    const env = { ...process.env, ...names, NO_COLOR: '1' };
    const path = `${join(this.dir, 'bin')}${delimiter}${process.env.PATH}`;
    const { stdout } = spawnSync('/bin/sh', ['-c', command], {
      cwd: this.dir,
      env: { ...env, PATH: path },
      encoding: 'utf8',
    });
    return stdout;
  }

  async close(): Promise<void> {
    this.#program.child.kill('SIGKILL');
    await this.#upstream.close();
  }

  installProgram(): void {
    mkdirSync(join(this.dir, 'bin'));
    const text = `#!/bin/sh\nexec "${process.execPath}" "${MAIN}" "$@"\n`;
    writeFileSync(join(this.dir, 'bin', 'countersign'), text, { mode: 0o755 });
  }

  #revoke(): void {
    this.#write(
      'next.yaml',
      `version: 1\nrevoked:\n  - { id: "${ID}batch", reason: key leaked, author: alice }\n`,
    );
    renameSync(join(this.dir, 'next.yaml'), join(this.dir, 'revoked.yaml'));
  }

  async #ask(svid: Svid, method: string, path: string): Promise<void> {
    const client = await this.#client(svid);
    await client.ask(requestOf(method, path));
    client.destroy();
  }

  #client(identity: Svid): Promise<RawClient> {
    return RawClient.open({ identity, port: this.#port, servername: 'localhost' });
  }

  /** All that was recorded so far has its seal. */
  async #sealed(): Promise<void> {
    const newest = (): string =>
      readFileSync(join(this.dir, 'audit.ndjson'), 'utf8').trimEnd().split('\n').at(-1)!;
    await waitFor(
      () => newest().includes('"event":"audit.seal"'),
      20_000,
      () => 'a seal',
    );
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.dir, name), text);
  }
}

const requestOf = (method: string, path: string): string =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;

/** `…` stands for anything; on a line of its own, for any number of lines. What is shown may go on, but not begin. */
function patternOf(expected: string): RegExp {
  const lines = expected.split('\n').filter((line) => line.trim() !== '');
  const parts = lines.map((line) =>
    line === '…' ? '(?:.*\\n)*?' : `${line.replace(/[.*+?^$()|[\]{}\\]/g, '\\$&').replaceAll('…', '.*')}\\n`,
  );
  return lines.length === 0 ? /^$/ : new RegExp(`^${parts.join('')}`);
}

t.test('every command of the page proves what the page says', async (t) => {
  const site = new Site(t.testdir());
  await site.prepare();
  site.installProgram();
  t.teardown(() => site.close());
  const names = await site.live();
  const blocks = [...PAGE.matchAll(/^```console\n(.*?)^```$/gms)].map(([, text]) => text!);
  t.ok(blocks.length >= 10);
  for (const text of blocks) {
    // All commands of a block run in one shell: `$?` of one is the next one's to show.
    const commands = [...text.matchAll(/^\$ (.*)$/gm)].map(([, command]) => command!);
    const marked = commands.map((command) => `${command}\nrc=$?; printf '\\036'; (exit $rc)`).join('\n');
    const told = site.shell(marked, names).split('\u001e');
    const expected = text.split(/^\$ .*\n/m).slice(1);
    for (const [i, command] of commands.entries())
      t.match(told[i]?.replace(/^\s*\n/gm, ''), patternOf(expected[i]!), command);
  }
});
