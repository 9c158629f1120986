import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { holdInvariants } from '../support/invariants.js';
import { firstConnection, GET, only, resume } from '../support/resumption.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

/** Class B: what an open connection, or the memory of one, is worth. */

const POST = 'POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 2\r\n\r\nhi';

t.test('P015 P018 without its authority a connection ends and its session opens nothing', async (t) => {
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const world = await World.start();
    t.teardown(() => world.close());
    const { client, session } = await firstConnection(world, world.bweb, only(version));
    const busy = await world.client(world.bweb, only(version));
    busy.send('POST /public/p HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 5\r\n\r\nab');
    await waitFor(() => world.upstream.requests.length === 2);
    world.replace('b.pem', world.caC.certPem);
    await client.untilClosed();
    const again = await resume(world, session, world.bweb, only(version));
    t.equal(again.socket.isSessionReused(), false);
    const [answer] = await again.ask(GET);
    t.equal(answer?.status, 403);
    t.equal(JSON.parse(answer?.body ?? '{}').reason, 'chain_untrusted');
    busy.send('cde'); // a request in flight may finish, and nothing after it
    await busy.ask(GET);
    await busy.untilClosed();
    t.equal(busy.answers.length, 1, version);
    t.equal(busy.answers[0]?.headers.connection, 'close');
    t.equal(world.upstream.requests.length, 2);
    const ends = (): ReadRecord[] => world.records.filter(({ event }) => event === 'connection.terminated');
    await waitFor(() => ends().length === 2);
    t.same(
      ends().map(({ reason }) => reason),
      ['chain_untrusted', 'chain_untrusted'],
    );
    await holdInvariants(t, world);
  }
});

t.test('P017 a connection does not outlive the leaf it was opened with', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const notAfter = new Date(Math.ceil(Date.now() / 1000) * 1000 + 1000);
  const short = await world.caA.issue(world.web.uri, { notAfter });
  const [asking, idle, silent] = [
    await world.client(short),
    await world.client(short),
    await world.client(short),
  ];
  t.equal((await idle.ask(GET))[0]?.status, 200);
  let served = 0;
  while (!asking.closed) {
    const [answer] = await asking.ask(GET);
    if (answer?.status === 200) served++;
    t.ok(answer === undefined || answer.status === 200 || answer.status === 403);
    if (answer?.status === 200) t.ok(Date.now() <= notAfter.getTime() + 500, 'served in its time only');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await Promise.all([idle.untilClosed(), silent.untilClosed()]);
  t.ok(Date.now() < notAfter.getTime() + 1500, 'closed within the bound, idle ones too');
  t.ok(served > 5);
  t.equal(world.upstream.requests.length, served + 1);
  await waitFor(() => world.records.filter(({ event }) => event === 'connection.terminated').length >= 2);
  t.same(
    world.records.filter(({ event }) => event === 'handshake'),
    [],
    'a handshake that was accepted is never recorded as refused',
  );
  await holdInvariants(t, world);
});

t.test('P017 an open connection ends with the intermediate it came by', async (t) => {
  const clock = { skewMs: 0 };
  const world = await World.start({ nowMs: () => Date.now() + clock.skewMs });
  t.teardown(() => world.close());
  const short = await world.caA.intermediate({ ttlMs: 600_000 });
  const client = await world.client(await short.issue(world.web.uri));
  t.equal((await client.ask(GET))[0]?.status, 200);
  clock.skewMs = 601_000;
  await client.untilClosed();
  const again = await world.client(await short.issue(world.web.uri));
  const [answer] = await again.ask(GET);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'issuer_expired');
  t.equal(world.upstream.requests.length, 1);
});

t.test('P019 nobody renegotiates, and who tries changes nothing for anybody', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const steady = await world.client(world.admin, only('TLSv1.2'));
  for (let i = 0; i < 100; i++) {
    const client = await world.client(world.web, only('TLSv1.2'));
    if (i % 10 === 0) t.equal((await client.ask(GET))[0]?.status, 200);
    const refused = new Promise<boolean>((resolve) => {
      client.socket.once('error', () => resolve(true)).once('close', () => resolve(true));
      client.socket.renegotiate({ rejectUnauthorized: false }, (error) => resolve(error !== null));
    });
    t.equal(await refused, true);
    client.destroy();
  }
  t.equal((await steady.ask(GET))[0]?.status, 200);
  const ids = new Set(world.upstream.requests.map((request) => request.header('x-spiffe-id')));
  t.same([...ids].sort(), [world.admin.uri, world.web.uri]);
  await holdInvariants(t, world);
});

