import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { gzipSync } from 'node:zlib';
import { fromJSON, type MessageTypeDefinition } from '@grpc/proto-loader';
import t, { type Test } from 'tap';
import {
  type BundleMessages,
  workloadCodecOptions,
  workloadDescriptor,
  type X509SvidResponse,
} from '../../src/identity/workload-proto.js';
import { FakePacing } from '../support/fake-pacing.js';
import { mintRoot } from '../support/pki.js';
import { endWith, frame, grpcHeaders, startRawGrpcServer } from '../support/raw-grpc-server.js';
import {
  type Heard,
  socketPath,
  startClient,
  startServer,
  svidMessage,
  svidResponse,
} from '../support/workload-client.js';

const REST_MS = 100;
const FIRST_MESSAGE_MS = 10_000;
const MIB = 1024 * 1024;

const a = await mintRoot('a.test');
const b = await mintRoot('b.test');
const svid = await a.issue('spiffe://a.test/p');
const other = await a.issue('spiffe://a.test/q');
const good = svidResponse([svidMessage(svid, a)]);
const changed = (federatedBundles: BundleMessages): X509SvidResponse => ({ ...good, federatedBundles });

const codec = fromJSON(workloadDescriptor, workloadCodecOptions).X509SVIDResponse as MessageTypeDefinition<
  object,
  object
>;
const encoded = (response: X509SvidResponse): Buffer => codec.serialize(response);

interface Played {
  readonly heard: Heard;
  readonly pacing: FakePacing;
  readonly calls: () => number;
}

/** The first call is answered well and held open; what comes after it is up to the script. */
async function afterGood(
  t: Test,
  next: (stream: ServerHttp2Stream, call: number) => void,
): Promise<Played & { readonly first: ServerHttp2Stream }> {
  const path = socketPath(t);
  const opened: ServerHttp2Stream[] = [];
  const server = await startRawGrpcServer(t, path, (stream, call) => {
    stream.respond(grpcHeaders, { waitForTrailers: true });
    opened.push(stream);
    if (call === 0) stream.write(frame(encoded(good)));
    else next(stream, call);
  });
  const pacing = new FakePacing([REST_MS]);
  const { heard } = startClient(t, path, {}, pacing);
  await heard.until(() => heard.updates.length === 1);
  return { heard, pacing, calls: () => server.calls, first: opened[0]! };
}

const passDelay = ({ pacing }: Played): Promise<number> => pacing.pass(REST_MS, FIRST_MESSAGE_MS);

