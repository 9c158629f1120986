import { createServer, type Socket } from 'node:net';
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { SignJWT } from 'jose';
import { createLocalJWKSet } from 'jose/jwks/local';
import { jwtVerify } from 'jose/jwt/verify';
import t, { type Test } from 'tap';
import type { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import type { X509SvidMessage, X509SvidResponse } from '../../src/identity/workload-proto.js';
import { JwtSvidValidator } from '../../src/sources/jwt-svid-validator.js';
import type { WorkloadApi, WorkloadApiOptions } from '../../src/sources/workload-api.js';
import { FakePacing } from '../support/fake-pacing.js';
import { generateKeys, mintRoot } from '../support/pki.js';
import {
  type Heard,
  socketPath,
  startClient,
  startServer,
  svidMessage,
  svidResponse,
} from '../support/workload-client.js';
import { readVectors, type Vector } from '../unit/identity/vectors.js';

/** Every vector of the Workload API, played against the real client by a real server over a real socket. */

type Json = Readonly<Record<string, unknown>>;

const REST_MS = 100;
const FIRST_MESSAGE_MS = 10_000;

const cas = {
  CA1: await mintRoot('a.test', { subject: 'CN=CA1' }),
  CA9: await mintRoot('a.test', { subject: 'CN=CA9' }),
  B: await mintRoot('b.test'),
  C: await mintRoot('c.test'),
};
const federatedDers: Readonly<Record<string, Buffer>> = {
  'spiffe://b.test': cas.B.certDer,
  'spiffe://c.test': cas.C.certDer,
};

const DEFAULT_ID = 'spiffe://a.test/p';
const svids = new Map<string, X509SvidMessage>();
async function svidOf(id: string, hint = ''): Promise<X509SvidMessage> {
  const known = svids.get(id) ?? svidMessage(await cas.CA1.issue(id), cas.CA1);
  svids.set(id, known);
  return { ...known, hint };
}

const fieldNames: Readonly<Record<string, keyof X509SvidMessage>> = {
  spiffe_id: 'spiffeId',
  x509_svid: 'x509Svid',
  x509_svid_key: 'x509SvidKey',
  bundle: 'bundle',
};

function bytesOf(text: unknown): Buffer {
  const [, form, name] = /^@(\w+)\((\w+)\)$/.exec(String(text)) ?? [];
  const ca = cas[name as keyof typeof cas];
  if (ca === undefined) return Buffer.from(String(text));
  return form === 'der' ? ca.certDer : Buffer.from(ca.certPem);
}

/** One message of FetchX509SVID from a vector's words; what they do not say is good. */
async function messageOf(words: Json): Promise<X509SvidResponse> {
  const listed =
    words.svids === undefined || words.svids === 'good' ? [{}] : (words.svids as readonly unknown[]);
  const messages: X509SvidMessage[] = [];
  for (const item of listed) {
    const wanted = (typeof item === 'string' ? { spiffe_id: item } : item) as Json;
    const message = await svidOf(
      String(wanted.spiffe_id ?? words.spiffe_id ?? DEFAULT_ID),
      String(wanted.hint ?? ''),
    );
    const without = fieldNames[String(wanted['@without'])];
    messages.push({
      ...message,
      ...(words.bundle === undefined ? {} : { bundle: bytesOf(words.bundle) }),
      ...(without === undefined ? {} : { [without]: without === 'spiffeId' ? '' : Buffer.alloc(0) }),
    });
  }
  const federated = (words.federated ?? []) as readonly string[];
  const named = Object.entries((words.federated_bundles ?? {}) as Json).map(([name, text]) => [
    name,
    bytesOf(text),
  ]);
  return svidResponse(messages, {
    federatedBundles: Object.fromEntries([...federated.map((name) => [name, federatedDers[name]]), ...named]),
  });
}

interface Played {
  readonly server: WorkloadApiServer;
  readonly api: WorkloadApi;
  readonly heard: Heard;
  readonly pacing: FakePacing;
}

async function play(
  t: Test,
  before: (server: WorkloadApiServer) => void,
  options: Partial<WorkloadApiOptions> = {},
): Promise<Played> {
  const path = socketPath(t);
  const server = await startServer(t, path);
  before(server);
  const pacing = new FakePacing();
  return { server, pacing, ...startClient(t, path, options, pacing) };
}

/** The next attempt's delay, when it is asked for; time passes to it. */
const nextDelay = (pacing: FakePacing): Promise<number> => pacing.pass(REST_MS, FIRST_MESSAGE_MS);

async function playStatus(t: Test, input: Json, expect: Json): Promise<void> {
  const code = status[input.status as keyof typeof status] as number;
  const { heard, pacing, api, server } = await play(t, (server) => server.answer('FetchX509SVID', { code }));
  await heard.until(() => heard.problems.length === 1);
  t.match(heard.problems[0]?.message, String(input.status), 'it is reported by name');
  t.equal(heard.updates.length, 0, 'nothing to be ready with');
  if (expect.outcome === 'stop') {
    t.equal(api.status.streams[0]?.phase, 'stopped');
    t.same(pacing.pending(), [], 'no further attempt is on its way');
    t.equal(server.calls.length, 1);
    return;
  }
  t.equal(expect.outcome, 'retry');
  const delays = [await nextDelay(pacing), await nextDelay(pacing), await nextDelay(pacing)];
  t.same(delays, [1000, 2000, 4000], 'back-off');
  t.equal(heard.problems.length, 1, 'one problem is said once');
}

/** A good state first; then the message must be reported, discarded, and leave that state in force. */
async function playDiscard(t: Test, words: Json): Promise<void> {
  const { heard, pacing, server, api } = await play(t, (server) => server.answer('FetchX509SVID', 'hang'));
  const stream = await server.nextCall();
  stream.send(await messageOf({ svids: ['spiffe://a.test/before'] }));
  await heard.until(() => heard.updates.length === 1);
  stream.send(await messageOf(words));
  await Promise.all([heard.until(() => heard.problems.length === 1), pacing.pass(FIRST_MESSAGE_MS)]);
  t.match(heard.problems[0]?.message, /a message was refused, the last good one stays: /);
  t.equal(heard.problems[0]?.revoked, false);
  t.equal(heard.updates.length, 1);
  t.equal(heard.last.svid?.id.uri, 'spiffe://a.test/before');
  t.equal(api.status.streams[0]?.phase, 'open', 'the stream goes on');
}

async function playSequence(t: Test, sequence: readonly Json[], expect: Json): Promise<void> {
  const { heard, pacing, server } = await play(t, (server) => server.answer('FetchX509SVID', 'hang'));
  const stream = await server.nextCall();
  for (const [index, words] of sequence.entries()) {
    stream.send(await messageOf(words));
    const done = heard.until(() => heard.updates.length === index + 1);
    await (index === 0 ? done : Promise.all([done, pacing.pass(FIRST_MESSAGE_MS)]));
  }
  if (expect.bundles) t.same([...heard.last.bundles.keys()], expect.bundles);
  if (expect.usable) t.same([heard.last.svid?.id.uri], expect.usable);
}

async function playApply(t: Test, words: Json, expect: Json): Promise<void> {
  const message = await messageOf(words);
  const { heard } = await play(t, (server) => server.offer('FetchX509SVID', message));
  await heard.until(() => heard.updates.length === 1);
  if (expect.default) t.equal(heard.last.svid?.id.uri, expect.default);
  if (expect['b.test']) {
    t.equal(expect['b.test'], 'known, no authorities, all SVIDs rejected');
    t.same(heard.last.bundles.get('b.test')?.authorities, []);
  }
}

/** What the vectors describe in words; by id. */
const scenes: Readonly<Record<string, (t: Test, vector: Vector<Json>) => Promise<void>>> = {
  metadata: async (t, { expect }) => {
    const { server } = await play(t, () => {}, { wants: { svids: true, jwtBundles: true } });
    while (server.calls.length < 2) await server.nextCall();
    for (const { metadata, path, method } of server.calls) {
      for (const [name, value] of Object.entries(expect.metadata as Json)) t.same(metadata[name], [value]);
      t.equal(path, `/SpiffeWorkloadAPI/${method}`, 'no proto package in the path (WA-11)');
    }
  },
  'no-tls': async (t) => {
    const path = socketPath(t);
    const sockets = new Set<Socket>();
    const first = new Promise<Buffer>((resolve) => {
      const server = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => {});
        socket.once('data', resolve);
      }).listen(path);
      t.teardown(() => {
        for (const socket of sockets) socket.destroy();
        server.close();
      });
    });
    startClient(t, path);
    t.match((await first).toString('latin1'), /^PRI \* HTTP\/2\.0/, 'HTTP/2 in plain text, no TLS hello');
  },
  'err-invalid-argument-validate': async (t) => {
    const path = socketPath(t);
    const server = await startServer(t, path);
    server.validateBy(({ svid }) => (svid === 'good' ? DEFAULT_ID : { code: status.INVALID_ARGUMENT }));
    const validator = new JwtSvidValidator({ kind: 'unix', path });
    t.teardown(() => validator.close());
    t.match(await validator.validate('billing', 'bad'), { ok: false, error: { kind: 'rejected' } });
    t.match(
      await validator.validate('billing', 'good'),
      { ok: true, value: { uri: DEFAULT_ID } },
      'not fatal',
    );
  },
  'stream-ends-ok': async (t) => {
    const { pacing, heard } = await play(t, (server) => server.answer('FetchX509SVID', { code: status.OK }));
    t.equal(await nextDelay(pacing), 0, 'at once');
    t.same([await nextDelay(pacing), await nextDelay(pacing)], [1000, 2000], 'then at a pace');
    t.match(heard.problems[0]?.message, /the server keeps closing the stream$/);
  },
  'backoff-reset': async (t, { input }) => {
    const { pacing, heard, server } = await play(t, (server) => server.answer('FetchX509SVID', 'hang'));
    const delays: number[] = [];
    let stream = await server.nextCall();
    for (const step of input.sequence as readonly string[]) {
      if (step === 'fail') {
        stream.end(status.UNAVAILABLE, 'gone');
        const next = server.nextCall();
        delays.push(await nextDelay(pacing));
        stream = await next;
        continue;
      }
      stream.send(await messageOf({}));
      await heard.until(() => heard.updates.length === 1);
    }
    t.same(delays, [1000, 2000, 1000]);
    t.equal(delays.at(-1), delays[0], 'the last equals the first');
  },
  'hint-missing': async (t, { input }) => {
    const message = await messageOf(input.message as Json);
    const { heard } = await play(t, (server) => server.offer('FetchX509SVID', message), {
      hint: String(input.configuredHint),
    });
    await heard.until(() => heard.problems.length === 1);
    t.match(
      heard.problems[0]?.message,
      /no SVID with the hint "external" was given; given: spiffe:\/\/a.test\/p1/,
    );
    t.equal(heard.last.svid, undefined, 'no other identity in its place');
    t.same([...heard.last.bundles.keys()], ['a.test'], 'whom we trust goes on');
    t.equal(heard.recoveries, 0);
  },
  'jwt-bundles-key-use': async (t, { expect }) => {
    const { kty, crv, x, y } = await crypto.subtle.exportKey('jwk', (await generateKeys()).publicKey);
    const message = await messageOf({});
    const { heard } = await play(
      t,
      (server) => {
        server.offer('FetchX509SVID', message);
        server.offer('FetchJWTBundles', {
          bundles: {
            'spiffe://a.test': Buffer.from(
              JSON.stringify({ keys: [{ kty, crv, x, y, kid: 'k', use: 'jwt-svid' }] }),
            ),
          },
        });
      },
      { wants: { svids: true, jwtBundles: true } },
    );
    await heard.until(() => heard.updates.at(-1)?.bundles.get('a.test')?.jwtKeys.size === expect.jwtKeys);
    const bundle = heard.last.bundles.get('a.test');
    t.equal(bundle?.authorities.length, 1, 'beside the authorities of the domain');
    const jwks = createLocalJWKSet({ keys: [...(bundle?.jwtKeys.values() ?? [])] });
    t.ok(await jwks({ alg: 'ES256', kid: 'k' }), 'jose finds the key');
  },
  'x509-bundle-not-for-jwt': async (t) => {
    const { heard } = await play(
      t,
      (server) =>
        server.offer('FetchX509Bundles', { crl: [], bundles: { 'spiffe://a.test': cas.CA1.certDer } }),
      { wants: { svids: false, jwtBundles: false } },
    );
    await heard.until(() => heard.updates.length === 1);
    const bundle = heard.last.bundles.get('a.test');
    t.equal(bundle?.authorities.length, 1);
    const token = await new SignJWT({ sub: DEFAULT_ID })
      .setProtectedHeader({ alg: 'ES256' })
      .sign(cas.CA1.keys.privateKey);
    await t.rejects(
      jwtVerify(token, createLocalJWKSet({ keys: [...(bundle?.jwtKeys.values() ?? [])] })),
      { code: 'ERR_JWKS_NO_MATCHING_KEY' },
      'the key of an authority verifies no token',
    );
  },
  'own-svid-expires': async (t) => {
    // Readiness is the snapshot's affair; from here it gets the dates, a problem that is said, and attempts that go on.
    const { heard, pacing, server } = await play(t, (server) => server.answer('FetchX509SVID', 'hang'));
    const stream = await server.nextCall();
    stream.send(await messageOf({}));
    await heard.until(() => heard.updates.length === 1);
    server.close();
    await heard.until(() => heard.problems.length === 1);
    pacing.nowMs = (heard.last.svid?.chain.leaf.notAfterMs ?? 0) + 1000;
    for (let attempt = 0; attempt < 3; attempt++) t.ok((await nextDelay(pacing)) >= 1000, 'it keeps trying');
    t.ok(heard.last.svid?.id.uri, 'the last good stays, with its dates');
    t.equal(heard.updates.length, 1);
    t.ok(heard.problems.every(({ revoked }) => !revoked));
  },
};

