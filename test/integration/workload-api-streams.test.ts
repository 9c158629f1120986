import t, { type Test } from 'tap';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import type { X509SvidMessage, X509SvidResponse } from '../../src/identity/workload-proto.js';
import { Backoff } from '../../src/sources/backoff.js';
import { JwtSvidValidator } from '../../src/sources/jwt-svid-validator.js';
import { readInSlices } from '../../src/sources/read-in-slices.js';
import type { WorkloadApiOptions } from '../../src/sources/workload-api.js';
import { FakePacing } from '../support/fake-pacing.js';
import { generateKeys, mintRoot } from '../support/pki.js';
import {
  pkcs8Der,
  socketPath,
  startClient,
  startServer,
  svidMessage,
  svidResponse,
} from '../support/workload-client.js';

const REST_MS = 100;
const FIRST_MESSAGE_MS = 10_000;
const UNAVAILABLE = 14;
const PERMISSION_DENIED = 7;
const UNIMPLEMENTED = 12;

const a = await mintRoot('a.test');
const a2 = await mintRoot('a.test');
const b = await mintRoot('b.test');
const c = await mintRoot('c.test');
const first = await a.issue('spiffe://a.test/p1');
const second = await a.issue('spiffe://a.test/p2');
const one = svidMessage(first, a, { hint: 'internal' });
const two = svidMessage(second, a, { hint: 'external' });
const jwk = async (kid: string): Promise<object> => {
  const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', (await generateKeys()).publicKey);
  return { kty, crv, x, y, kid };
};
const key1 = await jwk('k1');
const jwks = (...keys: readonly object[]): Buffer => Buffer.from(JSON.stringify({ keys }));
const both = { svids: true, jwtBundles: true };
const respond = (svids: readonly X509SvidMessage[], federated: X509SvidResponse['federatedBundles'] = {}) =>
  svidResponse(svids, { federatedBundles: federated });

async function play(
  t: Test,
  before: (server: WorkloadApiServer) => void,
  options: Partial<WorkloadApiOptions> = {},
  pacing = new FakePacing([REST_MS]),
) {
  const path = socketPath(t);
  const server = await startServer(t, path);
  before(server);
  return { path, server, pacing, ...startClient(t, path, options, pacing) };
}

type Played = Awaited<ReturnType<typeof play>>;

/** Lets the time until the next attempt pass. */
const passDelay = ({ pacing }: Played): Promise<number> => pacing.pass(REST_MS, FIRST_MESSAGE_MS);
/** Waits until an attempt has failed and the next one is due. */
const failed = ({ pacing }: Played): Promise<unknown> => pacing.due(REST_MS, FIRST_MESSAGE_MS);

async function nextUpdate({ heard }: Played, send: () => void): Promise<void> {
  const wanted = heard.updates.length + 1;
  send();
  await heard.until(() => heard.updates.length === wanted);
}

/** Waits until one more message was read, whatever came of it: a rest follows each. */
async function oneRead({ pacing }: Played): Promise<void> {
  const rests = (): number => pacing.asked.filter((delayMs) => delayMs === REST_MS).length;
  const before = rests();
  while (rests() === before) await new Promise((resolve) => setImmediate(resolve));
}

t.test('the state holds SVID, bundles and keys; what did not change keeps its object', async (t) => {
  const played = await play(
    t,
    (server) => {
      server.offer('FetchX509SVID', respond([one, two], { 'spiffe://b.test': b.certDer }));
      server.offer('FetchJWTBundles', {
        bundles: { 'spiffe://a.test': jwks(key1), 'spiffe://c.test': jwks(key1) },
      });
    },
    { wants: both },
  );
  const { heard, server, api } = played;
  await heard.until(() => heard.updates.at(-1)?.bundles.size === 3);
  const before = heard.last;
  t.equal(before.svid?.id.uri, 'spiffe://a.test/p1');
  t.same(
    [...before.bundles].map(([domain, { authorities, jwtKeys }]) => [
      domain,
      authorities.length,
      jwtKeys.size,
    ]),
    [
      ['a.test', 1, 1],
      ['b.test', 1, 0],
      ['c.test', 0, 1],
    ],
  );
  t.same(
    api.status.streams.map(({ method, phase, lastError }) => [method, phase, lastError]),
    [
      ['FetchX509SVID', 'open', undefined],
      ['FetchJWTBundles', 'open', undefined],
    ],
  );
  t.match(api.status, { loadedAt: '2026-11-21T10:00:00.000Z', failures: 0 });
  await nextUpdate(played, () => {
    server.offer(
      'FetchX509SVID',
      respond([one], { 'spiffe://b.test': Buffer.concat([b.certDer, c.certDer]) }),
    );
  });
  t.equal(heard.last.bundles.get('a.test'), before.bundles.get('a.test'));
  t.equal(heard.last.bundles.get('c.test'), before.bundles.get('c.test'));
  t.not(heard.last.bundles.get('b.test'), before.bundles.get('b.test'));
  t.equal(heard.last.bundles.get('b.test')?.authorities.length, 2);
});