/** The last good state is in force and was not said to be gone. */
function stays(t: Test, { heard }: Played): void {
  t.equal(heard.updates.length, 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p');
  t.ok(
    heard.problems.every(({ revoked }) => !revoked),
    'nothing was revoked',
  );
}

t.test('a server that hangs is given up after 10 s, said once and asked again', async (t) => {
  const path = socketPath(t);
  const server = await startServer(t, path);
  server.answer('FetchX509SVID', 'hang');
  const pacing = new FakePacing();
  const { heard } = startClient(t, path, {}, pacing);
  const delays: number[] = [];
  for (let round = 0; round < 3; round++) {
    const stream = server.calls[round] ?? (await server.nextCall());
    t.equal(await pacing.pass(), FIRST_MESSAGE_MS);
    await stream.ended; // it is not left open
    delays.push(await pacing.pass());
  }
  t.same(delays, [1000, 2000, 4000]);
  t.equal(heard.problems.length, 1);
  t.match(
    heard.problems[0]?.message,
    /DEADLINE_EXCEEDED: nothing came within 10 s; is it the socket of a SPIFFE agent\?$/,
  );
});

t.test('a server that takes connections and says nothing, or no HTTP/2, is given up too', async (t) => {
  for (const says of ['', 'HTTP/1.1 400 Bad Request\r\n\r\n', 'SSH-2.0-OpenSSH_9.6\r\n']) {
    const path = socketPath(t);
    const sockets = new Set<Socket>();
    const closed: Promise<unknown>[] = [];
    const server = createServer((socket) => {
      sockets.add(socket);
      closed.push(new Promise((resolve) => socket.once('close', resolve)));
      socket.on('error', () => {}).resume();
      socket.write(says);
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    t.teardown(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    const spokenTo = once(server, 'connection').then(([socket]) => once(socket as Socket, 'data'));
    const pacing = new FakePacing();
    const { heard, api } = startClient(t, path, {}, pacing);
    await spokenTo;
    if (says === '') t.equal(await pacing.pass(), FIRST_MESSAGE_MS);
    await heard.until(() => heard.problems.length === 1);
    t.match(
      heard.problems[0]?.message,
      says === '' ? /DEADLINE_EXCEEDED/ : /UNAVAILABLE/,
      JSON.stringify(says),
    );
    t.equal(closed.length, 1);
    await Promise.all(closed); // or each attempt would cost a descriptor
    t.equal(await pacing.pass(FIRST_MESSAGE_MS), 1000);
    api.close();
  }
});

t.test('half a message counts for nothing, however the stream ends after it', async (t) => {
  const bytes = frame(encoded(changed({ 'spiffe://b.test': b.certDer })));
  const half = bytes.subarray(0, bytes.length / 2);
  const endings: readonly ((stream: ServerHttp2Stream) => void)[] = [
    (stream) => endWith(stream, { 'grpc-status': '0' }),
    (stream) => endWith(stream, { 'grpc-status': '14' }),
    (stream) => stream.close(2),
    (stream) => stream.session?.destroy(),
  ];
  for (const ending of endings) {
    const played = await afterGood(t, (stream) => stream.write(bytes));
    played.first.write(half, () => ending(played.first));
    await played.pacing.due(REST_MS, FIRST_MESSAGE_MS);
    stays(t, played);
    await passDelay(played);
    await played.heard.until(() => played.heard.updates.length === 2);
    t.ok(played.heard.last.bundles.has('b.test'), 'the whole one does');
  }
});

t.test('half a first message and then silence is a hang', async (t) => {
  const path = socketPath(t);
  await startRawGrpcServer(t, path, (stream) => {
    stream.respond(grpcHeaders);
    stream.write(frame(encoded(good)).subarray(0, 100));
  });
  const pacing = new FakePacing();
  const { heard } = startClient(t, path, {}, pacing);
  t.equal(await pacing.pass(), FIRST_MESSAGE_MS);
  await heard.until(() => heard.problems.length === 1);
  t.match(heard.problems[0]?.message, /DEADLINE_EXCEEDED/);
  t.equal(heard.updates.length, 0);
});

t.test('bytes that are no such message are refused, said once, and the stream goes on', async (t) => {
  const played = await afterGood(t, () => {});
  const { heard, first } = played;
  const whole = encoded(good);
  const bad: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.from('garbage'), /it is not a protobuf message, or cut short$/],
    [whole.subarray(0, -1), /it is not a protobuf message, or cut short$/],
    [Buffer.alloc(0), /svids is empty$/],
    [Buffer.alloc(4 * MIB, Buffer.from('0a00', 'hex')), /it has more than \d+ fields$/],
    // Right outside, broken inside.
    [Buffer.from('0a010a', 'hex'), /it cannot be decoded$/],
    [encoded({ ...good, crl: [Buffer.from('x')] }), /crl 1: it is not DER$/],
    [
      encoded(svidResponse([svidMessage(svid, a, { spiffeId: other.uri })])),
      /it is that of .*\/p, not of .*\/q$/,
    ],
    [
      encoded(svidResponse([{ ...svidMessage(svid, a), x509SvidKey: svidMessage(other, a).x509SvidKey }])),
      /it is not the key of the certificate$/,
    ],
  ];
  for (const [index, [bytes, problem]] of bad.entries()) {
    const seen = heard.problems.length;
    first.write(frame(bytes));
    await heard.until(() => heard.problems.length > seen || index === 1);
    t.match(heard.problems.at(-1)?.message, problem);
  }
  stays(t, played);
  t.equal(heard.problems.length, bad.length - 1, 'the two that read alike were said once');
  first.write(frame(encoded(changed({ 'spiffe://b.test': b.certDer }))));
  await heard.until(() => heard.recoveries === 1);
  t.ok(heard.last.bundles.has('b.test'));
});

t.test('fields that nobody knows change nothing', async (t) => {
  const unknown = Buffer.from('fa3f0568656c6c6f980601', 'hex');
  const played = await afterGood(t, () => {});
  played.first.write(
    frame(Buffer.concat([unknown, encoded(changed({ 'spiffe://b.test': b.certDer })), unknown])),
  );
  await played.heard.until(() => played.heard.updates.length === 2);
  t.ok(played.heard.last.bundles.has('b.test'));
  t.same(played.heard.problems, []);
});

t.test('a message beyond 4 MiB is not taken in, and neither is one that unpacks to more', async (t) => {
  for (const [headers, bytes, details] of [
    [{}, frame(Buffer.alloc(5 * MIB)), /RESOURCE_EXHAUSTED: Received message larger than max/],
    [
      {},
      frame(Buffer.alloc(10), { length: 0xffffffff }),
      /RESOURCE_EXHAUSTED: Received message larger than max/,
    ],
    [
      { 'grpc-encoding': 'gzip' },
      frame(gzipSync(Buffer.alloc(64 * MIB)), { compressed: 1 }),
      /RESOURCE_EXHAUSTED: Received message that decompresses to a size larger than 4194304/,
    ],
  ] as const) {
    const path = socketPath(t);
    const server = await startRawGrpcServer(t, path, (stream) => {
      stream.respond({ ...grpcHeaders, ...headers }, { waitForTrailers: true });
      stream.write(bytes);
    });
    const pacing = new FakePacing();
    const { heard, api } = startClient(t, path, {}, pacing);
    await heard.until(() => heard.problems.length === 1);
    t.match(heard.problems[0]?.message, details);
    t.equal(await pacing.pass(REST_MS, FIRST_MESSAGE_MS), 1000, 'and is asked again later');
    t.equal(heard.updates.length, 0);
    t.ok(server.calls >= 1);
    api.close();
  }
});

t.test('compression that does not fit its headers ends the stream, never the process', async (t) => {
  for (const [headers, compressed] of [
    [{}, 1],
    [{ 'grpc-encoding': 'gzip' }, 1],
    [{ 'grpc-encoding': 'nonsense' }, 1],
  ] as const) {
    const path = socketPath(t);
    await startRawGrpcServer(t, path, (stream) => {
      stream.respond({ ...grpcHeaders, ...headers }, { waitForTrailers: true });
      stream.write(frame(encoded(good), { compressed }));
    });
    const pacing = new FakePacing();
    const { heard, api } = startClient(t, path, {}, pacing);
    await heard.until(() => heard.problems.length === 1);
    t.equal(
      heard.updates.length,
      0,
      `${JSON.stringify(headers)} ${compressed}: ${heard.problems[0]?.message}`,
    );
    t.equal(await pacing.pass(FIRST_MESSAGE_MS), 1000);
    api.close();
  }
});

t.test('a gzip message that says so is read', async (t) => {
  const path = socketPath(t);
  await startRawGrpcServer(t, path, (stream) => {
    stream.respond({ ...grpcHeaders, 'grpc-encoding': 'gzip' });
    stream.write(frame(gzipSync(encoded(good)), { compressed: 1 }));
  });
  const { heard } = startClient(t, path);
  await heard.until(() => heard.updates.length === 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/p');
});

t.test('ends that gRPC does not know are problems to come back from', async (t) => {
  const endings: readonly ((stream: ServerHttp2Stream) => void)[] = [
    (stream) => endWith(stream, { 'grpc-status': '99', 'grpc-message': 'what' }),
    (stream) => endWith(stream, { 'grpc-status': 'x' }),
    (stream) => endWith(stream, {}),
    (stream) => stream.close(8),
  ];
  for (const ending of endings) {
    const played = await afterGood(t, () => {});
    ending(played.first);
    t.equal(await passDelay(played), 1000, `${played.heard.problems[0]?.message}`);
    stays(t, played);
  }
});

t.test('what the server says of itself is shown on one line, and not all of it', async (t) => {
  const path = socketPath(t);
  const server = await startServer(t, path);
  server.answer('FetchX509SVID', {
    code: 14,
    details: `one\r\n{"forged":"record"}\u001b[31m\u202e${'x'.repeat(5000)}`,
  });
  const pacing = new FakePacing();
  const { heard } = startClient(t, path, {}, pacing);
  await heard.until(() => heard.problems.length === 1);
  const message = heard.problems[0]!.message;
  t.match(message, /UNAVAILABLE: one \{"forged":"record"\} \[31m x+$/);
  t.match(message, /^[ -~]+$/);
  t.ok(message.length < 500, `${message.length} characters`);
});

t.test('problems without end are not said without end', async (t) => {
  const path = socketPath(t);
  const server = await startServer(t, path);
  server.answer('FetchX509SVID', 'hang');
  const pacing = new FakePacing([REST_MS, 1000, 2000, 4000, 8000, 16_000, 24_000]);
  const { heard, api } = startClient(t, path, {}, pacing);
  for (let call = 0; call < 100; call++) {
    const stream = server.calls[call] ?? (await server.nextCall());
    stream.end(14, `problem ${call}`);
  }
  t.ok(heard.problems.length <= 32, `${heard.problems.length} were said`);
  t.ok(heard.problems.length >= 30);
  t.ok(api.status.failures >= 98, 'all were counted');
});

t.test('a flood of messages leaves the event loop to others, and ends in the newest state', async (t) => {
  const path = socketPath(t);
  const messages = [
    frame(encoded(good)),
    frame(encoded(changed({ 'spiffe://b.test': b.certDer }))),
    frame(Buffer.from('garbage')),
  ];
  const chunk = Buffer.concat(Array.from({ length: 60 }, (_, i) => messages[i % messages.length]!));
  const last = frame(encoded(changed({ 'spiffe://c.test': b.certDer })));
  const chunks = 200;
  await startRawGrpcServer(t, path, (stream) => {
    stream.respond(grpcHeaders);
    let sent = 0;
    const pump = (): void => {
      while (sent < chunks) {
        sent++;
        if (!stream.write(chunk)) return void stream.once('drain', pump);
      }
      stream.write(last);
    };
    pump();
  });
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const { heard } = startClient(t, path);
  await heard.until(() => heard.updates.at(-1)?.bundles.has('c.test') ?? false);
  delay.disable();
  t.ok(delay.max / 1e6 < 500, `the longest wait of others was ${Math.round(delay.max / 1e6)} ms`);
  t.ok(heard.updates.length < 100, `${heard.updates.length} of ${chunks * 60} messages became states`);
});