/** The double must say it too: one that takes anything would prove nothing. */
async function playServer(t: Test, { input, expect }: Vector<Json>): Promise<void> {
  const path = socketPath(t);
  await startServer(t, path);
  const client = new Client(`unix://${path}`, credentials.createInsecure());
  t.teardown(() => client.close());
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(input.metadata as Json)) metadata.set(name, String(value));
  const stream = client.makeServerStreamRequest(
    '/SpiffeWorkloadAPI/FetchX509SVID',
    () => Buffer.alloc(0),
    (bytes: Buffer) => bytes,
    {},
    metadata,
  );
  const error = await new Promise<ServiceError>((resolve) => {
    stream.on('error', resolve as (error: Error) => void);
    stream.resume();
  });
  t.equal(status[error.code], expect.code);
}

/** A scene of its own, else what the input's shape says. */
function sceneOf(vector: Vector<Json>): ((t: Test, vector: Vector<Json>) => Promise<void>) | undefined {
  const { id, input, expect } = vector;
  const scene = scenes[id.slice(id.indexOf('/') + 1)];
  if (scene !== undefined) return scene;
  if (input.role === 'server') return playServer;
  if (input.status !== undefined) return (t) => playStatus(t, input, expect);
  if (Array.isArray(input.sequence)) return (t) => playSequence(t, input.sequence as readonly Json[], expect);
  const words = input.message as Json | undefined;
  if (words === undefined) return undefined;
  if (expect.outcome === 'apply') return (t) => playApply(t, words, expect);
  // Where the vectors leave a choice, ours is to discard: it is among those allowed.
  const discards = expect.outcome === 'discard' || expect.allowed?.includes('discard');
  return discards ? (t) => playDiscard(t, words) : undefined;
}

for (const vector of readVectors<Json>('workload-api')) {
  const scene = sceneOf(vector);
  t.test(`${vector.id}: ${vector.why}`, async (t) => {
    if (scene === undefined) throw new Error('there is no scene for this vector');
    await scene(t, vector);
  });
}
