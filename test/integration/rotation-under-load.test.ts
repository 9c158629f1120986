import t, { type Test } from 'tap';
import { type Authority, bundlePem, mintRoot, type Svid } from '../support/pki.js';
import { RawClient } from '../support/raw-client.js';
import { type Manner, RotatingClient } from '../support/rotating-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { GET } from '../support/sources.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

/** The proxy, in this process or in others. */
interface Place {
  readonly port: number;
  snapshot(): Promise<ReadRecord>;
}

const MANNERS: readonly Manner[] = ['moves', 'stays', 'moves', 'reconnects'];
const CLIENTS = 20;
const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** As the recorder answers by itself, without reading everything anew for each of thousands of requests. */
function answerFast(world: World): void {
  const read = new WeakMap<object, number>();
  world.upstream.respond = (connection) => {
    let at = read.get(connection) ?? 0;
    for (
      let end = connection.bytes.indexOf('\r\n\r\n', at);
      end >= 0;
      end = connection.bytes.indexOf('\r\n\r\n', at)
    ) {
      at = end + 4;
      connection.socket.write(OK);
    }
    read.set(connection, at);
  };
}

async function untilInForce(
  place: Place,
  authorities: readonly Authority[],
  own: Svid,
  what: string,
): Promise<void> {
  const wanted = authorities
    .map(({ sha256 }) => sha256)
    .sort()
    .join();
  await waitFor(
    async () => {
      const { trust, own: shown, agreed } = await place.snapshot();
      const domain = (trust as ReadRecord[]).find(({ trustDomain }) => trustDomain === 'a.test');
      const present = domain?.authorities.map(({ sha256 }: ReadRecord) => sha256).sort();
      return agreed !== false && present.join() === wanted && shown.serial === own.serial;
    },
    10_000,
    () => what,
  );
}

async function startClients(world: World, port: number): Promise<RotatingClient[]> {
  const clients: RotatingClient[] = [];
  for (let i = 0; i < CLIENTS; i++) {
    const svid = await world.caA.issue(`spiffe://a.test/load/w${i}`);
    const manner = MANNERS[i % MANNERS.length]!;
    clients.push(new RotatingClient(`w${i}`, manner, port, svid, world.caA.certPem));
  }
  return clients;
}

const renewFrom = async (authority: Authority, clients: readonly RotatingClient[]): Promise<void> => {
  for (const client of clients) client.renew(await authority.issue(client.svid.uri));
};

const moreAnswers = async (clients: readonly RotatingClient[], count: number): Promise<void> => {
  const goals = clients.map(({ answered }) => answered + count);
  await waitFor(
    () => clients.every(({ answered, faults }, i) => answered >= goals[i]! || faults.length > 0),
    20_000,
    () => `${count} more answers for each client`,
  );
};

/** Old, both, everybody renewed, new only: as docs/operations.md tells it. */
async function rotate(
  world: World,
  place: Place,
  clients: readonly RotatingClient[],
  next: Authority,
): Promise<void> {
  const both = bundlePem(world.caA, next);
  await moreAnswers(clients, 5);
  world.replace('a.pem', both);
  await untilInForce(place, [world.caA, next], world.own, 'both authorities');
  for (const client of clients) client.trust = both;
  await renewFrom(next, clients.slice(0, CLIENTS / 2));
  world.own = await next.issue(world.own.uri, { otherSans: ['DNS:svc.test'] });
  world.replace('own.pem', world.own.chainPem); // for a moment it does not fit its key
  world.replace('own-key.pem', world.own.keyPem);
  await untilInForce(place, [world.caA, next], world.own, 'the own SVID of the new authority');
  await renewFrom(next, clients.slice(CLIENTS / 2));
  for (const client of clients) client.trust = next.certPem; // they are ahead of us
  await moreAnswers(clients, 5);
  await waitFor(() => clients.every(({ manner, answeredAsNow }) => manner === 'stays' || answeredAsNow > 0));
  world.replace('a.pem', next.certPem);
  await untilInForce(place, [next], world.own, 'the new authority alone');
  await moreAnswers(clients, 5);
}

