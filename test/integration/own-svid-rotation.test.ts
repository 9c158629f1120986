import { createHash } from 'node:crypto';
import t, { type Test } from 'tap';
import type { Svid } from '../support/pki.js';
import type { RawClient } from '../support/raw-client.js';
import { GET, refusalsOf, shownAsGood, sourceOf } from '../support/sources.js';
import { type ReadRecord, World, type WorldOptions, waitFor } from '../support/start-proxy.js';

/** Our own certificate is renewed while we serve: nobody who is connected may notice, and nobody who comes. */

async function start(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
}

const renewed = (world: World): Promise<Svid> =>
  world.caA.issue(world.own.uri, { otherSans: ['DNS:svc.test', 'DNS:localhost'] });

const serialShownTo = (client: RawClient): string | undefined =>
  client.socket.getPeerX509Certificate()?.serialNumber.toLowerCase().replace(/^0+/, '');

const untilOwn = (world: World, { serial }: Svid): Promise<ReadRecord> =>
  world.untilSnapshot(({ own }) => own.serial === serial);

async function isShownTo(t: Test, world: World, svid: Svid): Promise<void> {
  const client = await world.client();
  t.equal(serialShownTo(client), svid.serial);
  t.equal((await client.ask(GET))[0]?.status, 200);
}

t.test('a long download goes on while the own SVID is renewed three times', async (t) => {
  const world = await start(t);
  const part = 'x'.repeat(64 * 1024);
  const parts = 8;
  world.upstream.respond = ({ socket }) =>
    void socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${part.length * parts}\r\n\r\n`);
  const client = await world.client();
  client.send(GET);
  await waitFor(() => world.upstream.requests.length === 1);
  const upstream = world.upstream.connections[0]!.socket;
  const received = (): number => client.received.length - (client.received.indexOf('\r\n\r\n') + 4);
  for (let i = 1; i <= parts; i++) {
    upstream.write(part);
    await client.until(() => received() >= i * part.length);
    if (i % 2 === 0 && i < parts) await world.rotateOwn();
  }
  const [answer] = client.answers;
  t.equal(answer?.status, 200);
  t.equal(answer?.body, part.repeat(parts), 'whole');
  world.upstream.respond = ({ socket }) =>
    void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  t.equal((await client.ask(GET))[0]?.status, 200, 'which takes further requests');
  await isShownTo(t, world, world.own);
});

t.test('an upload and a WebSocket go on while the own SVID is renewed', async (t) => {
  const world = await start(t);
  const key = 'AAAAAAAAAAAAAAAAAAAAAA==';
  const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  world.upstream.respond = (connection, fresh) => {
    const { socket, bytes } = connection;
    if (fresh.startsWith('GET /ws'))
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      );
    else if (bytes.startsWith('GET /ws')) socket.write(`echo ${fresh}`);
    else if (bytes.endsWith('end')) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
  };
  const [upload, tunnel] = [await world.client(), await world.client()];
  upload.send('POST /upload HTTP/1.1\r\nHost: svc.test\r\nContent-Length: 9\r\n\r\nbegun-');
  const [accepted] = await tunnel.ask(
    'GET /ws HTTP/1.1\r\nHost: svc.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${key}\r\n\r\n`,
  );
  t.equal(accepted?.status, 101);
  await waitFor(() => world.upstream.bytes.includes('begun-'));
  for (const word of ['one', 'two']) {
    await world.rotateOwn();
    tunnel.send(word);
    await tunnel.until(() => tunnel.received.endsWith(`echo ${word}`));
    t.ok(tunnel.received.endsWith(`echo ${word}`), `the tunnel carries ${word}`);
  }
  const [stored] = await upload.ask('end');
  t.equal(stored?.status, 200);
  t.equal(world.upstream.requests.find(({ target }) => target === '/upload')?.body, 'begun-end');
  t.same(
    world.records.filter(({ event }) => event === 'connection.terminated'),
    [],
    'no connection was ended',
  );
});

const ORDERS = [
  ['own.pem', 'own-key.pem'],
  ['own-key.pem', 'own.pem'],
] as const;