t.test('equal content gives no second update, in whatever order it comes', async (t) => {
  const federated = {
    'spiffe://b.test': Buffer.concat([b.certDer, c.certDer]),
    'spiffe://c.test': c.certDer,
  };
  const turned = { 'spiffe://c.test': c.certDer, 'spiffe://b.test': Buffer.concat([c.certDer, b.certDer]) };
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one], federated)));
  const { heard, server } = played;
  await heard.until(() => heard.updates.length === 1);
  const stream = server.calls[0]!;
  for (const same of [respond([one], federated), respond([one, two], turned)]) {
    stream.send(same);
    await oneRead(played);
  }
  await nextUpdate(played, () => stream.send(respond([two])));
  t.equal(heard.updates.length, 2, 'only what differs was said');
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p2');
});

t.test('a renewed SVID of the same ID is an update', async (t) => {
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one])));
  const { heard, server } = played;
  await heard.until(() => heard.updates.length === 1);
  const renewed = await a.issue('spiffe://a.test/p1');
  await nextUpdate(played, () => server.offer('FetchX509SVID', respond([svidMessage(renewed, a)])));
  t.equal(heard.last.svid?.certificatePem, renewed.certPem);
  t.ok(heard.last.svid?.key.export({ format: 'der', type: 'pkcs8' }).equals(pkcs8Der(renewed)));
});

t.test('a list that is no longer sent is withdrawn, and so is an authority', async (t) => {
  const { der } = await a.crl({ revoked: ['1'] });
  const wide = { ...one, bundle: Buffer.concat([a.certDer, a2.certDer]) };
  const played = await play(t, (server) =>
    server.offer('FetchX509SVID', svidResponse([wide], { crl: [der] })),
  );
  const { heard, server } = played;
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.last.crls.length, 1);
  await nextUpdate(played, () => server.offer('FetchX509SVID', respond([one])));
  t.same(heard.last.crls, []);
  t.equal(heard.last.bundles.get('a.test')?.authorities.length, 1);
});

t.test('PermissionDenied after a state revokes it; the same state is new when it comes back', async (t) => {
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one])));
  const { heard, server, api } = played;
  await heard.until(() => heard.updates.length === 1);
  server.answer('FetchX509SVID', { code: PERMISSION_DENIED, details: 'no identity issued' });
  server.calls[0]!.end(PERMISSION_DENIED, 'no identity issued');
  await heard.until(() => heard.problems.length === 1);
  t.match(heard.problems[0], {
    message: /FetchX509SVID: PERMISSION_DENIED: no identity issued$/,
    revoked: true,
  });
  t.equal(api.status.loadedAt, undefined);
  t.equal(await passDelay(played), 1000);
  t.equal(await passDelay(played), 2000, 'it was denied again');
  t.equal(heard.problems.length, 1, 'what is gone is not said to be gone again');
  await failed(played);
  server.answer('FetchX509SVID', 'offer');
  await passDelay(played);
  await heard.until(() => heard.recoveries === 1);
  t.equal(heard.updates.length, 2);
  server.calls.at(-1)!.end(PERMISSION_DENIED, 'no identity issued');
  await heard.until(() => heard.problems.length === 2);
  t.equal(heard.problems[1]?.revoked, true, 'and said again when it happens again');
});

t.test('a revocation is said even where the same words were said without one', async (t) => {
  const played = await play(
    t,
    (server) => server.answer('FetchX509SVID', { code: PERMISSION_DENIED, details: 'no identity issued' }),
    { hint: 'external' },
  );
  const { heard, server } = played;
  await failed(played);
  t.equal(heard.problems[0]?.revoked, false, 'there was nothing to revoke');
  server.answer('FetchX509SVID', 'offer');
  server.offer('FetchX509SVID', respond([one])); // trust, but not the SVID: the trouble is not over
  await passDelay(played);
  await heard.until(() => heard.problems.length === 2);
  server.calls.at(-1)!.end(PERMISSION_DENIED, 'no identity issued');
  await heard.until(() => heard.problems.length === 3);
  t.equal(heard.problems[2]?.message, heard.problems[0]?.message);
  t.equal(heard.problems[2]?.revoked, true);
});

