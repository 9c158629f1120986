import { mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { TrustConfig } from '../../src/config/config.js';
import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import { parseTrustBundle, type TrustBundle } from '../../src/identity/trust-bundle.js';
import { readCrlOffThread } from '../../src/sources/crl-off-thread.js';
import type { SourceHost } from '../../src/sources/source.js';
import {
  connectTrust,
  revocationPolicyOf,
  staleLists,
  type TrustSources,
} from '../../src/sources/trust-source.js';
import { longCrl, longCrlSerial } from '../support/long-crl.js';
import { type Authority, bundlePem, mintRoot } from '../support/pki.js';
import { GET, refusalsOf } from '../support/sources.js';
import { World, waitFor } from '../support/start-proxy.js';

/** Over 64 KiB, so that a thread reads it. */
const LONG = 4000;
const HOUR_MS = 3_600_000;

const parsedId = parseSpiffeId('spiffe://a.test/x');
if (!parsedId.ok) throw new Error('the ID cannot be read');
const { trustDomain } = parsedId.value;

const bundleOf = (...authorities: readonly Authority[]): TrustBundle => {
  const bundle = parseTrustBundle(trustDomain, Buffer.from(bundlePem(...authorities)));
  if (!bundle.ok) throw new Error(bundle.error);
  return bundle.value;
};

/** One domain's sources over a folder of its own. */
class Folder {
  readonly path = mkdtempSync(join(tmpdir(), 'countersign-crl-'));
  readonly file = join(this.path, 'a.crl');
  readonly config: TrustConfig = {
    entry: 0,
    trustDomain,
    bundle: { kind: 'file', file: join(this.path, 'a.pem') },
    revocation: { crlFiles: [this.file], require: 'none', stale: 'deny', staleGraceMs: 0 },
  };
  readonly sources: TrustSources = connectTrust(this.config, undefined, {
    workloadApi: undefined,
    host: {} as SourceHost, // files ask it for nothing
  });

  constructor(t: Test) {
    t.teardown(() => rmSync(this.path, { recursive: true, force: true }));
  }

  async bundle(...authorities: readonly Authority[]): Promise<void> {
    this.put(join(this.path, 'a.pem'), bundlePem(...authorities));
    await this.sources.own[0]!.check();
  }

  /** What the source says to this list: undefined where it was taken. */
  async offer(list: string | Buffer): Promise<string | undefined> {
    this.put(this.file, list);
    await this.sources.crls[0]!.refresh();
    return this.sources.crls[0]!.lastError;
  }

  put(file: string, content: string | Buffer): void {
    writeFileSync(`${file}.next`, content);
    renameSync(`${file}.next`, file);
  }
}

t.test('a thread reads a long list, verifies it and hands it over bound', async (t) => {
  const root = await mintRoot('a.test');
  const other = await mintRoot('a.test', { subject: 'CN=another' });
  for (const form of ['der', 'pem'] as const) {
    const bytes = Buffer.from(longCrl(root, { entries: LONG, number: 7, also: ['a1'] })[form]);
    const before = Buffer.from(bytes);
    const read = await readCrlOffThread(bytes, bundleOf(other, root));
    t.ok(bytes.equals(before), 'the source keeps its bytes, to judge them a second time');
    if (!read.ok) throw new Error(read.error);
    const crl = read.value;
    t.equal(crl.size, LONG + 1);
    t.equal(crl.number, 7n);
    t.equal(crl.signerKeySha256, bundleOf(root).authorities[0]?.keySha256);
    t.ok(crl.has('a1') && crl.has(longCrlSerial(LONG - 1)));
    t.notOk(crl.has(longCrlSerial(LONG)));
  }
});

t.test('what a thread finds wrong is a refusal with the reason', async (t) => {
  const root = await mintRoot('a.test', { subject: 'CN=root' });
  const impostor = await mintRoot('a.test', { subject: 'CN=root' });
  const problem = async (bytes: Buffer, authority = root): Promise<string> => {
    const read = await readCrlOffThread(bytes, bundleOf(authority));
    return read.ok ? 'ok' : read.error;
  };
  const { der } = longCrl(root, { entries: LONG });
  const tampered = Buffer.from(der);
  const at = tampered.indexOf(Buffer.from(longCrlSerial(10), 'hex'));
  tampered[at + 5] = tampered[at + 5]! ^ 1;
  t.match(await problem(der, impostor), /its signature is wrong/);
  t.match(await problem(der, await mintRoot('a.test', { subject: 'CN=x' })), /no authority of a\.test has/);
  t.match(await problem(tampered), /its signature is wrong/);
  t.match(await problem(der.subarray(0, der.length - 5)), /cut short/);
  t.match(await problem(Buffer.alloc(4_000_000, '\n')), /holds no revocation list/);
  t.match(await problem(Buffer.alloc(4_000_000, 'A')), /base64 outside a block/);
  t.equal(await problem(der), 'ok', 'none of it spoils the next reading');
});

t.test('a thread that hangs or takes too much memory is given up, and said', async (t) => {
  const root = await mintRoot('a.test');
  const bundle = bundleOf(root);
  const bytes = longCrl(root, { entries: 100_000, reasons: true }).der;
  const late = await readCrlOffThread(bytes, bundle, { deadlineMs: 1, heapMiB: 64 });
  t.equal(late.ok ? '' : late.error, 'reading it took longer than 1 ms');
  const lines = Buffer.alloc(8_000_000, `${'A'.repeat(63)}\n`);
  lines.write('-----BEGIN X509 CRL-----\n');
  const greedy = await readCrlOffThread(lines, bundle, { deadlineMs: 60_000, heapMiB: 4 }); // a newer V8 cannot even begin with 1
  t.equal(greedy.ok ? '' : greedy.error, 'reading it took more than 4 MiB of memory');
  t.ok((await readCrlOffThread(bytes, bundle)).ok, 'the process goes on, and reads the next one');
});

t.test('several long lists at once are read one after the other, each with its own answer', async (t) => {
  const root = await mintRoot('a.test');
  const bundle = bundleOf(root);
  const good = [1, 2, 3].map((number) =>
    readCrlOffThread(longCrl(root, { entries: LONG, number }).der, bundle),
  );
  const bad = readCrlOffThread(Buffer.alloc(100_000), bundle);
  const numbers = (await Promise.all(good)).map((read) => (read.ok ? read.value.number : read.error));
  t.same(numbers, [1n, 2n, 3n]);
  const refused = await bad;
  t.equal(refused.ok ? '' : refused.error, 'the file holds no revocation list');
});

for (const entries of [0, LONG]) {
  t.test(`an older list of ${entries} entries is refused and said, and the one in force stays`, async (t) => {
    const folder = new Folder(t);
    const [root, next] = [
      await mintRoot('a.test', { subject: 'CN=1' }),
      await mintRoot('a.test', { subject: 'CN=2' }),
    ];
    const list = (authority: Authority, number: number, revoked: string[] = []): Buffer =>
      longCrl(authority, { entries, number, also: revoked }).der;
    const fifth = list(root, 5, ['05']);
    await folder.bundle(root, next);
    t.equal(await folder.offer(fifth), undefined);
    const held = folder.sources.crls[0]!.value;
    t.match(
      await folder.offer(list(root, 4)),
      /is older than the one in force: CRL number 4, not above CRL number 5/,
    );
    t.match(await folder.offer(list(root, 5)), /which is newer cannot be told/);
    t.equal(folder.sources.crls[0]!.value, held, 'the last good one stays');
    t.ok(revocationPolicyOf(folder.sources).crls[0]?.has('5'));
    t.equal(await folder.offer(fifth), undefined, 'the same one again is no change');
    t.equal(folder.sources.crls[0]!.value, held);
    t.equal(await folder.offer(list(next, 1)), undefined, 'another authority counts for itself');
    t.match(await folder.offer(list(root, 4)), /is older/, 'and brings no older list of the first one back');
    t.equal(await folder.offer(list(root, 6)), undefined);
  });
}

t.test('a list waits for its bundle, and nobody is let in meanwhile', async (t) => {
  const folder = new Folder(t);
  const root = await mintRoot('a.test');
  t.match(await folder.offer(longCrl(root, { entries: 3 }).der), /there is no bundle of a\.test yet/);
  await folder.bundle(root);
  t.match(revocationPolicyOf(folder.sources).missing, /crl:a\.test:1 has not been read yet/);
  await folder.sources.crls[0]!.refresh();
  t.equal(folder.sources.crls[0]!.lastError, undefined);
  const policy = revocationPolicyOf(folder.sources);
  t.equal(policy.missing, undefined);
  t.equal(policy.crls.length, 1);
});

t.test('a change of bundle verifies nothing again, and a list whose authority left is said', async (t) => {
  const folder = new Folder(t);
  const [root, next] = [
    await mintRoot('a.test', { subject: 'CN=1' }),
    await mintRoot('a.test', { subject: 'CN=2' }),
  ];
  await folder.bundle(root);
  t.equal(await folder.offer(longCrl(root, { entries: LONG }).der), undefined);
  // Whoever hashed what was signed would find it changed.
  folder.sources.crls[0]!.value?.signed.content.fill(0);
  await folder.bundle(root, next);
  t.equal(revocationPolicyOf(folder.sources).crls[0]?.size, LONG);
  t.same([...staleLists(folder.sources, Date.now())], []);
  await folder.bundle(next);
  t.same(revocationPolicyOf(folder.sources).crls, []);
  t.match(
    staleLists(folder.sources, Date.now()).get('crl:a.test:1'),
    /no authority of a\.test has its issuer's name: it decides nothing any more/,
  );
});

t.test('an expired list is said with its issuer, date, file and effect', async (t) => {
  const folder = new Folder(t);
  const root = await mintRoot('a.test', { subject: 'CN=root' });
  await folder.bundle(root);
  const nextUpdate = new Date(Math.floor(Date.now() / 1000) * 1000 + HOUR_MS);
  t.equal(await folder.offer(longCrl(root, { entries: 3, nextUpdate }).der), undefined);
  const said = (nowMs: number, revocation: Partial<TrustConfig['revocation']> = {}): string | undefined =>
    staleLists(
      {
        ...folder.sources,
        config: { ...folder.config, revocation: { ...folder.config.revocation, ...revocation } },
      },
      nowMs,
    ).get('crl:a.test:1');
  t.equal(said(nextUpdate.getTime()), undefined);
  const after = nextUpdate.getTime() + 1;
  const since = nextUpdate.toISOString();
  const words = `the revocation list of CN=root (${folder.file}) has expired, not the certificate: it should have been replaced by ${since}`;
  t.equal(
    said(after),
    `${words}; whoever it covers is refused from ${since} until it is replaced (stale: deny)`,
  );
  t.match(
    said(after, { staleGraceMs: HOUR_MS }),
    new RegExp(`refused from ${new Date(after - 1 + HOUR_MS).toISOString()}`),
  );
  t.match(said(after, { stale: 'use' }), /what is on it stays revoked/);
});

t.test('a long list bites on an open connection, and is not undone by an older one', async (t) => {
  const world = await World.start();
  t.teardown(() => world.close());
  world.write('b.crl', longCrl(world.caB, { entries: LONG, number: 1 }).pem);
  const trust = `
  - { trustDomain: a.test, bundle: { file: a.pem } }
  - { trustDomain: b.test, bundle: { file: b.pem }, revocation: { crls: [b.crl], require: leaf } }`;
  world.replace('countersign.yaml', world.configText({ trust }));
  await waitFor(async () =>
    (await world.snapshot()).sources.some(({ name }: { name: string }) => name === 'crl:b.test:1'),
  );
  const open = await world.client(world.bweb);
  t.equal((await open.ask(GET))[0]?.status, 200);
  world.replace('b.crl', longCrl(world.caB, { entries: LONG, number: 2, also: [world.bweb.serial] }).pem);
  await open.untilClosed();
  world.replace('b.crl', longCrl(world.caB, { entries: LONG, number: 1 }).pem);
  await waitFor(() => refusalsOf(world, 'crl:b.test:1').length > 0, 4000);
  t.match(refusalsOf(world, 'crl:b.test:1')[0]?.problem, /is older than the one in force/);
  const [answer] = await (await world.client(world.bweb)).ask(GET);
  t.equal(JSON.parse(answer?.body ?? '{}').reason, 'svid_revoked');
  t.match(await world.metrics(), /crl_next_update_timestamp_seconds\{trust_domain="b\.test",crl="1"\} \d+/);
});
