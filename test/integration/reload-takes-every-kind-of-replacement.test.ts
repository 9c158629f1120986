import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Authority, bundlePem, mintRoot } from '../support/pki.js';
import {
  authoritiesOf,
  changeConfig,
  GET,
  refusalsOf,
  sourceOf,
  untilAuthorities,
} from '../support/sources.js';
import { World, waitFor } from '../support/start-proxy.js';

const SOURCE = 'bundle:b.test';

const startWorld = async (t: Test): Promise<World> => {
  const world = await World.start();
  t.teardown(() => world.close());
  return world;
};

/** The workloads of this authority of b.test are let in, those of the others are not. */
async function trusts(t: Test, world: World, good: Authority, ...bad: readonly Authority[]): Promise<void> {
  const welcome = await world.client(await good.issue('spiffe://b.test/web'));
  t.equal((await welcome.ask(GET))[0]?.status, 200);
  for (const authority of bad) {
    const stranger = await world.client(await authority.issue('spiffe://b.test/web'));
    t.equal((await stranger.ask(GET))[0]?.status, 403);
  }
}

/** Moves b.test's bundle to another path, by a new configuration. */
async function moveBundle(world: World, file: string): Promise<void> {
  changeConfig(world, (text) => text.replace('file: b.pem', `file: ${file}`));
  await waitFor(async () => (await sourceOf(world, SOURCE)).files[0] === join(world.dir, file));
}

t.test('a file that is renamed into place is adopted at once', async (t) => {
  const world = await startWorld(t);
  for (let i = 0; i < 3; i++) {
    const next = await mintRoot('b.test');
    const from = Date.now();
    world.replace('b.pem', next.certPem);
    await untilAuthorities(world, 'b.test', [next]);
    t.ok(Date.now() - from < 600, 'faster than the poll');
    await trusts(t, world, next, world.caB);
  }
  t.same(refusalsOf(world, SOURCE), []);
});

t.test('a file that is changed in place is adopted when it has settled', async (t) => {
  const world = await startWorld(t);
  for (let i = 0; i < 3; i++) {
    const next = await mintRoot('b.test');
    world.write('b.pem', next.certPem);
    await untilAuthorities(world, 'b.test', [next]);
    await trusts(t, world, next, world.caB);
  }
  t.same(refusalsOf(world, SOURCE), []);
});

t.test('P024 a Kubernetes volume is followed through every swap of ..data', async (t) => {
  const world = await startWorld(t);
  const at = (name: string): string => join(world.dir, 'volume', name);
  mkdirSync(at('..t1'), { recursive: true });
  writeFileSync(at('..t1/b.pem'), world.caB.certPem);
  symlinkSync('..t1', at('..data'));
  symlinkSync('..data/b.pem', at('b.pem'));
  await moveBundle(world, 'volume/b.pem');
  let before = world.caB;
  for (let i = 2; i <= 6; i++) {
    const next = await mintRoot('b.test');
    mkdirSync(at(`..t${i}`));
    writeFileSync(at(`..t${i}/b.pem`), next.certPem);
    symlinkSync(`..t${i}`, at('..data_tmp'));
    renameSync(at('..data_tmp'), at('..data'));
    rmSync(at(`..t${i - 1}`), { recursive: true });
    await untilAuthorities(world, 'b.test', [next]);
    await trusts(t, world, next, before);
    before = next;
  }
  t.same(refusalsOf(world, SOURCE), [], 'and none of it was taken for a failure');
});

t.test('links are followed wherever they lead, and when their target is what changes', async (t) => {
  const world = await startWorld(t);
  const at = (name: string): string => join(world.dir, name);
  mkdirSync(at('far/away'), { recursive: true });
  writeFileSync(at('far/away/real.pem'), world.caB.certPem);
  symlinkSync('far', at('near'));
  symlinkSync('near/away/real.pem', at('first.pem'));
  symlinkSync('first.pem', at('second.pem'));
  await moveBundle(world, 'second.pem');
  const [one, two, three] = await Promise.all([mintRoot('b.test'), mintRoot('b.test'), mintRoot('b.test')]);
  world.write('real.tmp', one.certPem);
  renameSync(at('real.tmp'), at('far/away/real.pem'));
  await untilAuthorities(world, 'b.test', [one]);
  mkdirSync(at('other/away'), { recursive: true });
  writeFileSync(at('other/away/real.pem'), two.certPem);
  symlinkSync('other', at('near.tmp'));
  renameSync(at('near.tmp'), at('near')); // a link in the middle of the path
  await untilAuthorities(world, 'b.test', [two]);
  writeFileSync(at('plain.tmp'), three.certPem);
  renameSync(at('plain.tmp'), at('second.pem')); // the link becomes a file
  await untilAuthorities(world, 'b.test', [three]);
  await trusts(t, world, three, one, two, world.caB);
});