t.test('PermissionDenied overtakes a message that was not read yet', async (t) => {
  const offer = (server: WorkloadApiServer): void => server.offer('FetchX509SVID', respond([one]));
  const played = await play(t, offer, {}, new FakePacing());
  const { heard, server } = played;
  await heard.until(() => heard.updates.length === 1);
  server.answer('FetchX509SVID', 'hang');
  const stream = server.calls[0]!;
  stream.send(respond([two])); // waits for the rest to pass
  stream.end(PERMISSION_DENIED);
  await heard.until(() => heard.problems.length === 1);
  t.equal(heard.problems[0]?.revoked, true);
  t.equal(heard.updates.length, 1, 'the message was not adopted first');
});

t.test('PermissionDenied for the keys of tokens withdraws them, and the SVID stays', async (t) => {
  const played = await play(
    t,
    (server) => {
      server.offer('FetchX509SVID', respond([one]));
      server.offer('FetchJWTBundles', { bundles: { 'spiffe://a.test': jwks(key1) } });
    },
    { wants: both },
  );
  const { heard, server } = played;
  await heard.until(() => heard.updates.at(-1)?.bundles.get('a.test')?.jwtKeys.size === 1);
  server.calls.find(({ method }) => method === 'FetchJWTBundles')!.end(PERMISSION_DENIED);
  await heard.until(() => heard.problems.length === 1);
  t.match(heard.problems[0], { message: /FetchJWTBundles: PERMISSION_DENIED$/, revoked: false });
  t.equal(heard.last.bundles.get('a.test')?.jwtKeys.size, 0);
  t.equal(heard.last.bundles.get('a.test')?.authorities.length, 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p1');
});

t.test('an agent that is away leaves the last good in force, and is said once', async (t) => {
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one])));
  const { heard, server, path, api } = played;
  await heard.until(() => heard.updates.length === 1);
  server.close();
  await heard.until(() => heard.problems.length === 1);
  for (let attempt = 0; attempt < 3; attempt++) await passDelay(played);
  t.ok(heard.problems.length <= 2, 'cut off, then not there: each said once');
  t.ok(heard.problems.every(({ revoked }) => !revoked));
  t.match(api.status.streams[0]?.lastError, `connect ENOENT ${path}`);
  await failed(played);
  const again = await startServer(t, path);
  again.offer('FetchX509SVID', respond([one]));
  await passDelay(played);
  await heard.until(() => heard.recoveries === 1);
  t.equal(heard.updates.length, 1, 'equal content, no reload');
  t.equal(api.status.streams[0]?.lastError, undefined);
  const said = heard.problems.length;
  again.close();
  await heard.until(() => heard.problems.length === said + 1); // what is over may be said again
});

t.test('a socket that is not there yet is waited for', async (t) => {
  const path = socketPath(t);
  const pacing = new FakePacing();
  const { heard } = startClient(t, path, {}, pacing);
  await heard.until(() => heard.problems.length === 1);
  t.equal(
    heard.problems[0]?.message,
    `Workload API at unix:${path}: FetchX509SVID: UNAVAILABLE: connect ENOENT ${path}`,
  );
  await pacing.due();
  const server = await startServer(t, path);
  server.offer('FetchX509SVID', respond([one]));
  await pacing.pass();
  await heard.until(() => heard.recoveries === 1);
  t.equal(heard.updates.length, 1);
});

t.test('delays double to 30 s, never shrink, and start anew after a reset', async (t) => {
  for (const lot of [0, 0.5, 1]) {
    const backoff = new Backoff(() => lot);
    const delays = Array.from({ length: 1100 }, () => backoff.nextMs());
    t.equal(delays[0], 1000 * (1 + lot / 4));
    t.equal(delays[1], 2 * delays[0]!);
    t.ok(
      delays.every((delayMs, i) => i === 0 || delayMs >= delays[i - 1]!),
      'non-decreasing',
    );
    t.equal(delays.at(-1), 24_000 * (1 + lot / 4), 'up to 30 s, by the lot');
    backoff.reset();
    t.equal(backoff.nextMs(), delays[0]);
  }
});

