import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { holdInvariants } from '../support/invariants.js';
import { firstConnection, GET, only, resume } from '../support/resumption.js';
import { POLICY, World } from '../support/start-proxy.js';

interface Vector {
  readonly id: string;
  readonly input: Readonly<Record<string, unknown>>;
  readonly expect: Readonly<Record<string, unknown>>;
  readonly why: string;
}

const vectors = JSON.parse(readFileSync('test/data/tls-session.json', 'utf8')) as Vector[];
const reasonOf = (body: string | undefined): unknown => JSON.parse(body ?? '{}').reason;

type Play = (t: Test, world: World, clock: { skewMs: number }) => Promise<void>;

/** Sessions are never resumed, in any version: what a vector asks of the second connection is a full handshake. */
const neverResumed =
  (version: 'TLSv1.2' | 'TLSv1.3', hops = 1): Play =>
  async (t, world) => {
    let { client, session } = await firstConnection(world, world.web, only(version));
    for (let i = 0; i < hops; i++) {
      client.destroy();
      client = await resume(world, session, world.web, only(version));
      t.equal(client.socket.isSessionReused(), false, 'a full handshake');
      t.equal((await client.ask(GET))[0]?.status, 200, 'which a sound certificate passes');
      session = client.socket.getSession() ?? session;
    }
    const bare = await resume(world, session, undefined, only(version));
    t.equal(bare.socket.isSessionReused(), false);
    t.equal((await bare.ask(GET))[0]?.status, 403, 'and nobody without one');
  };

const withoutCertificate =
  (version: 'TLSv1.2' | 'TLSv1.3'): Play =>
  async (t, world) => {
    const { session } = await firstConnection(world, undefined, only(version));
    const second = await resume(world, session, undefined, only(version));
    const [answer] = await second.ask(GET);
    t.equal(second.socket.isSessionReused(), false);
    t.equal(answer?.status, 403);
    t.equal(reasonOf(answer?.body), 'certificate_missing');
    t.equal(world.upstream.bytes, '');
  };

const resumeExpired =
  (version: 'TLSv1.2' | 'TLSv1.3'): Play =>
  async (t, world, clock) => {
    const { client, session } = await firstConnection(world, world.web, only(version));
    clock.skewMs = 2 * 3_600_000;
    await client.untilClosed();
    const second = await resume(world, session, world.web, only(version));
    const [answer] = await second.ask(GET);
    t.equal(answer?.status, 403);
    t.equal(reasonOf(answer?.body), 'svid_expired');
    t.equal(world.upstream.requests.length, 1);
    clock.skewMs = 0;
  };

const resumeElsewhere =
  (version: 'TLSv1.2' | 'TLSv1.3'): Play =>
  async (t, world) => {
    const other = await World.start(); // the same names under other authorities
    t.teardown(() => other.close());
    const { session } = await firstConnection(world, world.web, only(version));
    const second = await resume(other, session, world.web, only(version));
    const [answer] = await second.ask(GET);
    t.equal(second.socket.isSessionReused(), false);
    t.equal(answer?.status, 403);
    t.match(reasonOf(answer?.body), /^chain_/);
    t.equal(other.upstream.bytes, '');
  };

const resumeOtherName =
  (version: 'TLSv1.2' | 'TLSv1.3'): Play =>
  async (t, world) => {
    const nobody = await firstConnection(world, undefined, only(version));
    const web = await firstConnection(world, world.web, only(version));
    const locked = { ...only(version), servername: 'locked.test' };
    for (const [session, identity] of [
      [nobody.session, undefined],
      [web.session, undefined],
      [web.session, world.web],
    ] as const) {
      const second = await resume(world, session, identity, locked);
      t.equal(second.socket.isSessionReused(), false);
      const [answer] = await second.ask('GET / HTTP/1.1\r\nHost: locked.test\r\n\r\n');
      t.equal(answer?.status, 403);
      t.equal(reasonOf(answer?.body), identity === undefined ? 'certificate_missing' : 'policy_denied');
    }
    t.equal(world.upstream.requests.length, 1);
  };

const renegotiate: Play = async (t, world) => {
  const client = await world.client(world.web, only('TLSv1.2'));
  t.equal((await client.ask(GET))[0]?.status, 200);
  const error = await new Promise<Error | null>((resolve) => {
    client.socket.renegotiate({ rejectUnauthorized: false }, resolve);
    client.socket.once('error', resolve).once('close', () => resolve(new Error('closed')));
  });
  t.ok(error, 'the client is told no');
  if (!client.closed) client.destroy();
  t.equal(world.upstream.requests.length, 1);
};

