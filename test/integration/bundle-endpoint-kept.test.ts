import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { BundleEndpointOptions } from '../../src/sources/bundle-endpoint-options.js';
import {
  BundleServer,
  bundleDocument,
  bundleOf,
  idOf,
  pollerOf,
  subjectsOf,
  urlOf,
} from '../support/bundle-server.js';
import { mintRoot } from '../support/pki.js';

const SERVER_ID = 'spiffe://a.test/b';
const DAY_MS = 86_400_000;
const [ca1, ca2, ca3] = [
  await mintRoot('a.test', { subject: 'CN=CA1' }),
  await mintRoot('a.test', { subject: 'CN=CA2' }),
  await mintRoot('a.test', { subject: 'CN=CA3' }),
];
const profile: BundleEndpointOptions['profile'] = { kind: 'https_spiffe', endpointId: idOf(SERVER_ID) };
const bootstrap = bundleOf([ca1]);

type Test = { teardown(run: () => Promise<void>): void; testdir(): string };

/** An endpoint whose root has gone from CA1 to CA2, and a poller that followed it and has been closed. */
async function rotated(t: Test) {
  const server = await BundleServer.start(await ca1.issue(SERVER_ID));
  t.teardown(() => server.close());
  const storeFile = join(t.testdir(), 'a.test.kept');
  const options = { url: urlOf(server.url), profile, bootstrap, storeFile };
  const { endpoint, told, clock } = pollerOf(options);
  server.serve(bundleDocument([ca1, ca2], { sequence: 2 }));
  await endpoint.poll();
  server.present(await ca2.issue(SERVER_ID, { ttlMs: 9 * DAY_MS }));
  server.serve(bundleDocument([ca2], { sequence: 3 }));
  const isGood = await endpoint.poll();
  await endpoint.close();
  if (!isGood) throw new Error(told.problems.join());
  return { server, options, storeFile, clock };
}

t.test('a restart goes on with the last good bundle, so that no rotation is lost', async (t) => {
  const { server, options, storeFile } = await rotated(t);
  t.equal(statSync(storeFile).mode & 0o777, 0o600);
  const { endpoint, told } = pollerOf(options);
  await endpoint.start();
  t.same(told.bundles.map(subjectsOf), [['CN=CA2']], 'in force before the endpoint was asked');
  t.equal(await endpoint.poll(), true, 'and the endpoint, now under CA2, is accepted');
  t.equal(told.bundles.length, 1, 'it is the same');
  await endpoint.close();
  const forgetful = pollerOf({ ...options, storeFile: `${storeFile}.other` });
  t.equal(await forgetful.endpoint.poll(), false, 'without what was kept it would not be');
  t.match(forgetful.told.problems, [/chain_untrusted/]);
  await forgetful.endpoint.close();
  t.equal(server.asked.length, 3);
});

t.test('the sequence does not go back over a restart', async (t) => {
  const { server, options } = await rotated(t);
  server.serve(bundleDocument([ca1, ca2], { sequence: 2 }));
  const { endpoint, told } = pollerOf(options);
  t.equal(await endpoint.poll(), false);
  t.match(told.problems, [
    /its sequence number 2 is older than 3, which is in force; if .* remove .*kept and restart$/,
  ]);
  t.same(subjectsOf(endpoint.bundle), ['CN=CA2']);
  await endpoint.close();
});

t.test('an outage over a restart leaves the last good bundle in force, and its age is known', async (t) => {
  const { server, options, clock: before } = await rotated(t);
  server.serve('', 503);
  const { endpoint, told, clock } = pollerOf(options);
  clock.now = before.now + 2 * DAY_MS;
  await endpoint.start();
  t.same(subjectsOf(endpoint.bundle), ['CN=CA2']);
  t.same(told.stale, [], 'not before it was asked for');
  t.equal(await endpoint.poll(), false);
  t.same(told.stale, [before.now]);
  t.match(endpoint.status, { lastFetchAt: new Date(before.now).toISOString() });
  await endpoint.close();
});

t.test('a bundle that is configured anew is a local update and begins again', async (t) => {
  const { server, options } = await rotated(t);
  const anew = pollerOf({ ...options, bootstrap: bundleOf([ca3]) });
  server.present(await ca3.issue(SERVER_ID));
  server.serve(bundleDocument([ca3], { sequence: 1 }));
  t.equal(await anew.endpoint.poll(), true, String(anew.endpoint.status.lastError));
  t.same(anew.told.bundles.map(subjectsOf), [['CN=CA3'], ['CN=CA3']]);
  await anew.endpoint.close();
  const again = pollerOf({ ...options, bootstrap: bundleOf([ca3]) });
  await again.endpoint.start();
  t.equal(again.endpoint.status.sequence, '1', 'from then on it is what is kept that counts');
  await again.endpoint.close();
});

