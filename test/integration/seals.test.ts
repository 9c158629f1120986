import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { JSONWebKeySet } from 'jose';
import t from 'tap';
import { readSeals } from '../support/read-seals.js';
import { newSealKey } from '../support/seal-key.js';
import { type ReadRecord, World, waitFor } from '../support/start-proxy.js';

const audit = 'audit.ndjson, seal: { key: seal.jwk, every: 1s }';
const get = (path = '/public/a'): string => `GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`;
const textOf = (world: World, name = 'audit.ndjson'): string => readFileSync(join(world.dir, name), 'utf8');

async function start(key: string): Promise<World> {
  return World.start({ audit, files: { 'seal.jwk': key }, extra: 'health: { address: 127.0.0.1:0 }' });
}

async function json(world: World, path: string): Promise<ReadRecord> {
  return (await (await fetch(`${world.adminUrl}${path}`)).json()) as ReadRecord;
}

async function ask(world: World, times: number): Promise<void> {
  const client = await world.client();
  for (let i = 0; i < times; i++) await client.send(get());
}

const seals = (text: string): number => text.split('"event":"audit.seal"').length - 1;

t.test('every file of a rotation ends with a seal, and the last one says that it is the last', async (t) => {
  const key = await newSealKey();
  const world = await start(key.text);
  t.teardown(() => world.close());
  await ask(world, 5);
  await world.untilRecords(5);
  renameSync(join(world.dir, 'audit.ndjson'), join(world.dir, 'audit.1'));
  await world.app.reload();
  await ask(world, 3);
  const jwks = (await json(world, '/.well-known/jwks.json')) as unknown as JSONWebKeySet;
  await world.app.drain();
  const [first, second] = [textOf(world, 'audit.1'), textOf(world)];
  t.match(first.trimEnd().split('\n').at(-1), /"event":"audit\.seal"/);
  t.match(second.trimEnd().split('\n').at(-1), /"event":"audit\.seal"/);
  const [chain] = [...(await readSeals([first, second], jwks)).values()];
  t.equal(chain?.hasEnded, true);
  t.equal(chain?.open, 0);
  t.ok((chain?.number ?? 0) >= 2);
  t.equal(chain?.kids[0], key.kid);
});

t.test('a head is on /snapshot and a metric once its seal is in the file, one for the stream', async (t) => {
  const key = await newSealKey('p256');
  const world = await start(key.text);
  t.teardown(() => world.close());
  t.equal((await json(world, '/snapshot')).audit.seal.kid, key.kid);
  const jwks = (await json(world, '/.well-known/jwks.json')) as unknown as JSONWebKeySet;
  t.equal(jwks.keys[0]?.alg, 'ES256');
  for (const round of [1, 2]) {
    await ask(world, 2);
    await waitFor(
      () => seals(textOf(world)) >= round && !/"event":"access"[^\n]*\n$/.test(textOf(world)),
      10_000,
      () => 'a seal in the file',
    );
    const [chain] = [...(await readSeals([textOf(world)], jwks)).values()];
    const { heads } = (await json(world, '/snapshot')).audit;
    t.equal(heads.length, 1);
    t.equal(heads[0].head, chain?.head);
    t.equal(heads[0].number, chain?.number);
    t.equal(heads[0].to, chain?.to);
    t.equal(heads[0].unsealed, 0);
    const metrics = await (await fetch(`${world.adminUrl}/metrics`)).text();
    const series = metrics.split('\n').filter((line) => line.startsWith('countersign_audit_head{'));
    t.equal(series.length, 1);
    t.ok(
      series[0]?.includes(`head="${chain?.head}"`) && series[0].endsWith(` ${chain?.to}`),
      String(series[0]),
    );
  }
});

t.test('a key that is replaced signs the next seal, under load; the old one stays published', async (t) => {
  const [one, two, broken] = [await newSealKey(), await newSealKey('p256'), await newSealKey()];
  const world = await start(one.text);
  t.teardown(() => world.close());
  let isOver = false;
  const load = (async () => {
    while (!isOver) await ask(world, 5);
  })();
  await waitFor(
    () => textOf(world).includes('"event":"audit.seal"'),
    10_000,
    () => 'a seal',
  );
  world.replace('seal.jwk', broken.text.replace('"d":"', '"d":"A'));
  await waitFor(
    () => textOf(world).includes('seal.key_refused'),
    10_000,
    () => 'a refusal',
  );
  world.replace('seal.jwk', two.text);
  await waitFor(
    () => textOf(world).includes('seal.key_rotated'),
    10_000,
    () => 'a rotation',
  );
  const before = seals(textOf(world));
  await waitFor(
    () => seals(textOf(world)) > before,
    10_000,
    () => 'a seal by the new key',
  );
  isOver = true;
  await load;
  const jwks = (await json(world, '/.well-known/jwks.json')) as unknown as JSONWebKeySet;
  t.same(
    jwks.keys.map(({ kid }) => kid),
    [two.kid, one.kid],
  );
  t.notMatch(JSON.stringify(jwks), /"d"/);
  const health = await fetch(`http://${world.app.addresses.get('health')}/.well-known/jwks.json`);
  t.equal(health.headers.get('content-type'), 'application/jwk-set+json');
  t.same(await health.json(), jwks);
  const source = (await json(world, '/snapshot')).sources.find(({ name }: ReadRecord) => name === 'seal-key');
  t.equal(source.lastError, undefined);
  const metrics = await (await fetch(`${world.adminUrl}/metrics`)).text();
  t.match(metrics, /countersign_reloads_total\{source="seal-key",result="refused"\} 1/);
  t.match(metrics, /countersign_reloads_total\{source="seal-key",result="adopted"\} 1/);
  const everything = `${metrics}${JSON.stringify(await json(world, '/snapshot'))}${JSON.stringify(world.diagnostics)}`;
  await world.app.drain();
  const text = textOf(world);
  for (const { secret } of [one, two, broken]) t.notOk(`${text}${everything}`.includes(secret));
  const refused = world.records.find(({ event }) => event === 'seal.key_refused');
  t.match(refused?.detail, /seal\.jwk: its `d` is not 32 octets in base64url/);
  const [chain] = [...(await readSeals([text], jwks)).values()];
  t.equal(chain?.hasEnded, true);
  t.same([...new Set(chain?.kids)], [one.kid, two.kid]);
});

t.test('without seals the set of keys is empty, and there are no heads', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  t.same(await json(world, '/.well-known/jwks.json'), { keys: [] });
  t.same((await json(world, '/snapshot')).audit, { heads: [] });
});
