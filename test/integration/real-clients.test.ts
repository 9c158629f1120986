import { execFile, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import t from 'tap';
import { World, waitFor } from '../support/start-proxy.js';

const run = promisify(execFile);

/** Why a test with this program is skipped here, or false. */
const missing = (program: string, ...args: string[]): string | false =>
  spawnSync(program, args).status === 0 ? false : `${program} is not installed`;

const hasHttp2 = (): boolean =>
  /\bHTTP2\b/.test(spawnSync('curl', ['--version'], { encoding: 'utf8' }).stdout);

/** A proxy, and the caller's certificate in files, as these programs want it. */
async function startWorld(t: { teardown(handler: () => unknown): void }): Promise<World> {
  const world = await World.start();
  t.teardown(() => world.close());
  world.write('web.pem', world.web.chainPem);
  world.write('web-key.pem', world.web.keyPem);
  return world;
}

const certificate = (world: World, flags: readonly [certificate: string, key: string]): string[] => [
  ...[flags[0], join(world.dir, 'web.pem')],
  ...[flags[1], join(world.dir, 'web-key.pem')],
];

const curl = (world: World, ...args: string[]): Promise<{ stdout: string }> =>
  run('curl', [
    ...['--silent', '--insecure', '--max-time', '20', '--connect-to', `svc.test:443:127.0.0.1:${world.port}`],
    ...certificate(world, ['--cert', '--key']),
    ...args,
  ]);

t.test(
  'curl speaks HTTP/2 and HTTP/1.1 on one port, and both are the same to service and records',
  {
    skip: missing('curl', '--version') || (!hasHttp2() && 'this curl has no HTTP/2'),
  },
  async (t) => {
    const world = await startWorld(t);
    const format = ['--output', '/dev/null', '--write-out', '%{http_version} %{http_code}'];
    const url = 'https://svc.test/public/a?b=c';
    t.equal((await curl(world, '--http2', ...format, url)).stdout, '2 200');
    t.equal((await curl(world, '--http1.1', ...format, url)).stdout, '1.1 200');
    const [first, second] = await world.untilRecords(2);
    t.match(first, {
      request: { protocol: 'http/2', path: '/public/a', route: 'r1' },
      response: { status: 200 },
    });
    t.match(second, { request: { protocol: 'http/1.1' } });
    for (const { principal, decision, request } of [first!, second!]) {
      t.equal(principal.id, world.web.uri);
      t.match([decision.effect, decision.rule, request.host], ['allow', 'public', 'svc.test']);
    }
    t.equal(world.upstream.requests.length, 2);
  },
);

t.test(
  'curl over HTTP/2 is refused what it may not do, and the service hears nothing of it',
  {
    skip: missing('curl', '--version') || (!hasHttp2() && 'this curl has no HTTP/2'),
  },
  async (t) => {
    const world = await startWorld(t);
    const { stdout } = await curl(world, '--http2', '--include', 'https://svc.test/admin/x');
    t.match(stdout, /^HTTP\/2 403/);
    t.match(stdout, /"reason":"policy_denied"/);
    const [record] = await world.untilRecords(1);
    t.match(record, {
      request: { protocol: 'http/2' },
      decision: { effect: 'deny', reason: 'no_rule_matched' },
    });
    t.equal(world.upstream.requests.length, 0);
  },
);

t.test(
  'nghttp sends several requests on one connection, and each is judged',
  {
    skip: missing('nghttp', '--version'),
  },
  async (t) => {
    const world = await startWorld(t);
    const paths = ['/public/1', '/admin/2', '/public/3'];
    const { stdout } = await run('nghttp', [
      // With its tree of dependencies it skips ids of streams, which are then taken for heads that were refused unread.
      '--no-dep',
      ...['--no-verify-peer', '--stat', '--null-out', '--timeout=20s', '-H', ':authority: svc.test'],
      ...certificate(world, ['--cert', '--key'])
        .map((word, i, all) => (i % 2 === 0 ? `${word}=${all[i + 1]}` : ''))
        .filter((word) => word !== ''),
      ...paths.map((path) => `https://127.0.0.1:${world.port}${path}`),
    ]);
    const statuses = new Map(
      [...stdout.matchAll(/ (\d{3}) +\S+ (\/\S+)$/gm)].map(([, code, path]) => [path, code]),
    );
    t.same(
      paths.map((path) => statuses.get(path)),
      ['200', '403', '200'],
    );
    const records = await world.untilRecords(3);
    const decided = new Map(records.map(({ request, decision }) => [request.path, decision.effect]));
    t.same(
      paths.map((path) => decided.get(path)),
      ['allow', 'deny', 'allow'],
    );
    for (const { request } of records) t.equal(request.protocol, 'http/2');
    t.equal(world.upstream.requests.length, 2);
  },
);

t.test(
  'h2load keeps ten streams on each of three connections, and every one is judged and recorded',
  { skip: missing('h2load', '--version') },
  async (t) => {
    const world = await startWorld(t);
    const port = await certified(t, world);
    const { stdout } = await run('h2load', [
      ...['-n', '90', '-c', '3', '-m', '10', '-p', 'h2c', '-H', ':scheme: https'],
      ...[`--connect-to=127.0.0.1:${port}`, 'http://svc.test/public/a'],
    ]);
    t.match(stdout, / 90 2xx, 0 3xx, 0 4xx, 0 5xx/);
    t.equal(world.upstream.requests.length, 90);
    const records = await world.untilRecords(90);
    t.equal(records.length, 90);
    for (const { request, decision, principal } of records)
      t.same([request.protocol, decision.rule, principal.id], ['http/2', 'public', world.web.uri]);
  },
);

t.test(
  'h2load without a certificate is told so on HTTP/2, and the service hears nothing',
  { skip: missing('h2load', '--version') },
  async (t) => {
    const world = await startWorld(t);
    const { stdout } = await run('h2load', [
      ...['-n', '60', '-c', '3', '-m', '10'],
      ...[`--connect-to=127.0.0.1:${world.port}`, 'https://svc.test/public/a'],
    ]);
    t.match(stdout, /^Application protocol: h2$/m);
    t.match(stdout, / 0 2xx, 0 3xx, [1-9]\d* 4xx, 0 5xx/);
    t.equal(world.upstream.requests.length, 0);
    const unknown = (): number =>
      world.records.filter(({ decision }) => decision?.reason === 'certificate_missing').length;
    await waitFor(
      () => unknown() >= 3,
      10_000,
      () => `${unknown()} of 3 refusals`,
    );
    for (const { decision } of world.exchanges) t.equal(decision.effect, 'deny');
  },
);

/** mTLS for a client that has no certificates: plaintext HTTP/2 in, the same with the caller's certificate out. */
async function certified(t: { teardown(handler: () => unknown): void }, world: World): Promise<number> {
  const server = createServer((plain) => {
    const socket = connect({
      ...{ host: '127.0.0.1', port: world.port, servername: 'svc.test', rejectUnauthorized: false },
      ...{ cert: world.web.chainPem, key: world.web.keyPem, ALPNProtocols: ['h2'] },
    });
    pipeline(plain, socket, plain, () => socket.destroy());
  });
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as { port: number }).port;
}
