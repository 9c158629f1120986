import { unlinkSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { bundlePem, mintRoot } from '../support/pki.js';
import {
  authoritiesOf,
  GET,
  refusalsOf,
  shownAsGood,
  shownAsRefused,
  sourceOf,
  untilAuthorities,
} from '../support/sources.js';
import { World, type WorldOptions, waitFor } from '../support/start-proxy.js';

const SOURCE = 'bundle:b.test';

const startWorld = async (t: Test, options: WorldOptions = {}): Promise<World> => {
  const world = await World.start(options);
  t.teardown(() => world.close());
  return world;
};

const isServed = async (world: World, identity = world.bweb): Promise<boolean> =>
  (await (await world.client(identity)).ask(GET))[0]?.status === 200;

for (const [name, content, why] of [
  ['P022 emptied', () => '', /empty/],
  ['P022 only white space', () => '\n \n', /empty/],
  ['P022 only a comment', () => '# soon\n', /no certificate/],
  [
    'P026 one bad block between two good ones',
    (w: World) =>
      `${w.caB.certPem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n${w.caC.certPem}`,
    /line \d+/,
  ],
  [
    'P026 garbage after a good block',
    (w: World) => `${w.caC.certPem}-----BEGIN CERTIFICATE-----\n%%%`,
    /line \d+|no end/,
  ],
  ['a leaf in place of an authority', (w: World) => w.bweb.certPem, /not a CA/],
  ['a private key among the certificates', (w: World) => w.caC.certPem + w.caC.keyPem, /private key/],
  ['half of a JSON bundle', () => '{"keys": [', /JSON|bundle/i],
] as const) {
  for (const how of ['replace', 'write'] as const) {
    t.test(
      `${name}, by ${how}: refused whole and said, the last good serves, the next good is taken`,
      async (t) => {
        const world = await startWorld(t);
        const steady = await world.client(world.bweb);
        world[how]('b.pem', content(world));
        await shownAsRefused(t, world, SOURCE, 'trust.refused', why);
        t.same(await authoritiesOf(world, 'b.test'), [world.caB.sha256]);
        t.equal(await isServed(world), true);
        t.equal(await isServed(world, await world.caC.issue('spiffe://b.test/web')), false);
        t.equal((await steady.ask(GET))[0]?.status, 200);
        const next = await mintRoot('b.test');
        world[how]('b.pem', next.certPem);
        await untilAuthorities(world, 'b.test', [next]);
        await shownAsGood(t, world, SOURCE);
        await steady.untilClosed();
      },
    );
  }
}

t.test(
  'P021 a bundle that is written in two halves is never in force by half, wherever it is cut',
  async (t) => {
    const world = await startWorld(t);
    const next = await mintRoot('b.test');
    const whole = bundlePem(next, world.caB);
    const steady = await world.client(world.bweb);
    for (const part of [0.1, 0.25, 0.4, 0.6, 0.75, 0.99]) {
      world.write('b.pem', whole.slice(0, Math.floor(whole.length * part)));
      await waitFor(async () => (await sourceOf(world, SOURCE)).lastError !== undefined, 4000);
      t.same(await authoritiesOf(world, 'b.test'), [world.caB.sha256], `cut at ${part}`);
      t.equal((await steady.ask(GET))[0]?.status, 200);
      world.write('b.pem', world.caB.certPem);
      await shownAsGood(t, world, SOURCE);
    }
    world.write('b.pem', next.certPem); // cut between two blocks, half a bundle looks like a whole one
    for (let i = 0; i < 6; i++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      t.same(await authoritiesOf(world, 'b.test'), [world.caB.sha256]);
    }
    world.write('b.pem', whole);
    await untilAuthorities(world, 'b.test', [next, world.caB]);
    t.equal((await steady.ask(GET))[0]?.status, 200);
  },
);

t.test('a file that stays away is said, and its last good serves', async (t) => {
  const world = await startWorld(t);
  unlinkSync(join(world.dir, 'b.pem'));
  await shownAsRefused(t, world, SOURCE, 'trust.refused', /ENOENT/);
  t.equal(await isServed(world), true);
  world.write('b.pem', world.caC.certPem);
  await untilAuthorities(world, 'b.test', [world.caC]);
  await shownAsGood(t, world, SOURCE);
});

t.test(
  'P143 certificate before key, and key before certificate: the old pair serves, then the new one',
  async (t) => {
    const world = await startWorld(t);
    for (const order of [
      ['own.pem', 'own-key.pem'],
      ['own-key.pem', 'own.pem'],
    ] as const) {
      const old = world.own.serial;
      const next = await world.caA.issue(world.own.uri, { otherSans: ['DNS:svc.test'] });
      const content = { 'own.pem': next.chainPem, 'own-key.pem': next.keyPem };
      const failed = refusalsOf(world, 'identity').length;
      world.replace(order[0], content[order[0]]);
      await waitFor(() => refusalsOf(world, 'identity').length > failed, 4000);
      t.match(refusalsOf(world, 'identity').at(-1)?.problem, /key/);
      t.equal((await world.snapshot()).own.serial, old);
      const between = await world.client();
      t.equal(between.socket.getPeerCertificate().serialNumber.toLowerCase(), old);
      t.equal((await between.ask(GET))[0]?.status, 200);
      world.replace(order[1], content[order[1]]);
      await world.untilSnapshot((snapshot) => snapshot.own.serial === next.serial);
      const after = await world.client();
      t.equal(after.socket.getPeerCertificate().serialNumber.toLowerCase(), next.serial);
      t.equal((await after.ask(GET))[0]?.status, 200);
      t.equal((await between.ask(GET))[0]?.status, 200, 'who came before is not disturbed');
      await shownAsGood(t, world, 'identity');
      world.own = next;
    }
  },
);

t.test('a new SVID of a new authority is taken in whichever order they come', async (t) => {
  const world = await startWorld(t);
  for (const first of ['bundle', 'identity'] as const) {
    const root = await mintRoot('a.test');
    const own = await root.issue(world.own.uri, { otherSans: ['DNS:svc.test'] });
    const steps = {
      bundle: () => world.replace('a.pem', bundlePem(root, world.caA)),
      identity: () => {
        world.replace('own.pem', own.chainPem);
        world.replace('own-key.pem', own.keyPem);
      },
    };
    steps[first]();
    if (first === 'identity') {
      await waitFor(() => refusalsOf(world, 'identity').length === 1, 4000);
      t.match(refusalsOf(world, 'identity')[0]?.problem, /does not verify/);
    }
    steps[first === 'bundle' ? 'identity' : 'bundle']();
    await world.untilSnapshot((snapshot) => snapshot.own.serial === own.serial);
    await shownAsGood(t, world, 'identity');
    t.equal(await isServed(world, world.web), true);
  }
});
