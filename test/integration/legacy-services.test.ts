import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startApp } from '../../src/app/app.js';
import { mintRoot } from '../support/pki.js';
import { readRecord } from '../support/record-check.js';
import { waitFor } from '../support/start-proxy.js';

const ID = 'spiffe://example.org/ns/prod/sa/web';
const BIG_BYTES = 32 * 1024 * 1024;
const SMALL = 'an invoice\n';
/** Long ago, so that Last-Modified is a strong validator. */
const MODIFIED = new Date('2026-01-02T03:04:05Z');

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

interface Asked {
  readonly headers?: Record<string, string>;
  readonly body?: Buffer;
}

/** The sidecar in front of a service on this port, and one caller on one keep-alive connection. */
class Sidecar {
  private constructor(
    readonly folder: string,
    readonly port: number,
    readonly agent: Agent,
    readonly close: () => Promise<void>,
  ) {}

  static async before(servicePort: number, folder: string): Promise<Sidecar> {
    const root = await mintRoot('example.org');
    const own = await root.issue('spiffe://example.org/sidecar', { otherSans: ['DNS:localhost'] });
    const caller = await root.issue(ID);
    const files = {
      'bundle.pem': root.certPem,
      'own.pem': own.chainPem,
      'own-key.pem': own.keyPem,
      'policy.yaml': `version: 1
default: deny
rules:
  - { id: all, effect: allow, principals: ["${ID}"], destinations: [legacy] }
`,
      'countersign.yaml': `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
trust: [{ trustDomain: example.org, bundle: { file: bundle.pem } }]
listeners: [{ name: inbound, address: "127.0.0.1:0", routes: [{ name: all, path: /**, upstream: legacy }] }]
upstreams: { legacy: { url: "http://127.0.0.1:${servicePort}" } }
policy: policy.yaml
audit: { file: audit.ndjson }
drain: { delay: 0s, deadline: 2s }
`,
    };
    for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
    const quiet = (): void => undefined;
    const app = await startApp({
      configFile: join(folder, 'countersign.yaml'),
      env: {},
      diagnostics: { info: quiet, warn: quiet, error: quiet },
    });
    const agent = new Agent({
      keepAlive: true,
      maxSockets: 1,
      ca: root.certPem,
      cert: caller.chainPem,
      key: caller.keyPem,
    });
    const port = Number(app.addresses.get('inbound')?.split(':').at(-1));
    return new Sidecar(folder, port, agent, async () => {
      agent.destroy();
      await app.close();
    });
  }

  async ask(method: string, path: string, { headers = {}, body }: Asked = {}): Promise<Answer> {
    const outgoing = request({
      agent: this.agent,
      host: '127.0.0.1',
      servername: 'localhost',
      port: this.port,
      method,
      path,
      headers,
    });
    outgoing.end(body);
    const [response] = await once(outgoing, 'response');
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
  }

  get records(): { response: { status: number; outcome: string; bytes: number } }[] {
    const lines = readFileSync(join(this.folder, 'audit.ndjson'), 'utf8').split('\n');
    return lines.filter((line) => line.includes('"event":"access"')).map((line) => readRecord(line));
  }
}

const sha256 = (bytes: Buffer): string => createHash('sha256').update(bytes).digest('hex');

/** What every service is asked; `postStatus` is what that service says to a POST. */
async function expectFaithful(t: Test, sidecar: Sidecar, big: Buffer, postStatus: number): Promise<void> {
  const get = await sidecar.ask('GET', '/small.txt');
  t.equal(get.status, 200, 'GET');
  t.equal(get.body.toString(), SMALL);
  const validator = get.headers['last-modified'];
  t.equal(validator, MODIFIED.toUTCString());

  const head = await sidecar.ask('HEAD', '/small.txt');
  t.equal(head.status, 200, 'HEAD');
  t.equal(head.headers['content-length'], String(SMALL.length), 'the length of what a GET would send');
  t.equal(head.body.length, 0);

  const unchanged = await sidecar.ask('GET', '/small.txt', {
    headers: { 'if-modified-since': validator ?? '' },
  });
  t.equal(unchanged.status, 304, '304');
  t.equal(unchanged.body.length, 0);

  const post = await sidecar.ask('POST', '/small.txt', { body: Buffer.from('total=42') });
  t.equal(post.status, postStatus, 'POST');

  const download = await sidecar.ask('GET', '/big.bin');
  t.equal(download.status, 200, 'a big download');
  t.equal(download.body.length, big.length);
  t.equal(sha256(download.body), sha256(big));

  t.equal((await sidecar.ask('GET', '/small.txt')).status, 200, 'and the service is still there');
  await waitFor(() => sidecar.records.length === 6);
  t.same(
    sidecar.records.map(({ response }) => response.status),
    [200, 200, 304, postStatus, 200, 200],
  );
  for (const { response } of sidecar.records) t.equal(response.outcome, 'complete');
  t.equal(sidecar.records[4]?.response.bytes, big.length);
}