for (const how of ['replace', 'write'] as const) {
  for (const [first, second] of ORDERS) {
    t.test(
      `${first} long before ${second}, by ${how}: the old pair serves in between, through reloads too, then the new one`,
      async (t) => {
        const world = await start(t);
        const [old, next] = [world.own, await renewed(world)];
        const content = { 'own.pem': next.chainPem, 'own-key.pem': next.keyPem };
        const open = await world.client();
        world[how](first, content[first]);
        await waitFor(() => refusalsOf(world, 'identity').length > 0, 4000);
        t.match(refusalsOf(world, 'identity')[0]?.problem, /key/);
        await isShownTo(t, world, old);
        await world.app.reload();
        await isShownTo(t, world, old);
        t.equal((await fetch(`${world.adminUrl}/readyz`)).status, 200, 'ready: the old one is good');
        t.equal(refusalsOf(world, 'identity').length, 1, 'said once');
        world[how](second, content[second]);
        await untilOwn(world, next);
        await isShownTo(t, world, next);
        t.equal((await open.ask(GET))[0]?.status, 200, 'who came before is not disturbed');
        await shownAsGood(t, world, 'identity');
        const rotations = () => world.records.filter(({ event }) => event === 'svid.rotated').length;
        await waitFor(() => rotations() > 0); // records are written some milliseconds later
        t.equal(rotations(), 1);
      },
    );
  }

  t.test(`a pair that is put in place in one go, by ${how}, is never said to be wrong`, async (t) => {
    const world = await start(t);
    for (const order of [...ORDERS, ...ORDERS]) {
      const next = await renewed(world);
      const content = { 'own.pem': next.chainPem, 'own-key.pem': next.keyPem };
      for (const name of order) world[how](name, content[name]);
      await untilOwn(world, next);
      await isShownTo(t, world, next);
    }
    t.same(refusalsOf(world, 'identity'), []);
    t.equal((await sourceOf(world, 'identity')).failures, 0);
  });
}

t.test('a certificate that is written in two halves is never shown by half', async (t) => {
  const world = await start(t);
  const intermediate = await world.caA.intermediate();
  const next = await intermediate.issue(world.own.uri, { otherSans: ['DNS:svc.test'] });
  world.write('own-key.pem', next.keyPem);
  const leaf = next.chainPem.indexOf('-----BEGIN CERTIFICATE-----', 1);
  for (const cut of [leaf / 2, leaf]) {
    const failed = (await sourceOf(world, 'identity')).failures;
    world.write('own.pem', next.chainPem.slice(0, cut));
    await waitFor(async () => (await sourceOf(world, 'identity')).failures > failed, 4000);
    await isShownTo(t, world, world.own);
  }
  t.match(
    refusalsOf(world, 'identity').at(-1)?.problem,
    /chain_/,
    'a leaf without its intermediate is no SVID that a peer would accept',
  );
  world.write('own.pem', next.chainPem);
  await untilOwn(world, next);
  await isShownTo(t, world, next);
});

t.test('the warning of the last quarter goes by each SVID: its successor is warned of anew', async (t) => {
  let skewMs = 0;
  const world = await start(t, { nowMs: () => Date.now() + skewMs });
  const warned = (): string[] =>
    world.records
      .filter(({ event }) => event === 'svid.expiring')
      .map(({ detail }) => String(detail).split(' ')[0]!);
  const lastQuarter = (svid: Svid): number => {
    const lifeMs = svid.notAfter.getTime() - svid.notBefore.getTime();
    return svid.notAfter.getTime() - lifeMs / 4 - Date.now();
  };
  const first = world.own;
  skewMs = lastQuarter(first) - 60_000;
  await world.rotateOwn(); // what is in force is judged at every change
  t.same(warned(), [], 'renewed in time: nothing is said');
  const second = world.own;
  skewMs = lastQuarter(second) + 1000;
  await waitFor(() => warned().length > 0);
  t.same(warned(), [second.serial]);
  const next = await world.caA.issue(second.uri, {
    notBefore: new Date(Date.now() + skewMs - 1000),
    notAfter: new Date(Date.now() + skewMs + 3_600_000),
  });
  world.replace('own.pem', next.chainPem);
  world.replace('own-key.pem', next.keyPem);
  await untilOwn(world, next);
  t.same(warned(), [second.serial], 'a new one has its time before it');
  skewMs = lastQuarter(next) + 1000;
  await waitFor(() => warned().length > 1);
  t.same(warned(), [second.serial, next.serial]);
  const warnings = world.diagnostics.filter(({ message }) => /less than a quarter/.test(message));
  t.same(
    warnings.map(({ level }) => level),
    ['warn', 'warn'],
    'and each once in the log',
  );
});