t.test('a bundle that is configured anew with an older sequence does not undo a rotation', async (t) => {
  const { options } = await rotated(t);
  const { endpoint } = pollerOf({ ...options, bootstrap: bundleOf([ca1], { sequence: 1 }) });
  await endpoint.start();
  t.same(subjectsOf(endpoint.bundle), ['CN=CA2']);
  await endpoint.close();
});

t.test('what is kept is not used where it is damaged, of others, or open to others', async (t) => {
  const { server, options, storeFile } = await rotated(t);
  const sound = readFileSync(storeFile, 'utf8');
  const change = (name: string, value: unknown): string =>
    JSON.stringify({ ...(JSON.parse(sound) as object), [name]: value });
  const cases: [string, RegExp][] = [
    ['', /it is damaged/],
    [sound.slice(0, -9), /it is damaged/],
    ['[]', /it is damaged/],
    [change('version', 2), /of another version/],
    [change('trustDomain', 'b.test'), /of another trust domain/],
    [change('endpoint', `https_web ${server.url}`), /from another endpoint/],
    [change('fetchedAt', 'yesterday'), /it is damaged/],
    [change('bootstrap', 7), /it is damaged/],
    [change('document', '{"keys":'), /not sound JSON/],
    [change('document', '{}'), /keys is missing/],
  ];
  const problem = async (): Promise<string | undefined> => {
    const { endpoint, told } = pollerOf(options);
    server.serve('', 503);
    const polled = endpoint.poll();
    t.equal(await polled, false);
    t.same(told.bundles.map(subjectsOf), [['CN=CA1']], 'the configured one is in force');
    await endpoint.close();
    return told.problems[0];
  };
  for (const [content, why] of cases) {
    writeFileSync(storeFile, content);
    t.match(await problem(), why);
    t.match(await problem(), /is not used and will be replaced/);
  }
  writeFileSync(storeFile, sound);
  chmodSync(storeFile, 0o622);
  t.match(await problem(), /others may write it, so it is not used; chmod 600/);
});

t.test('another URL or another server is another relationship', async (t) => {
  const { options } = await rotated(t);
  const others: Partial<BundleEndpointOptions>[] = [
    { url: urlOf(`${options.url.href}/moved`) },
    { profile: { kind: 'https_spiffe', endpointId: idOf('spiffe://a.test/c') } },
    { profile: { kind: 'https_web' } },
  ];
  for (const other of others) {
    const { endpoint, told } = pollerOf({ ...options, ...other });
    await endpoint.start();
    t.match(told.problems, [/from another endpoint/]);
    t.same(subjectsOf(endpoint.bundle), ['CN=CA1']);
    await endpoint.close();
  }
});

t.test('a bundle that cannot be kept is in force all the same, and that is said once', async (t) => {
  const server = await BundleServer.start(await ca1.issue(SERVER_ID));
  t.teardown(() => server.close());
  server.serve(bundleDocument([ca2, ca1], { sequence: 2 }));
  const folder = join(t.testdir(), 'not-yet');
  const { endpoint, told } = pollerOf({
    url: urlOf(server.url),
    profile,
    bootstrap,
    storeFile: join(folder, 'a.test.kept'),
  });
  t.equal(await endpoint.poll(), true);
  t.equal(await endpoint.poll(), true);
  t.same(told.bundles.map(subjectsOf), [['CN=CA1'], ['CN=CA2', 'CN=CA1']]);
  t.match(told.problems, [/cannot be kept in .*a\.test\.kept \(ENOENT\)/]);
  t.match(endpoint.status, { failures: 0, lastError: /cannot be kept/ });
  mkdirSync(folder);
  t.equal(await endpoint.poll(), true);
  t.same([told.recoveries, endpoint.status.lastError], [1, undefined]);
  t.same(readdirSync(folder), ['a.test.kept'], 'and no temporary file is left');
  await endpoint.close();
});

t.test('what is kept is confirmed now and then, not at every poll', async (t) => {
  const { options, storeFile } = await rotated(t);
  const { endpoint, clock } = pollerOf(options);
  await endpoint.poll();
  const first = statSync(storeFile).ino;
  clock.now += 299_999;
  await endpoint.poll();
  t.equal(statSync(storeFile).ino, first);
  clock.now += 1;
  await endpoint.poll();
  t.match(JSON.parse(readFileSync(storeFile, 'utf8')), { fetchedAt: new Date(clock.now).toISOString() });
  await endpoint.close();
});

t.test('the end of a relationship deletes what was kept', async (t) => {
  const { options, storeFile } = await rotated(t);
  const { endpoint } = pollerOf(options);
  await endpoint.start();
  await endpoint.forget();
  t.equal(endpoint.bundle, undefined);
  t.same(readdirSync(join(storeFile, '..')), []);
  t.equal(await endpoint.poll(), false);
});