t.test('a folder that is made anew under its name is watched again', async (t) => {
  const world = await startWorld(t);
  const at = (name: string): string => join(world.dir, name);
  mkdirSync(at('trust'));
  writeFileSync(at('trust/b.pem'), world.caB.certPem);
  await moveBundle(world, 'trust/b.pem');
  for (let i = 0; i < 3; i++) {
    const next = await mintRoot('b.test');
    mkdirSync(at('trust.new'));
    writeFileSync(at('trust.new/b.pem'), next.certPem);
    renameSync(at('trust'), at('trust.old'));
    renameSync(at('trust.new'), at('trust'));
    rmSync(at('trust.old'), { recursive: true });
    await untilAuthorities(world, 'b.test', [next]);
    await trusts(t, world, next, world.caB);
  }
});

t.test('P025 a file that is gone for milliseconds is not gone', async (t) => {
  const world = await startWorld(t);
  const steady = await world.client(world.bweb);
  for (let i = 0; i < 3; i++) {
    unlinkSync(join(world.dir, 'b.pem'));
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.equal((await steady.ask(GET))[0]?.status, 200);
    world.write('b.pem', world.caB.certPem);
    t.equal((await (await world.client(world.bweb)).ask(GET))[0]?.status, 200);
  }
  await world.app.reload();
  t.same(await authoritiesOf(world, 'b.test'), [world.caB.sha256]);
  t.same(refusalsOf(world, SOURCE), [], 'nobody was called for that');
  t.equal((await steady.ask(GET))[0]?.status, 200);
});

t.test('P142 of a thousand rewrites the last one counts, and nothing grows', async (t) => {
  const world = await startWorld(t);
  const bweb = await world.client(world.bweb);
  t.equal((await bweb.ask(GET))[0]?.status, 200);
  const spare = await mintRoot('b.test');
  const next = await mintRoot('b.test');
  await world.snapshot();
  const descriptors = countDescriptors();
  for (let i = 0; i < 1000; i++) {
    world.write('b.pem', bundlePem(world.caB, ...(i % 2 === 0 ? [spare] : [])));
    if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  world.write('b.pem', next.certPem);
  const from = Date.now();
  await untilAuthorities(world, 'b.test', [next]);
  t.ok(Date.now() - from < 2000, 'within the bound');
  await bweb.untilClosed();
  await trusts(t, world, next, world.caB, spare);
  const changes = world.records.filter(({ event }) => event === 'trust.changed');
  t.ok(changes.length <= 12, `coalesced: ${changes.length} changes for 1001 writes`);
  t.same(refusalsOf(world, SOURCE), []);
  t.ok(countDescriptors() <= descriptors + 8, 'no descriptors are left over');
});

t.test('P028 reloads under load break nothing', async (t) => {
  const world = await startWorld(t);
  const spare = await mintRoot('a.test');
  let stop = false;
  const clients = await Promise.all(Array.from({ length: 10 }, () => world.client()));
  const load = clients.map(async (client) => {
    let served = 0;
    while (!stop) {
      const [answer] = await client.ask(GET);
      if (answer?.status !== 200) throw new Error(`status ${answer?.status}`);
      served++;
    }
    return served;
  });
  for (let i = 0; i < 20; i++) {
    const bundle = i % 2 === 0 ? [spare, world.caA] : [world.caA, spare, spare];
    world.replace('a.pem', `# ${i}\n${bundlePem(...bundle)}`);
    if (i % 5 === 0) await world.app.reload();
    await waitFor(async () => (await sourceOf(world, 'bundle:a.test')).lastError === undefined);
    const fresh = await world.client();
    t.equal((await fresh.ask(GET))[0]?.status, 200);
    fresh.destroy();
  }
  stop = true;
  const served = await Promise.all(load);
  t.ok(served.every((count) => count > 10));
  t.ok(
    clients.every((client) => !client.closed),
    'no connection was dropped',
  );
});

t.test('files replaced by the hundred leave no watch behind', async (t) => {
  const world = await startWorld(t);
  const before = countDescriptors();
  for (let i = 0; i < 30; i++) {
    const folder = `move${i}`;
    mkdirSync(join(world.dir, folder));
    world.write(`${folder}/b.pem`, world.caB.certPem);
    changeConfig(world, (text) => text.replace(/file: \S*b\.pem/, `file: ${folder}/b.pem`));
    await world.app.reload();
    t.equal((await sourceOf(world, SOURCE)).files[0], join(world.dir, folder, 'b.pem'));
  }
  t.ok(countDescriptors() <= before + 8);
});

function countDescriptors(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0; // not Linux
  }
}
