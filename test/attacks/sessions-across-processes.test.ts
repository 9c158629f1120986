import { once } from 'node:events';
import { createServer } from 'node:tls';
import t, { type Test } from 'tap';
import type { Svid } from '../support/pki.js';
import { type ClientOptions, RawClient } from '../support/raw-client.js';
import { firstConnection, only, resume } from '../support/resumption.js';
import { ProcessWorld } from '../support/run-process.js';
import { changeConfig } from '../support/sources.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

/** Class B beyond one process: what a session of one worker, or of the process before a restart, is worth at another. */

type Version = 'TLSv1.2' | 'TLSv1.3';
const versions: readonly Version[] = ['TLSv1.3', 'TLSv1.2'];

/** What a client may hold of former connections, by who held it. */
interface Memories {
  readonly web: Buffer;
  readonly bweb: Buffer;
  readonly nobody: Buffer;
  readonly admin: Buffer;
  readonly short: Buffer;
  /** Of a server that gives tickets, with our very certificate and key. */
  readonly foreign: Buffer;
}

interface Try {
  readonly name: string;
  readonly session: keyof Memories;
  readonly identity: Svid | undefined;
  readonly expected: 200 | string;
  readonly options?: Partial<ClientOptions>;
  readonly host?: string;
}

const request = (path: string, host = 'svc.test'): string => `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`;

/** A session that a server with resumption gave away: what it holds is real, and its peer was us by all appearances. */
async function foreignSession(proxy: ProcessWorld, version: Version): Promise<Buffer> {
  const { own, web } = proxy.world;
  const server = createServer(
    {
      cert: own.chainPem,
      key: own.keyPem,
      requestCert: true,
      rejectUnauthorized: false,
      minVersion: version,
      maxVersion: version,
    },
    (socket) => socket.on('error', () => undefined).end('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n'),
  );
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  try {
    const open = (session?: Buffer): Promise<RawClient> =>
      RawClient.open({ identity: web, port: address.port, ...only(version), ...(session && { session }) });
    const client = await open();
    const session = await ticketOf(client);
    const again = await open(session);
    if (!again.socket.isSessionReused()) throw new Error('it is no session that could be resumed');
    again.destroy();
    client.destroy();
    return session;
  } finally {
    server.close();
  }
}

/** In TLS 1.2 it is there after the handshake, in 1.3 it comes later. */
async function ticketOf({ socket }: RawClient): Promise<Buffer> {
  const session = socket.getTLSTicket() === undefined ? undefined : socket.getSession();
  return session ?? ((await once(socket, 'session')) as [Buffer])[0];
}

async function remember(t: Test, proxy: ProcessWorld, version: Version, short: Svid): Promise<Memories> {
  const { web, bweb, admin } = proxy.world;
  const sessionOf = async (identity: Svid | undefined): Promise<Buffer> => {
    const { client, session } = await firstConnection(proxy, identity, only(version));
    // In 1.3 OpenSSL gives tickets even so: names of sessions that nobody keeps. They are what is offered below.
    if (version === 'TLSv1.2') t.equal(client.socket.getTLSTicket(), undefined, 'no ticket is given');
    client.destroy();
    return session;
  };
  return {
    web: await sessionOf(web),
    bweb: await sessionOf(bweb),
    nobody: await sessionOf(undefined),
    admin: await sessionOf(admin),
    short: await sessionOf(short),
    foreign: await foreignSession(proxy, version),
  };
}

/** Twice each: connections are dealt out in turn, so that with two workers one of them did not give the session. */
async function tryAll(
  t: Test,
  proxy: ProcessWorld,
  version: Version,
  memories: Memories,
  tries: readonly Try[],
): Promise<void> {
  for (const { name, session, identity, expected, options, host } of tries) {
    for (const turn of [1, 2]) {
      const client = await resume(proxy, memories[session], identity, { ...only(version), ...options });
      t.equal(client.socket.isSessionReused(), false, `${name}: a full handshake`);
      const [answer] = await client.ask(request(`/public/${name.replaceAll(' ', '-')}-${turn}`, host));
      const got = answer?.status === 200 ? 200 : JSON.parse(answer?.body ?? '{}').reason;
      t.equal(got, expected, `${name}, ${version}`);
      client.destroy();
    }
  }
}

const asBefore = ({ world: { web, admin } }: ProcessWorld): readonly Try[] => [
  { name: 'sound', session: 'web', identity: web, expected: 200 },
  { name: 'bare', session: 'web', identity: undefined, expected: 'certificate_missing' },
  { name: 'never had one', session: 'nobody', identity: undefined, expected: 'certificate_missing' },
  { name: 'foreign ticket', session: 'foreign', identity: web, expected: 200 },
  { name: 'foreign and bare', session: 'foreign', identity: undefined, expected: 'certificate_missing' },
  {
    name: 'other name',
    session: 'admin',
    identity: web,
    expected: 'policy_denied',
    options: { servername: 'locked.test' },
    host: 'locked.test',
  },
  { name: 'other client', session: 'web', identity: admin, expected: 200 },
];

