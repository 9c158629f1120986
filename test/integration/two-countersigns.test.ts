import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, credentials, type Metadata, status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { EchoService, whole } from '../support/echo-service.js';
import { type Authority, mintRoot } from '../support/pki.js';
import { Program } from '../support/program.js';
import { RawClient } from '../support/raw-client.js';
import { RecorderUpstream } from '../support/recorder-upstream.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

const SHOP = 'spiffe://example.org/ns/prod/sa/shop';
const LEDGER = 'spiffe://example.org/ns/prod/sa/ledger';

/** The two examples of config/ as two processes, and the service that knows nothing of them. */
class Pair {
  readonly dir = mkdtempSync(join(tmpdir(), 'countersign-pair-'));
  readonly service = new RecorderUpstream();
  root!: Authority;
  outbound!: Program;
  inbound!: Program;
  port = 0;

  /** @param service of the other side, as YAML, in place of our own. */
  static async start(t: Test, service?: string): Promise<Pair> {
    const pair = new Pair();
    t.teardown(() => pair.close());
    cpSync('config', pair.dir, { recursive: true });
    mkdirSync(join(pair.dir, 'pki'));
    await pair.service.open();
    pair.root = await mintRoot('example.org');
    writeFileSync(join(pair.dir, 'pki', 'bundle.pem'), pair.root.certPem);
    // Each behind an intermediate of its own, as most certificate authorities have it.
    for (const [name, id] of [
      ['shop', SHOP],
      ['ledger', LEDGER],
    ] as const) {
      const svid = await (await pair.root.intermediate()).issue(id);
      writeFileSync(join(pair.dir, 'pki', `${name}.pem`), svid.chainPem);
      writeFileSync(join(pair.dir, 'pki', `${name}-key.pem`), svid.keyPem);
    }
    pair.#change('outbound-other-side.yaml', '0.0.0.0:8443', '127.0.0.1:0');
    pair.#change('outbound-other-side.yaml', '127.0.0.1:8080', `127.0.0.1:${pair.service.port}`);
    if (service !== undefined)
      pair.#change('outbound-other-side.yaml', `{ url: "http://127.0.0.1:${pair.service.port}" }`, service);
    pair.inbound = new Program(['run', '-c', join(pair.dir, 'outbound-other-side.yaml')]);
    const { inbound = '' } = await pair.inbound.ready();
    pair.#change('outbound.yaml', '127.0.0.1:9001', '127.0.0.1:0');
    pair.#change('outbound.yaml', 'ledger.internal:8443', inbound.replace('127.0.0.1', 'localhost'));
    pair.outbound = new Program(['run', '-c', join(pair.dir, 'outbound.yaml')]);
    pair.port = Number((await pair.outbound.ready())['to-ledger']?.split(':').at(-1));
    return pair;
  }

