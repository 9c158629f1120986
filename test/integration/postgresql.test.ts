import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import type { Svid } from '../support/pki.js';
import { type World, waitFor } from '../support/start-proxy.js';
import { PlainClient, startTcpWorld, TcpService } from '../support/tcp-world.js';

const STARTTLS = '\n    startTls: postgres';
const SSL_REQUEST = Buffer.from('0000000804d2162f', 'hex');
const GSS_REQUEST = Buffer.from('0000000804d21630', 'hex');
const STARTUP = Buffer.from('0000000c000300007500\0\0'.replaceAll('\0', '00'), 'hex');

async function start(t: Test, extra = ''): Promise<{ world: World; service: TcpService }> {
  const service = await new TcpService().open();
  t.teardown(() => service.close());
  const world = await startTcpWorld(service, { listener: STARTTLS, extra });
  t.teardown(() => world.close());
  return { world, service };
}

/** TLS behind what was said on a plain transport. */
async function overTls(world: World, plain: PlainClient, identity: Svid = world.web) {
  plain.socket.removeAllListeners('data');
  return world.client(identity, { socket: plain.socket, ALPNProtocols: undefined as never });
}

t.test('PostgreSQL’s own request for TLS is answered, and the service sees none of it', async (t) => {
  const { world, service } = await start(t);
  for (const asksGss of [false, true]) {
    const plain = new PlainClient(world.port);
    if (asksGss) {
      plain.socket.write(GSS_REQUEST);
      await waitFor(() => plain.received === 'N');
      plain.received = '';
    }
    plain.socket.write(SSL_REQUEST);
    await waitFor(() => plain.received === 'S');
    const client = await overTls(world, plain);
    client.send('startup');
    await client.until(() => client.received === 'startup');
    client.socket.end();
    await client.untilClosed();
  }
  const direct = await world.client(world.web, { ALPNProtocols: ['postgresql'] });
  t.equal(direct.socket.alpnProtocol, 'postgresql');
  direct.send('startup');
  await direct.until(() => direct.received === 'startup');
  await waitFor(() => service.received === 'startup'.repeat(3));
});

t.test('what is not a request for TLS is refused, and PostgreSQL’s clients are told so', async (t) => {
  const { world, service } = await start(t, 'deadlines: { handshake: 400ms }');
  const cases: (readonly [Buffer, RegExp, string])[] = [
    [STARTUP, /^E.*SFATAL.*C28000.*TLS and a client certificate are required/s, 'tls_required'],
    [Buffer.from('0000001004d2162e0000000100000002', 'hex'), /^$/, 'tls_required'],
    [Buffer.concat([SSL_REQUEST, STARTUP]), /^$/, 'tls_required'],
    [Buffer.concat([GSS_REQUEST, SSL_REQUEST]), /^$/, 'tls_required'],
    [Buffer.from('GET / HTTP/1.1\r\n\r\n'), /^$/, 'tls_required'],
    [Buffer.from([0, 0, 0]), /^$/, 'tls_handshake_timeout'],
  ];
  for (const [i, [bytes, answer, reason]] of cases.entries()) {
    const client = new PlainClient(world.port);
    client.socket.write(bytes);
    await client.untilClosed();
    t.match(client.received, answer);
    const records = await world.untilRecords(i + 1);
    t.same([records[i]?.event, records[i]?.decision.reason], ['handshake', reason]);
  }
  t.equal(service.sockets.length, 0);
});

t.test('who is refused is told in PostgreSQL’s words, and nothing of the policy', async (t) => {
  const { world, service } = await start(t);
  const plain = new PlainClient(world.port);
  plain.socket.write(SSL_REQUEST);
  await waitFor(() => plain.received === 'S');
  const client = await overTls(world, plain, world.admin);
  await client.untilClosed();
  const [record] = await world.untilRecords(1);
  t.equal(record?.decision.reason, 'no_rule_matched');
  t.match(client.received, new RegExp(`^E.*C28000.*policy_denied \\(${record?.id}\\)`, 's'));
  t.equal(service.sockets.length, 0);
});

const BIN = existsSync('/usr/lib/postgresql')
  ? readdirSync('/usr/lib/postgresql').map((version) => join('/usr/lib/postgresql', version, 'bin'))[0]
  : undefined;
const isRoot = process.getuid?.() === 0;
const hasPsql = spawnSync('psql', ['--version']).status === 0;
const account = spawnSync('id', ['-u', 'postgres']).stdout?.toString().trim();
const missing =
  BIN === undefined || !hasPsql || (isRoot && !account)
    ? 'PostgreSQL (server and psql) is not installed'
    : false;

t.test(
  'psql with a client certificate reaches a real PostgreSQL, and is turned away by name',
  { skip: missing },
  async (t) => {
    const port = await startPostgres(t);
    const service = { port } as TcpService;
    const world = await startTcpWorld(service, { listener: STARTTLS });
    t.teardown(() => world.close());
    const files = (identity: Svid, name: string): string => {
      world.write(`${name}.pem`, identity.chainPem);
      world.write(`${name}.key`, identity.keyPem);
      chmodSync(join(world.dir, `${name}.key`), 0o600);
      return `sslcert=${join(world.dir, `${name}.pem`)} sslkey=${join(world.dir, `${name}.key`)}`;
    };
    const ask = (credential: string, sslmode = 'verify-full') =>
      promisify(execFile)('psql', [
        `host=localhost hostaddr=127.0.0.1 port=${world.port} user=postgres dbname=postgres ` +
          `sslmode=${sslmode} sslrootcert=${join(world.dir, 'a.pem')} ${credential}`,
        '-Atc',
        'select 6 * 7',
      ]);
    const { stdout } = await ask(files(world.web, 'web'));
    t.equal(stdout.trim(), '42');
    const ends = await world.untilRecords(2);
    t.same(
      [ends[1]?.phase, ends[1]?.decision.effect, ends[1]?.response.outcome],
      ['end', 'allow', 'complete'],
    );
    const denied = await ask(files(world.admin, 'admin')).catch((error) => error);
    t.match(denied.stderr, /policy_denied/);
    const plain = await ask('', 'disable').catch((error) => error);
    t.match(plain.stderr, /TLS and a client certificate are required/);
  },
);

/** A server that trusts whoever reaches it, as one behind a sidecar does. */
async function startPostgres(t: Test): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-pg-'));
  const data = join(folder, 'data');
  const who = isRoot ? { uid: Number(account), gid: Number(account) } : {};
  mkdirSync(data);
  if (isRoot) for (const path of [folder, data]) chownSync(path, Number(account), Number(account));
  const made = spawnSync(
    join(BIN!, 'initdb'),
    ['-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync'],
    who,
  );
  t.equal(made.status, 0, made.stderr?.toString());
  const port = await freePort();
  writeFileSync(
    join(data, 'postgresql.auto.conf'),
    `port = ${port}\nunix_socket_directories = ''\nfsync = off\n`,
  );
  const server = spawn(join(BIN!, 'postgres'), ['-D', data], { ...who, stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  server.stderr.on('data', (chunk) => {
    log += chunk;
  });
  t.teardown(async () => {
    server.kill('SIGINT');
    await once(server, 'exit');
    rmSync(folder, { recursive: true, force: true });
  });
  await waitFor(
    () => log.includes('ready to accept connections'),
    30_000,
    () => log,
  );
  return port;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  return port;
}