t.test('a stream that ends well is opened again at once, but not in a loop', async (t) => {
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one])));
  const { heard, server, pacing } = played;
  await heard.until(() => heard.updates.length === 1);
  const delays: number[] = [];
  let stream = server.calls[0]!;
  for (let round = 0; round < 4; round++) {
    const next = server.nextCall();
    stream.end();
    delays.push(await passDelay(played));
    stream = await next;
    if (round === 2) pacing.nowMs += 10_000;
  }
  t.same(delays, [0, 1000, 1000, 0], 'at once again after a while');
  t.equal(heard.updates.length, 1);
});

t.test('a message that came whole before the end counts', async (t) => {
  const played = await play(t, (server) => server.answer('FetchX509SVID', 'hang'));
  const { heard, server } = played;
  const stream = await server.nextCall();
  stream.send(respond([one]));
  stream.send(respond([two]));
  stream.end(UNAVAILABLE, 'restarting');
  await heard.until(() => heard.problems.length === 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p2');
});

t.test(
  'token keys that the agent does not know of leave the SVID alone and are asked for once',
  async (t) => {
    const played = await play(
      t,
      (server) => {
        server.offer('FetchX509SVID', respond([one]));
        server.answer('FetchJWTBundles', { code: UNIMPLEMENTED, details: 'unknown method' });
      },
      { wants: both },
    );
    const { heard, server, api, pacing } = played;
    await heard.until(() => heard.updates.length === 1 && heard.problems.length === 1);
    t.match(
      heard.problems[0]?.message,
      /FetchJWTBundles: UNIMPLEMENTED: unknown method; it is not asked again$/,
    );
    t.equal(api.status.streams[1]?.phase, 'stopped');
    t.equal(server.calls.filter(({ method }) => method === 'FetchJWTBundles').length, 1);
    t.same(pacing.pending(REST_MS), []);
  },
);

t.test('one that asks for trust alone never asks for a key', async (t) => {
  const { der } = await b.crl({ revoked: ['5'] });
  const { heard, server } = await play(
    t,
    (server) =>
      server.offer('FetchX509Bundles', {
        crl: [der],
        bundles: { 'spiffe://a.test': a.certDer, 'spiffe://b.test': b.certDer },
      }),
    { wants: { svids: false, jwtBundles: false } },
  );
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.last.svid, undefined);
  t.same([...heard.last.bundles.keys()], ['a.test', 'b.test']);
  t.equal(heard.last.crls[0]?.has('5'), true);
  t.same(
    server.calls.map(({ method }) => method),
    ['FetchX509Bundles'],
  );
});

t.test('the SVID is chosen by ID and hint; one that is withdrawn is replaced by none', async (t) => {
  const id = parseSpiffeId('spiffe://a.test/p2');
  if (!id.ok) throw new Error(id.error);
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one, two])), {
    id: id.value,
    hint: 'external',
  });
  const { heard, server } = played;
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p2');
  await nextUpdate(played, () =>
    server.offer('FetchX509SVID', respond([one], { 'spiffe://b.test': b.certDer })),
  );
  t.equal(heard.last.svid, undefined);
  t.ok(heard.last.bundles.has('b.test'), 'trust goes on');
  await heard.until(() => heard.problems.length === 1);
  t.match(heard.problems[0], {
    message: /no SVID with the ID spiffe:\/\/a.test\/p2 and the hint "external" was given/,
    revoked: false,
  });
  await nextUpdate(played, () => server.offer('FetchX509SVID', respond([one, two])));
  await heard.until(() => heard.recoveries === 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p2');
});

t.test('of many messages the newest counts, and few are read', async (t) => {
  const hang = (server: WorkloadApiServer): void => server.answer('FetchX509SVID', 'hang');
  const played = await play(t, hang, {}, new FakePacing());
  const { heard, server } = played;
  const stream = await server.nextCall();
  stream.send(respond([one]));
  await heard.until(() => heard.updates.length === 1);
  for (let i = 0; i < 200; i++)
    stream.send(respond([i % 2 === 0 ? one : two], { 'spiffe://b.test': b.certDer }));
  await new Promise((resolve) => setImmediate(resolve));
  stream.end(UNAVAILABLE, 'done'); // the end comes after all of them
  await heard.until(() => heard.problems.length === 1);
  t.equal(heard.updates.length, 2, 'one message while resting, not two hundred');
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p2', 'the last of them');
});

