import { createHash } from 'node:crypto';
import t from 'tap';
import { sequence, tlv } from '../../../src/dev/der-writer.js';
import { DerReader, readWhole, Tag } from '../../../src/identity/der.js';
import { createRevocationList, judgeSvid, type RevocationEntry } from '../../../src/identity/revocation.js';
import {
  createSignatureCheck,
  parsePeerChain,
  type VerifiedSvid,
  verifyX509Svid,
} from '../../../src/identity/x509-svid.js';
import { type Authority, mintRoot, type Svid } from '../../support/pki.js';
import { bundleOf, certificateOf } from './vector-pki.js';

const nowMs = Math.floor(Date.now() / 1000) * 1000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

function verified(svid: Svid, authority: Authority, atMs = nowMs): VerifiedSvid {
  const chain = parsePeerChain(svid.certDer, svid.chainDer.slice(1));
  if (!chain.ok) throw new Error(chain.error.reason);
  const bundles = new Map([['a.test', bundleOf('a.test', [authority.certDer])]]);
  const result = verifyX509Svid(chain.value, bundles, atMs, {
    clockSkewMs: 0,
    checkSignature: createSignatureCheck(),
  });
  if (!result.ok) throw new Error(result.error.reason);
  return result.value;
}

type Keys = Omit<RevocationEntry, 'reason'>;

const listed = (svid: VerifiedSvid, keys: Keys, atMs = nowMs): boolean =>
  createRevocationList([{ ...keys, reason: 'test' }], 'r').find(svid, atMs) !== undefined;

const verdict = (svid: VerifiedSvid, atMs: number, entries: readonly Keys[] = [], options: object = {}) =>
  judgeSvid(svid, atMs, {
    revocations: createRevocationList(
      entries.map((keys) => ({ ...keys, reason: 'key leaked' })),
      'r',
    ),
    revocation: undefined,
    clockSkewMs: 0,
    ...options,
  });

t.test('an ID is revoked exactly, a prefix by whole segments', async (t) => {
  const root = await mintRoot('a.test');
  const svid = verified(await root.issue('spiffe://a.test/ns/prod/sa/web'), root);
  t.ok(listed(svid, { id: 'spiffe://a.test/ns/prod/sa/web' }));
  t.notOk(listed(svid, { id: 'spiffe://a.test/ns/prod/sa/we' }));
  t.notOk(listed(svid, { id: 'spiffe://a.test/ns/prod/sa' }));
  for (const idPrefix of [
    'spiffe://a.test/ns/prod/sa/web',
    'spiffe://a.test/ns/prod',
    'spiffe://a.test/ns/prod/',
    'spiffe://a.test/ns',
    'spiffe://a.test',
    'spiffe://a.test/',
  ])
    t.ok(listed(svid, { idPrefix }), idPrefix);
  for (const idPrefix of [
    'spiffe://a.test/ns/pro',
    'spiffe://a.test/ns/prod/sa/web/x',
    'spiffe://a.tes',
    'spiffe://',
    'spiffe:',
  ])
    t.notOk(listed(svid, { idPrefix }), idPrefix);
});

t.test('a serial counts with its issuer, however both are written', async (t) => {
  const root = await mintRoot('a.test', { subject: 'C=US,O=Some Org,CN=root' });
  const svid = verified(await root.issue('spiffe://a.test/web', { serial: '00a1b2' }), root);
  t.equal(svid.leaf.serial, 'a1b2');
  t.equal(svid.leaf.issuer, 'CN=root,O=Some Org,C=US');
  for (const serial of ['a1b2', 'A1:B2', '00a1b2', '0xA1B2'])
    for (const issuer of [
      'CN=root,O=Some Org,C=US',
      'C = US, O = Some Org, CN = root',
      'cn=root, o=some org, c=us',
    ])
      t.ok(listed(svid, { serial, issuer }), `${serial} of ${issuer}`);
  t.notOk(listed(svid, { serial: 'a1b2', issuer: 'CN=other' }));
  t.notOk(listed(svid, { serial: 'a1b3', issuer: 'CN=root,O=Some Org,C=US' }));
  t.ok(listed(svid, { serial: 'a1b2' }), 'without an issuer any counts');
});

t.test('fingerprints and keys revoke the leaf, and an issuer with all below it', async (t) => {
  const root = await mintRoot('a.test');
  const intermediate = await root.intermediate();
  const first = await intermediate.issue('spiffe://a.test/web');
  const svid = verified(first, root);
  const renewed = verified(await intermediate.issue('spiffe://a.test/web', { keys: first.keys }), root);
  t.ok(listed(svid, { sha256: svid.leaf.sha256 }));
  t.ok(listed(svid, { sha256: svid.leaf.sha256.toUpperCase().match(/../g)?.join(':') ?? '' }));
  t.notOk(listed(renewed, { sha256: svid.leaf.sha256 }));
  t.ok(
    listed(renewed, { keySha256: svid.leaf.keySha256 }),
    'a new certificate for a leaked key does not help',
  );
  for (const authority of [root, intermediate]) {
    const { sha256, keySha256, serial, issuer } = certificateOf(authority.certDer);
    t.ok(listed(svid, { sha256 }) && listed(svid, { keySha256 }) && listed(svid, { serial, issuer }));
  }
  t.notOk(listed(svid, { sha256: '00'.repeat(32) }));
});