  /** Records of requests, of one side. */
  async records(side: 'outbound' | 'inbound', count: number): Promise<ReadRecord[]> {
    const read = (): ReadRecord[] =>
      this[side].stdout
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as ReadRecord)
        .filter(({ event }) => event === 'access');
    await waitFor(
      () => read().length >= count,
      10_000,
      () => `${read().length} of ${count} records of the ${side} side`,
    );
    return read();
  }

  #change(file: string, from: string, to: string): void {
    const path = join(this.dir, file);
    const text = readFileSync(path, 'utf8');
    if (!text.includes(from)) throw new Error(`${file} does not say ${from}`);
    writeFileSync(path, text.replace(from, to));
  }

  async close(): Promise<void> {
    for (const program of [this.outbound, this.inbound]) program?.child.kill('SIGKILL');
    await this.service.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

t.test('an app calls a service through two sidecars, and both records are joined', async (t) => {
  const pair = await Pair.start(t);
  const client = await RawClient.openPlain({ host: '127.0.0.1', port: pair.port });
  t.teardown(() => client.destroy());
  const ask = (path: string, more = ''): string =>
    `GET ${path} HTTP/1.1\r\nHost: ledger.internal\r\n${more}\r\n`;

  const forged = 'X-SPIFFE-ID: spiffe://example.org/admin\r\nX-Forwarded-Client-Cert: URI=forged\r\n';
  const [answer] = await client.ask(ask('/entries/7', forged));
  t.equal(answer?.status, 200);
  const [seen] = pair.service.requests;
  t.equal(seen?.header('x-spiffe-id'), SHOP, 'the service sees who called, and nothing that was forged');
  t.same(seen?.all('x-spiffe-id'), [SHOP]);
  t.match(
    seen?.header('x-forwarded-client-cert'),
    new RegExp(`^By=${LEDGER};Hash=[0-9a-f]{64};.*URI=${SHOP}$`),
  );
  t.equal(seen?.header('host'), 'ledger.internal');
  t.match(seen?.header('via'), /^1\.1 countersign-\w+, 2 countersign-\w+$/);

  const [out] = await pair.records('outbound', 1);
  const [there] = await pair.records('inbound', 1);
  t.match(out, {
    principal: { id: SHOP },
    request: { listener: 'to-ledger', direction: 'outbound', destination: 'ledger' },
    upstream: { server: { id: LEDGER } },
  });
  t.match(there, { principal: { id: SHOP }, request: { listener: 'inbound', destination: 'ledger' } });
  t.match(out?.request.traceId, /^[0-9a-f]{32}$/);
  t.equal(there?.request.traceId, out?.request.traceId, 'joined by the trace');
  t.equal(there?.request.requestId, out?.id, 'and by the request id');
  t.equal(
    there?.principal.serial,
    out?.principal.serial,
    'the credential that went out is the one that came in',
  );
  t.equal(seen?.header('x-request-id'), out?.id);

  // The other side's no is joined as well: somebody will ask which rule it was.
  const [refused] = await client.ask(
    'POST /entries/7 HTTP/1.1\r\nHost: ledger.internal\r\nContent-Length: 0\r\n\r\n',
  );
  t.equal(refused?.status, 200);
  const [nowhere] = await client.ask(ask('/entries/../admin'));
  t.equal(nowhere?.status, 400);
  t.equal(pair.service.requests.length, 2);
});

t.test('a call that the other side refuses is joined as well', async (t) => {
  const pair = await Pair.start(t);
  const client = await RawClient.openPlain({ host: '127.0.0.1', port: pair.port });
  t.teardown(() => client.destroy());
  writeFileSync(join(pair.dir, 'outbound-other-side-policy.yaml'), 'version: 1\ndefault: deny\nrules: []\n');
  pair.inbound.child.kill('SIGHUP');
  await pair.inbound.says('adopted');
  const [answer] = await client.ask('GET /entries/7 HTTP/1.1\r\nHost: ledger.internal\r\n\r\n');
  t.equal(answer?.status, 403);
  const [out] = await pair.records('outbound', 1);
  const [there] = await pair.records('inbound', 1);
  t.match(out, { decision: { effect: 'allow' }, response: { status: 403, outcome: 'complete' } });
  t.match(there, { decision: { effect: 'deny', reason: 'no_rule_matched' } });
  t.equal(there?.request.traceId, out?.request.traceId);
  t.equal(there?.request.requestId, out?.id);
  t.equal(pair.service.bytes, '');
});

t.test('gRPC calls and streams of an app that knows no TLS cross both sidecars', async (t) => {
  const service = await new EchoService('/entries').open();
  t.teardown(() => service.server.forceShutdown());
  const pair = await Pair.start(t, `{ url: "http://127.0.0.1:${service.port}", protocol: http2 }`);
  const client = new Client(`127.0.0.1:${pair.port}`, credentials.createInsecure(), {
    'grpc.default_authority': 'ledger.internal',
  });
  t.teardown(() => client.close());
  const unary = (method: string): Promise<{ code: status | undefined; answer: string; who: unknown }> =>
    new Promise((resolve) => {
      let who: unknown;
      client
        .makeUnaryRequest(`/entries/${method}`, whole, whole, Buffer.from('hello'), (error, answer) =>
          setImmediate(() => resolve({ code: error?.code, answer: String(answer), who })),
        )
        .on('status', ({ metadata }: { metadata: Metadata }) => {
          [who] = metadata.get('x-who');
        });
    });
  t.same(await unary('Unary'), { code: undefined, answer: 'hello', who: SHOP });
  t.equal((await unary('Fail')).code, status.NOT_FOUND);
  t.equal((await unary('../admin')).code, status.INVALID_ARGUMENT);
  const stream = client.makeBidiStreamRequest('/entries/Chat', whole, whole);
  const heard: string[] = [];
  stream.on('data', (part: Buffer) => heard.push(String(part)));
  for (const part of ['a', 'b', 'c']) stream.write(Buffer.from(part));
  stream.end();
  await new Promise((resolve) => stream.on('end', resolve));
  t.same(heard, ['a', 'b', 'c']);

  const out = (await pair.records('outbound', 4)).filter(({ decision }) => decision.effect === 'allow');
  const there = await pair.records('inbound', 3);
  t.same(
    there.map(({ request }) => request.requestId),
    out.map(({ id }) => id),
    'each call is joined',
  );
  for (const records of [out, there])
    t.same(
      records.map(({ request, response }) => [request.protocol, response.grpcStatus]),
      [
        ['http/2', 0],
        ['http/2', 5],
        ['http/2', 0],
      ],
    );
});