/** After web was revoked, the authority of bweb taken away, and the time of the short one was over. */
const afterChanges = ({ world: { web, bweb } }: ProcessWorld, short: Svid): readonly Try[] => [
  { name: 'revoked', session: 'web', identity: web, expected: 'svid_revoked' },
  { name: 'revoked foreign', session: 'foreign', identity: web, expected: 'svid_revoked' },
  { name: 'authority gone', session: 'bweb', identity: bweb, expected: 'chain_untrusted' },
  { name: 'expired', session: 'short', identity: short, expected: 'svid_expired' },
];

const takeAway = ({ world }: ProcessWorld): void => {
  world.replace('revoked.yaml', `version: 1\nrevoked: [{ id: "${world.web.uri}", reason: r }]\n`);
  world.replace('b.pem', world.caC.certPem);
};

const mintShort = ({ world }: ProcessWorld): Promise<Svid> =>
  world.caA.issue('spiffe://a.test/short', {
    notAfter: new Date(Math.ceil(Date.now() / 1000) * 1000 + 2000),
  });

const untilOver = (svid: Svid): Promise<void> => waitFor(() => Date.now() > svid.notAfter.getTime());

/** Whatever came in at all is who its certificate says, at every request. */
function nobodyGotInAsAnother(t: Test, { world }: ProcessWorld): void {
  const known = new Set([world.web.uri, world.bweb.uri, world.admin.uri, 'spiffe://a.test/short']);
  for (const request of world.upstream.requests) {
    t.ok(known.has(request.header('x-spiffe-id') ?? ''));
    t.not(request.header('host'), 'locked.test');
    t.notMatch(request.target, /bare|never|revoked|gone|expired/);
  }
  const lateWeb = world.upstream.requests.filter(({ target }) => target.includes('other-client'));
  t.ok(lateWeb.every((request) => request.header('x-spiffe-id') === world.admin.uri));
  t.ok(world.exchanges.every(({ tls }) => tls.resumed !== true));
}

for (const version of versions) {
  t.test(`P014 P015 P016 P017 a session of one worker opens nothing at another, ${version}`, async (t) => {
    const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
    t.teardown(() => proxy.close());
    const short = await mintShort(proxy);
    const memories = await remember(t, proxy, version, short);
    await tryAll(t, proxy, version, memories, asBefore(proxy));
    const seen = (): ReadRecord[] =>
      proxy.accesses.filter(({ request }) => request.path?.startsWith('/public/sound'));
    await waitFor(() => seen().length === 2);
    t.same(
      seen()
        .map(({ stream }) => stream.worker)
        .sort(),
      [1, 2],
      'each worker was asked',
    );
    takeAway(proxy);
    await waitFor(async () => {
      const { agreed, revocations, trust } = await proxy.snapshot();
      const b = (trust as ReadRecord[]).find(({ trustDomain }) => trustDomain === 'b.test');
      return agreed && revocations === 1 && b?.authorities[0].sha256 === proxy.world.caC.sha256;
    });
    await untilOver(short);
    await tryAll(t, proxy, version, memories, afterChanges(proxy, short));
    nobodyGotInAsAnother(t, proxy);
  });

  t.test(`P014 P015 P016 P017 a session opens nothing after a restart, ${version}`, async (t) => {
    const first = await ProcessWorld.start();
    let proxy = first;
    t.teardown(() => proxy.close());
    const short = await mintShort(proxy);
    const memories = await remember(t, proxy, version, short);
    proxy = await first.restart();
    t.equal(proxy.port, first.port, 'the same address');
    await tryAll(t, proxy, version, memories, asBefore(proxy));
    takeAway(proxy);
    const port = proxy.port;
    await untilOver(short);
    proxy = await proxy.restart();
    t.equal(proxy.port, port);
    await tryAll(t, proxy, version, memories, afterChanges(proxy, short));
    nobodyGotInAsAnother(t, proxy);
  });
}

t.test('a restart with other workers brings no session back', async (t) => {
  let proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const { session } = await firstConnection(proxy, proxy.world.web, only('TLSv1.3'));
  changeConfig(proxy.world, (text) => text.replace('workers: 2', 'workers: 1'));
  proxy = await proxy.restart();
  const again = await resume(proxy, session, proxy.world.web, only('TLSv1.3'));
  t.equal(again.socket.isSessionReused(), false);
  t.equal((await again.ask(request('/public/a')))[0]?.status, 200);
});