t.test(
  'a certificate revoked by fingerprint does not come back with its signature written the other way',
  async (t) => {
    const root = await mintRoot('a.test');
    const svid = await root.issue('spiffe://a.test/web');
    const twin = { ...svid, certDer: flipSignature(svid.certDer) };
    t.not(createHash('sha256').update(twin.certDer).digest('hex'), svid.sha256);
    const accepted = verified(twin, root);
    t.equal(accepted.id.uri, 'spiffe://a.test/web', 'the twin verifies, which is the danger');
    t.ok(listed(accepted, { sha256: svid.sha256 }));
    t.notOk(listed(accepted, { sha256: '11'.repeat(32) }));
  },
);

/** (r, s) becomes (r, n - s): valid again, other bytes. */
function flipSignature(der: Buffer): Buffer {
  const order = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const outer = new DerReader(readWhole(der, Tag.sequence, 'certificate').content);
  const tbs = outer.read(Tag.sequence, 'tbs').der;
  const algorithm = outer.read(Tag.sequence, 'algorithm').der;
  const bits = outer.read(Tag.bitString, 'signature').content.subarray(1);
  const values = new DerReader(readWhole(bits, Tag.sequence, 'signature').content);
  const r = values.read(Tag.integer, 'r').der;
  const s = BigInt(`0x${values.read(Tag.integer, 's').content.toString('hex')}`);
  const hex = (order - s).toString(16);
  const even = hex.length % 2 === 0 ? hex : `0${hex}`;
  const octets = Buffer.from(Number.parseInt(even.slice(0, 2), 16) >= 0x80 ? `00${even}` : even, 'hex');
  return sequence(
    tbs,
    algorithm,
    tlv(Tag.bitString, Buffer.from([0]), sequence(r, tlv(Tag.integer, octets))),
  );
}

t.test('at, until and issuedBefore bound an entry in time', async (t) => {
  const root = await mintRoot('a.test');
  const id = 'spiffe://a.test/web';
  const svid = verified(await root.issue(id, { notBefore: new Date(nowMs - MINUTE_MS) }), root);
  t.notOk(listed(svid, { id, at: nowMs + 1 }));
  t.ok(listed(svid, { id, at: nowMs }), 'in force from that very moment');
  t.ok(listed(svid, { id, until: nowMs + 1 }));
  t.notOk(listed(svid, { id, until: nowMs }), 'and until, not through');
  t.ok(listed(svid, { id, issuedBefore: nowMs }));
  t.notOk(listed(svid, { id, issuedBefore: nowMs - MINUTE_MS }), 'a reissued one gets in');
  const list = createRevocationList(
    [
      { id, at: nowMs + 3000, until: nowMs + 9000, reason: 'a' },
      { sha256: 'ff', at: nowMs + 1000, reason: 'b' },
    ],
    'r',
  );
  t.equal(list.nextChangeMs(nowMs), nowMs + 1000);
  t.equal(list.nextChangeMs(nowMs + 1000), nowMs + 3000);
  t.equal(list.nextChangeMs(nowMs + 3000), nowMs + 9000);
  t.equal(list.nextChangeMs(nowMs + 9000), Number.POSITIVE_INFINITY);
});

t.test('of several entries for one ID the one in force is found', async (t) => {
  const root = await mintRoot('a.test');
  const id = 'spiffe://a.test/web';
  const svid = verified(await root.issue(id), root);
  const list = createRevocationList(
    [
      { id, until: nowMs, reason: 'over' },
      { id, reason: 'in force' },
    ],
    'r',
  );
  t.equal(list.find(svid, nowMs)?.reason, 'in force');
});

t.test('a yes names the moment until which it holds', async (t) => {
  const root = await mintRoot('a.test');
  const minted = await root.issue('spiffe://a.test/web', { ttlMs: HOUR_MS });
  const svid = verified(minted, root);
  const until = (entries: readonly Keys[] = []): number => {
    const judged = verdict(svid, nowMs, entries);
    return judged.ok ? judged.value.validUntilMs : 0;
  };
  t.equal(until(), svid.leaf.notAfterMs + 1);
  t.equal(until([{ id: 'spiffe://a.test/web', at: nowMs + 5000 }]), nowMs + 5000);
  const last = verdict(svid, svid.leaf.notAfterMs);
  t.ok(last.ok, 'notAfter itself is inclusive');
  const reason = (atMs: number, entries: readonly Keys[] = [], options: object = {}): string => {
    const judged = verdict(svid, atMs, entries, options);
    return judged.ok ? 'ok' : judged.error.reason;
  };
  t.equal(reason(svid.leaf.notAfterMs + 1), 'svid_expired');
  t.equal(reason(svid.leaf.notBeforeMs - 1), 'svid_not_yet_valid');
  t.equal(reason(svid.leaf.notBeforeMs - 1, [], { clockSkewMs: 1 }), 'ok');
  t.equal(reason(nowMs, [{ id: 'spiffe://a.test/web' }]), 'svid_revoked');
  t.equal(reason(nowMs, [], { maxLifetimeMs: HOUR_MS / 2 }), 'svid_lifetime_too_long');
  t.equal(reason(nowMs, [], { maxLifetimeMs: 2 * HOUR_MS }), 'ok');
});

t.test('an issuer that expires ends the leaf before its own time', async (t) => {
  const root = await mintRoot('a.test');
  const intermediate = await root.intermediate({ notAfter: new Date(nowMs + MINUTE_MS) });
  const svid = verified(await intermediate.issue('spiffe://a.test/web'), root);
  const judged = verdict(svid, nowMs);
  t.equal(judged.ok && judged.value.validUntilMs, nowMs + MINUTE_MS + 1);
  const later = verdict(svid, nowMs + MINUTE_MS + 1);
  t.equal(later.ok ? 'ok' : later.error.reason, 'issuer_expired');
});