t.test('a heavy message is read in slices', async (t) => {
  function* heavy() {
    for (let i = 0; i < 40; i++) {
      const end = performance.now() + 3;
      while (performance.now() < end);
      yield;
    }
    return { ok: true, value: 'read' } as const;
  }
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  t.same(await readInSlices(heavy(), () => true), { ok: true, value: 'read' });
  isDone = true;
  t.ok(turns >= 15, `others had ${turns} turns`);
  t.equal(
    await readInSlices(heavy(), () => false),
    undefined,
    'and is given up when nobody wants it any more',
  );
});

t.test('after close nothing is said, and the agent sees the streams end', async (t) => {
  const played = await play(t, (server) => server.offer('FetchX509SVID', respond([one])));
  const { heard, server, api, pacing } = played;
  await heard.until(() => heard.updates.length === 1);
  const stream = server.calls[0]!;
  stream.send(respond([two]));
  api.close();
  await stream.ended;
  t.same(pacing.pending(), [], 'no timer is left');
  t.equal(heard.updates.length, 1);
  t.same(heard.problems, []);
  t.equal(api.status.streams[0]?.phase, 'closed');
  api.start();
  t.equal(server.calls.length, 1, 'a closed one stays closed');
});

t.test('one that is closed by its own listener stays closed', async (t) => {
  const path = socketPath(t);
  const pacing = new FakePacing();
  const { api, heard } = startClient(t, path, {}, pacing);
  const said = heard.onProblem.bind(heard);
  heard.onProblem = (message, how) => {
    api.close();
    said(message, how);
  };
  await heard.until(() => heard.problems.length === 1);
  t.same(pacing.pending(), []);
  t.equal(api.status.streams[0]?.phase, 'closed');
});

t.test('a TCP endpoint is spoken to directly, whatever proxy the environment names', async (t) => {
  const server = await WorkloadApiServer.listen('127.0.0.1:0');
  t.teardown(() => server.close());
  server.offer('FetchX509SVID', respond([one]));
  const names = ['grpc_proxy', 'https_proxy', 'http_proxy'];
  const before = names.map((name) => [name, process.env[name]] as const);
  for (const name of names) process.env[name] = 'http://127.0.0.1:9';
  t.teardown(() => {
    for (const [name, value] of before)
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
  });
  const { heard, api } = startClient(t, '', {
    socket: { kind: 'tcp', host: '127.0.0.1', port: server.port },
  });
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p1');
  t.equal(api.status.socket, `127.0.0.1:${server.port}`);
});

t.test('an odd socket path is reached as it is written', async (t) => {
  const path = `${socketPath(t)} ?#%41:é`.replace('/tmp/', '//tmp/');
  const server = await startServer(t, path.replace('//tmp/', '/tmp/'));
  server.offer('FetchX509SVID', respond([one]));
  const { heard } = startClient(t, path);
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.problems.length, 0);
});

t.test('tokens are judged by the agent: good, bad, nobody knows, not offered', async (t) => {
  const path = socketPath(t);
  const server = await startServer(t, path);
  const validator = new JwtSvidValidator({ kind: 'unix', path });
  t.teardown(() => validator.close());
  const asked: unknown[] = [];
  t.match(await validator.validate('billing', 't'), { ok: false, error: { kind: 'unsupported' } });
  server.validateBy((request) => {
    asked.push(request);
    if (request.svid === 'bad') return { code: 3, details: 'token has expired' };
    return request.svid === 'odd'
      ? 'not an ID'
      : request.svid === 'busy'
        ? { code: UNAVAILABLE }
        : 'spiffe://a.test/p';
  });
  t.match(await validator.validate('billing', 'good'), { ok: true, value: { uri: 'spiffe://a.test/p' } });
  t.same(asked, [{ audience: 'billing', svid: 'good' }]);
  t.match(await validator.validate('billing', 'bad'), {
    ok: false,
    error: { kind: 'rejected', message: 'INVALID_ARGUMENT: token has expired' },
  });
  t.match(await validator.validate('billing', 'odd'), { ok: false, error: { kind: 'unavailable' } });
  t.match(await validator.validate('billing', 'busy'), { ok: false, error: { kind: 'unavailable' } });
  server.close();
  t.match(await validator.validate('billing', 'good'), { ok: false, error: { kind: 'unavailable' } });
});