function judge(t: Test, world: World, clients: readonly RotatingClient[], gone: string): void {
  t.same(
    clients.flatMap(({ faults }) => faults),
    [],
    'no request failed',
  );
  const stayed = clients.filter(({ manner }) => manner === 'stays');
  for (const { name, manner, connections, ended, answered, answeredAsNow } of clients) {
    if (manner !== 'stays') t.same(ended, [], `${name} renewed in time, and lost nothing`);
    if (manner === 'reconnects') t.ok(connections >= answered, `${name} was let in each time`);
    else t.equal(connections, 2, `${name}: one connection for each SVID, and none was dropped`);
    t.ok(answeredAsNow > 0, `${name} is served with its new SVID`);
    t.ok(ended.length <= 1, `${name} lost one request at most to the end of its access`);
  }
  const asked = new Map<string, number>();
  for (const { target } of world.upstream.requests) asked.set(target, (asked.get(target) ?? 0) + 1);
  t.ok(
    clients.flatMap(({ ended }) => ended).every((path) => !asked.has(path)),
    'what was not answered was not forwarded, so that asking again does nothing twice',
  );
  const answered = clients.reduce((sum, client) => sum + client.answered, 0);
  t.equal(world.upstream.requests.length, answered, 'what was forwarded was answered');
  t.equal(asked.size, answered, 'each once');
  const ends = world.records.filter(({ event }) => event === 'connection.terminated');
  t.equal(ends.length, stayed.length, 'as many connections were ended as stayed');
  t.ok(ends.every(({ reason }) => reason === gone));
  const refused = world.exchanges.filter(({ decision }) => decision.effect !== 'allow');
  t.ok(refused.length <= stayed.length);
  t.ok(refused.every(({ event, decision }) => event === 'access' && decision.reason === gone));
}

/** `gone`: why the SVIDs of the old authority are refused at the end. */
async function rotateUnderLoad(
  t: Test,
  world: World,
  place: Place,
  next: Authority,
  gone: string,
): Promise<void> {
  answerFast(world);
  const clients = await startClients(world, place.port);
  const old = clients[0]!.svid;
  const runs = clients.map((client) => client.run());
  try {
    await rotate(world, place, clients, next);
  } finally {
    for (const client of clients) client.stop();
    await Promise.all(runs);
  }
  const stayed = clients.filter(({ manner }) => manner === 'stays').length;
  const enforced = (): number =>
    world.records
      .filter(({ event }) => event === 'revocation.enforced')
      .reduce((sum, { connections }) => sum + connections, 0);
  await waitFor(
    () => enforced() === stayed,
    10_000,
    () => `${enforced()} of ${stayed} ended connections measured`,
  );
  const answered = clients.reduce((sum, client) => sum + client.answered, 0);
  await waitFor(
    () => world.exchanges.filter(({ decision }) => decision.effect === 'allow').length === answered,
    10_000,
    () => 'a record for each answer',
  );
  judge(t, world, clients, gone);
  t.comment(`${answered} answers`);
  t.equal(await reasonFor(place, old), gone, 'the old authority is really gone');
}

async function reasonFor(place: Place, svid: Svid): Promise<unknown> {
  const client = await RawClient.open({ identity: svid, port: place.port });
  const [answer] = await client.ask(GET);
  client.destroy();
  return JSON.parse(answer?.body ?? '{}').reason;
}

t.test('a CA is rotated under load, to another of the same name, and no request fails', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  const next = await mintRoot('a.test', { subject: world.caA.subject });
  await rotateUnderLoad(t, world, world, next, 'chain_signature');
});

t.test('a CA is rotated under load with several workers, and no request fails', async (t) => {
  const proxy = await ProcessWorld.start({ extra: 'workers: 2' });
  t.teardown(() => proxy.close());
  const next = await mintRoot('a.test', { subject: 'CN=next root' });
  await rotateUnderLoad(t, proxy.world, proxy, next, 'chain_untrusted');
  const workers = new Set(proxy.accesses.map(({ stream }) => stream.worker));
  t.same([...workers].sort(), [1, 2], 'both of them');
});