/** The files that a service of static files serves. */
function siteIn(folder: string): { site: string; big: Buffer } {
  const site = join(folder, 'site');
  const big = randomBytes(BIG_BYTES);
  mkdirSync(site);
  writeFileSync(join(site, 'small.txt'), SMALL);
  utimesSync(join(site, 'small.txt'), MODIFIED, MODIFIED);
  writeFileSync(join(site, 'big.bin'), big);
  return { site, big };
}

const missing = (program: string, flag: string): string | false =>
  spawnSync(program, [flag]).error === undefined ? false : `${program} is not installed on this machine`;

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'close');
  child.kill();
  await ended;
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

t.test("Python's http.server", { skip: missing('python3', '--version') }, async (t) => {
  const folder = t.testdir();
  const { site, big } = siteIn(folder);
  const args = ['-u', '-m', 'http.server', '0', '--bind', '127.0.0.1', '--directory', site];
  const python = spawn('python3', args, { stdio: ['ignore', 'pipe', 'ignore'] });
  t.teardown(() => stop(python));
  let said = '';
  for await (const chunk of python.stdout.iterator({ destroyOnReturn: false })) {
    said += String(chunk);
    if (said.includes('\n')) break;
  }
  python.stdout.resume();
  const port = Number(/port (\d+)/.exec(said)?.[1]);
  const sidecar = await Sidecar.before(port, folder);
  t.teardown(() => sidecar.close());
  await expectFaithful(t, sidecar, big, 501);
});

t.test('nginx', { skip: missing('nginx', '-v') }, async (t) => {
  const folder = t.testdir();
  const { site, big } = siteIn(folder);
  const port = await freePort();
  writeFileSync(
    join(folder, 'nginx.conf'),
    `${process.getuid?.() === 0 ? 'user root;' : ''}
worker_processes 1; daemon off; pid ${folder}/nginx.pid; error_log stderr;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi; uwsgi_temp_path ${folder}/uwsgi; scgi_temp_path ${folder}/scgi;
  server { listen 127.0.0.1:${port}; root ${site}; }
}
`,
  );
  const nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf'), '-e', 'stderr'], {
    stdio: 'ignore',
  });
  t.teardown(() => stop(nginx));
  await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined)) !== undefined);
  const sidecar = await Sidecar.before(port, folder);
  t.teardown(() => sidecar.close());
  await expectFaithful(t, sidecar, big, 405);
  const part = await sidecar.ask('GET', '/big.bin', { headers: { range: 'bytes=1000-1999' } });
  t.equal(part.status, 206, 'a range');
  t.equal(sha256(part.body), sha256(big.subarray(1000, 2000)));
});

t.test('a Node app that knows nothing of identity', async (t) => {
  const folder = t.testdir();
  const big = randomBytes(BIG_BYTES);
  const seen: IncomingHttpHeaders[] = [];
  const app = createServer((incoming, outgoing) => {
    seen.push(incoming.headers);
    outgoing.setHeader('last-modified', MODIFIED.toUTCString());
    if (incoming.method === 'POST') {
      outgoing.writeHead(201);
      return void incoming.pipe(outgoing); // chunked, as it comes
    }
    if (incoming.headers['if-modified-since'] === MODIFIED.toUTCString())
      return void outgoing.writeHead(304).end();
    const body = incoming.url === '/big.bin' ? big : Buffer.from(SMALL);
    outgoing
      .writeHead(200, { 'content-length': body.length })
      .end(incoming.method === 'HEAD' ? undefined : body);
  });
  app.listen(0, '127.0.0.1');
  await once(app, 'listening');
  t.teardown(() => {
    app.closeAllConnections();
    app.close();
  });
  const sidecar = await Sidecar.before((app.address() as AddressInfo).port, folder);
  t.teardown(() => sidecar.close());
  await expectFaithful(t, sidecar, big, 201);
  for (const headers of seen) t.equal(headers['x-spiffe-id'], ID);

  const echo = await sidecar.ask('POST', '/echo', {
    body: big,
    headers: { 'content-length': String(big.length) },
  });
  t.equal(echo.status, 201, 'a big upload, echoed while it comes');
  t.equal(sha256(echo.body), sha256(big));
  const chunked = await sidecar.ask('POST', '/echo', {
    body: Buffer.from('in pieces'),
    headers: { 'transfer-encoding': 'chunked' },
  });
  t.equal(chunked.body.toString(), 'in pieces');
  t.equal(seen.at(-1)?.['transfer-encoding'], 'chunked');
});