t.test('P141 a connection that is too old is ended with an answer, and no request is lost', async (t) => {
  const world = await World.start({ extra: 'deadlines: { connectionAge: 200ms, idle: 30s }' });
  t.teardown(() => world.close());
  let client = await world.client();
  let connections = 1;
  for (let request = 0; request < 14; request++) {
    const [answer] = await client.ask(GET);
    t.equal(answer?.status, 200);
    if (answer?.headers.connection === 'close') {
      await client.untilClosed();
      client = await world.client();
      connections++;
    }
    await new Promise((resolve) => setTimeout(resolve, 60)); // age is time that passes, and nothing tells of it
  }
  t.ok(connections >= 3, `${connections} connections`);
  t.equal(world.upstream.requests.length, 14);
  await holdInvariants(t, world);
});

t.test('P014 an identity never follows a session to another name, whatever is asked there', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  for (const version of ['TLSv1.3', 'TLSv1.2'] as const) {
    const { session } = await firstConnection(world, world.admin, only(version));
    const thief = await resume(world, session, world.web, { ...only(version), servername: 'locked.test' });
    t.equal(thief.socket.isSessionReused(), false);
    const [answer] = await thief.ask('GET / HTTP/1.1\r\nHost: locked.test\r\n\r\n');
    t.equal(answer?.status, 403);
  }
  t.ok(world.upstream.requests.every((request) => request.header('host') !== 'locked.test'));
  await holdInvariants(t, world);
});

if (hasOpenssl()) {
  t.test('P020 early data is not read, whoever promised the client that it would be', async (t) => {
    const world = await World.start();
    t.teardown(() => world.close());
    const file = (name: string): string => join(world.dir, name);
    writeFileSync(file('web.pem'), world.web.chainPem);
    writeFileSync(file('web-key.pem'), world.web.keyPem);
    writeFileSync(file('early.txt'), POST);
    await sessionWithEarlyData(world);
    const base = [
      's_client',
      '-tls1_3',
      '-servername',
      'svc.test',
      '-cert',
      file('web.pem'),
      '-key',
      file('web-key.pem'),
    ];
    const output = await run(
      [
        ...base,
        '-connect',
        `127.0.0.1:${world.port}`,
        '-sess_in',
        file('session'),
        '-early_data',
        file('early.txt'),
      ],
      /Early data was (rejected|not sent|accepted)/,
    );
    t.match(output, /Early data was rejected/);
    t.equal(world.upstream.bytes, '');
    await holdInvariants(t, world);
  });
}

function hasOpenssl(): boolean {
  try {
    return /^OpenSSL (1\.1\.1|[3-9])/.test(execFileSync('openssl', ['version'], { encoding: 'utf8' }));
  } catch {
    return false;
  }
}

/** Writes a session file whose ticket allows early data, as another server gives it. */
async function sessionWithEarlyData(world: World): Promise<void> {
  const file = (name: string): string => join(world.dir, name);
  const server = spawn(
    'openssl',
    [
      's_server',
      '-accept',
      '127.0.0.1:0',
      '-tls1_3',
      '-early_data',
      '-cert',
      file('own.pem'),
      '-key',
      file('own-key.pem'),
    ],
    { stdio: ['pipe', 'pipe', 'ignore'] },
  );
  try {
    const port = await until(server.stdout, /ACCEPT [^\s]*:(\d+)/);
    const connect = ['-connect', `127.0.0.1:${port[1]}`, '-servername', 'svc.test'];
    await run(['s_client', '-tls1_3', ...connect, '-sess_out', file('session')], /New, TLSv1.3/, () =>
      waitFor(() => existsSync(file('session'))),
    );
  } finally {
    server.kill('SIGKILL');
  }
}

/** Runs openssl until its output says so, then ends it. */
async function run(
  args: readonly string[],
  wanted: RegExp,
  before: () => Promise<void> = async () => undefined,
): Promise<string> {
  const child = spawn('openssl', [...args], { stdio: ['pipe', 'pipe', 'ignore'] });
  try {
    const match = await until(child.stdout, wanted);
    await before();
    child.stdin.end('Q\n');
    await once(child, 'close');
    return match.input ?? '';
  } finally {
    child.kill('SIGKILL');
  }
}

function until(stream: NodeJS.ReadableStream, wanted: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let text = '';
    stream.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const match = wanted.exec(text);
      if (match !== null) resolve(match);
    });
    stream.once('end', () => reject(new Error(`the output ended without ${wanted}: ${text.slice(-1000)}`)));
  });
}