const oldVersion: Play = async (t, world) => {
  for (const version of ['TLSv1', 'TLSv1.1'] as const) {
    const before = world.exchanges.length;
    // Level 0, or this client's own OpenSSL would not even offer it.
    const client = await world.client(world.web, {
      minVersion: version,
      maxVersion: version,
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    t.ok(client.error, `${version} is refused in the handshake`);
    const records = (await world.untilRecords(before + 1)).slice(before);
    t.same(
      records.map(({ event, decision }) => [event, decision.reason]),
      [['handshake', 'tls_handshake_failed']],
    );
  }
};

const livesTooLong: Play = async (t, world, clock) => {
  const { client } = await firstConnection(world, world.web, {});
  clock.skewMs = 3_600_000 + 1000;
  await client.untilClosed();
  await client.ask(GET);
  t.equal(client.answers.length, 1);
  t.equal(world.upstream.requests.length, 1);
  clock.skewMs = 0;
};

const bundleRemoved: Play = async (t, world) => {
  const { client } = await firstConnection(world, world.bweb, {});
  world.replace('b.pem', world.caC.certPem);
  await client.untilClosed();
  t.equal(client.answers.length, 1);
  t.equal(world.upstream.requests.length, 1);
};

const policyChanged: Play = async (t, world) => {
  const { client } = await firstConnection(world, world.web, {});
  const before = (await world.snapshot()).policyRevision;
  world.replace('policy.yaml', POLICY.replace(/^ {2}- \{ id: public.*\n/m, ''));
  await world.untilSnapshot((snapshot) => snapshot.policyRevision !== before);
  const [answer] = await client.ask(GET);
  t.equal(answer?.status, 403);
  t.equal(reasonOf(answer?.body), 'policy_denied');
  world.replace('policy.yaml', POLICY);
  await world.untilSnapshot((snapshot) => snapshot.policyRevision === before);
};

/** What early data there could be is in early-data.test.ts; here, that a session never carries any. */
const plays: Readonly<Record<string, Play>> = {
  'tls-session/resume-no-cert-12': withoutCertificate('TLSv1.2'),
  'tls-session/resume-expired': resumeExpired('TLSv1.3'),
  'tls-session/resume-other-listener': resumeElsewhere('TLSv1.3'),
  'tls-session/resume-other-sni': resumeOtherName('TLSv1.3'),
  'tls-session/ticket-lifetime': neverResumed('TLSv1.3'),
  'tls-session/ticket-chain': neverResumed('TLSv1.3', 4),
  'tls-session/early-data': neverResumed('TLSv1.3'),
  'tls-session/renegotiation-12': renegotiate,
  'tls-session/tls11': oldVersion,
  'tls-session/long-lived-connection': livesTooLong,
  'tls-session/open-connection-bundle-removed': bundleRemoved,
  'tls-session/policy-change-open-connection': policyChanged,
};
const variants: Readonly<Record<string, Play>> = {
  'resume without a certificate, TLS 1.3': withoutCertificate('TLSv1.3'),
  'resume expired, TLS 1.2': resumeExpired('TLSv1.2'),
  'resume at another listener, TLS 1.2': resumeElsewhere('TLSv1.2'),
  'resume under another name, TLS 1.2': resumeOtherName('TLSv1.2'),
  'a chain of sessions, TLS 1.2': neverResumed('TLSv1.2', 4),
};

t.same(
  vectors.map(({ id }) => id).filter((id) => plays[id] === undefined),
  [],
  'every vector is played',
);

const all = [...vectors.map(({ id }) => [id, plays[id]!] as const), ...Object.entries(variants)];
for (const [when, rotated] of [
  ['as started', false],
  ['after the own SVID was rotated', true], // setSecureContext must not bring back what the first context forbade
] as const) {
  for (const [name, play] of all) {
    t.test(`${when}: ${name}`, async (t) => {
      const clock = { skewMs: 0 };
      const world = await World.start({
        nowMs: () => Date.now() + clock.skewMs,
        extra: 'deadlines: { idle: 24h, connectionAge: 24h }',
      });
      t.teardown(() => world.close());
      if (rotated) await world.rotateOwn();
      await play(t, world, clock);
      if (world.app !== undefined) await holdInvariants(t, world);
    });
  }
}
