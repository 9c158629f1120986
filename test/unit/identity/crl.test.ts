import 'reflect-metadata';

import * as x509 from '@peculiar/x509';
import t from 'tap';
import {
  type Crl,
  describeExpiredList,
  parseCrl,
  verifyCrl,
  whyNoSuccessor,
} from '../../../src/identity/crl.js';
import { createRevocationList, judgeSvid, type RevocationPolicy } from '../../../src/identity/revocation.js';
import { bindCrls, createTrustBundle } from '../../../src/identity/trust-bundle.js';
import { createSignatureCheck, parsePeerChain, verifyX509Svid } from '../../../src/identity/x509-svid.js';
import { type Authority, type MintedCrl, mintRoot, type RawExtension, type Svid } from '../../support/pki.js';
import { bundleOf, certificateOf } from './vector-pki.js';
import { readVectors } from './vectors.js';

interface CrlVector {
  readonly crl?: {
    readonly issuer: string;
    readonly signer: string;
    readonly nextUpdate: string;
    readonly revoked: readonly {
      readonly serial: string;
      readonly reason?: string;
      readonly certificateIssuer?: string;
    }[];
    readonly extensions: readonly Readonly<Record<string, unknown>>[];
    readonly signature?: string;
    readonly signerKeyUsage?: readonly string[];
  } | null;
  readonly serial: string;
  readonly mode?: string;
}

const nowMs = Date.now();
const HOUR_MS = 3_600_000;
const noRevocations = createRevocationList([], 'none');

const listOf = (minted: MintedCrl): Crl => {
  const parsed = parseCrl(minted.der);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};

/** The verdict on a leaf under these lists: `ok`, or the reason of the refusal. */
function verdict(
  authority: Authority,
  svid: Svid,
  crls: readonly Crl[],
  options: Partial<RevocationPolicy> = {},
  atMs = nowMs,
): string {
  const [leaf, ...rest] = svid.chainDer;
  const chain = parsePeerChain(leaf!, rest);
  if (!chain.ok) return chain.error.reason;
  const bundles = new Map([['a.test', bundleOf('a.test', [authority.certDer])]]);
  const verified = verifyX509Svid(chain.value, bundles, nowMs, {
    clockSkewMs: 0,
    checkSignature: createSignatureCheck(),
  });
  if (!verified.ok) return verified.error.reason;
  const judged = judgeSvid(verified.value, atMs, {
    revocations: noRevocations,
    revocation: { crls, require: 'none', stale: 'deny', staleGraceMs: 0, ...options },
    clockSkewMs: 0,
  });
  return judged.ok ? 'ok' : judged.error.reason;
}

const bound = (authority: Authority, ...crls: readonly Crl[]): readonly Crl[] => {
  const result = bindCrls(bundleOf('a.test', [authority.certDer]), crls);
  if (!result.ok) throw new Error(result.error);
  return result.value;
};

const extensionOf = (description: Readonly<Record<string, unknown>>): RawExtension => {
  const critical = description.critical === true;
  if (description.name === 'deltaCRLIndicator')
    return { oid: '2.5.29.27', critical, value: Buffer.from('020101', 'hex') };
  if (description.name === 'issuingDistributionPoint') {
    const field = description.onlyContainsCACerts === true ? 0x82 : 0x84;
    return { oid: '2.5.29.28', critical, value: Buffer.from([0x30, 3, field, 1, 0xff]) };
  }
  return { oid: String(description.oid), critical };
};

/** What each vector comes to here: the list is unusable when it is bound, or the verdict on the certificate. */
const expected: Readonly<Record<string, string>> = {
  good: 'ok',
  revoked: 'svid_revoked',
  'revoked-no-reason': 'svid_revoked',
  'on-hold': 'svid_revoked',
  'serial-leading-zero': 'svid_revoked',
  'other-issuer': 'ok',
  'cross-domain-crl': 'unusable',
  'bad-signature': 'unusable',
  'signer-without-crlsign': 'unusable',
  'stale-hard': 'revocation_unknown',
  'unknown-critical-ext': 'unusable',
  'idp-only-ca': 'unusable',
  'indirect-crl': 'unusable',
  'delta-crl': 'unusable',
  'no-crl-optional': 'ok',
};

t.test('every CRL vector is judged as it asks', async (t) => {
  for (const { id, input, why } of readVectors<CrlVector>('crl')) {
    const name = id.slice(4);
    if (name === 'redacted-crl') continue; // of the Workload API: see the test of replaced lists
    const roots = new Map<string, Authority>();
    const usage = input.crl?.signerKeyUsage as ['keyCertSign'] | undefined;
    roots.set(
      'root-A',
      await mintRoot('a.test', { subject: 'CN=root-A', ...(usage ? { keyUsage: usage } : {}) }),
    );
    roots.set('root-B', await mintRoot('b.test', { subject: 'CN=root-B' }));
    const rootA = roots.get('root-A')!;
    const svid = await rootA.issue('spiffe://a.test/web', { serial: input.serial });
    const crls: Crl[] = [];
    let unusable = false;
    if (input.crl) {
      const minted = await roots.get(input.crl.issuer)!.crl({
        revoked: input.crl.revoked.map((entry) => ({
          serial: entry.serial,
          ...(entry.reason ? { reason: entry.reason as 'keyCompromise' } : {}),
          ...(entry.certificateIssuer
            ? { extensions: [{ oid: '2.5.29.29', critical: true, value: Buffer.from('3000', 'hex') }] }
            : {}),
        })),
        signer: roots.get(input.crl.signer)!,
        ...(input.crl.nextUpdate === 'past'
          ? { thisUpdate: new Date(nowMs - 2 * HOUR_MS), nextUpdate: new Date(nowMs - HOUR_MS) }
          : {}),
        extensions: input.crl.extensions.map(extensionOf),
      });
      const der = Buffer.from(minted.der);
      if (input.crl.signature === 'tampered') der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
      const issuer = roots.get(input.crl.issuer)!;
      const result = bindCrls(bundleOf('x.test', [issuer.certDer]), [listOf({ der, pem: '' })]);
      if (result.ok) crls.push(...result.value);
      else unusable = true;
    }
    t.equal(unusable ? 'unusable' : verdict(rootA, svid, crls), expected[name], `${name}: ${why}`);
    if (unusable)
      t.equal(
        verdict(rootA, svid, crls, { require: 'leaf' }),
        'revocation_unknown',
        `${name} denies when a list is needed`,
      );
  }
});

t.test('a list that was never bound decides nothing, and its issuer is refused', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  t.equal(verdict(root, svid, [listOf(await root.crl())]), 'revocation_unknown');
});

t.test('an unusable list refuses its issuer even where no list is needed', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const crl = listOf(await root.crl({ extensions: [{ oid: '1.3.6.1.4.1.99999.2', critical: true }] }));
  t.match(crl.unusable, /unknown critical extension/);
  t.equal(
    verdict(root, svid, [{ ...crl, signerKeySha256: certificateOf(root.certDer).keySha256 }]),
    'revocation_unknown',
  );
});

t.test('an unknown critical extension on another entry spoils the list', async (t) => {
  const root = await mintRoot('a.test');
  const entry = { serial: '77', extensions: [{ oid: '1.3.6.1.4.1.99999.3', critical: true }] };
  const crl = listOf(await root.crl({ revoked: ['05', entry] }));
  t.equal(crl.unusable, 'an entry has the unknown critical extension 1.3.6.1.4.1.99999.3');
  const harmless = { serial: '77', extensions: [{ oid: '1.3.6.1.4.1.99999.3', critical: false }] };
  t.equal(listOf(await root.crl({ revoked: [harmless] })).unusable, undefined);
});

t.test('a stale list denies, or binds what it still says, as configured', async (t) => {
  const root = await mintRoot('a.test', { notBefore: new Date(nowMs - 2 * HOUR_MS) });
  const old = { notBefore: new Date(nowMs - HOUR_MS), ttlMs: HOUR_MS };
  const good = await root.issue('spiffe://a.test/good', old);
  const bad = await root.issue('spiffe://a.test/bad', old);
  const nextUpdate = new Date(Math.floor(nowMs / 1000) * 1000 - 60_000);
  const crls = bound(
    root,
    listOf(await root.crl({ revoked: [bad.serial], thisUpdate: new Date(nowMs - HOUR_MS), nextUpdate })),
  );
  t.equal(verdict(root, good, crls, { stale: 'deny' }), 'revocation_unknown');
  t.equal(verdict(root, good, crls, { stale: 'deny', staleGraceMs: 120_000 }), 'ok');
  t.equal(verdict(root, good, crls, { stale: 'use', require: 'leaf' }), 'ok');
  t.equal(verdict(root, bad, crls, { stale: 'use' }), 'svid_revoked');
  t.equal(verdict(root, bad, crls, { stale: 'deny' }), 'svid_revoked');
  t.equal(verdict(root, good, crls, {}, nextUpdate.getTime()), 'ok', 'nextUpdate itself is inclusive');
  t.equal(verdict(root, good, crls, {}, nextUpdate.getTime() + 1), 'revocation_unknown');
});

t.test('a list from the future is not yet known', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const crls = bound(root, listOf(await root.crl({ thisUpdate: new Date(nowMs + HOUR_MS) })));
  t.equal(verdict(root, svid, crls), 'revocation_unknown');
});

t.test('leaf and chain demand what they say', async (t) => {
  const root = await mintRoot('a.test');
  const intermediate = await root.intermediate();
  const direct = await root.issue('spiffe://a.test/direct');
  const deep = await intermediate.issue('spiffe://a.test/deep');
  const rootList = bound(root, listOf(await root.crl()));
  t.equal(verdict(root, direct, [], { require: 'leaf' }), 'revocation_unknown');
  t.equal(verdict(root, direct, rootList, { require: 'leaf' }), 'ok');
  t.equal(
    verdict(root, deep, rootList, { require: 'leaf' }),
    'revocation_unknown',
    'the root does not speak for the leaf',
  );
  t.equal(verdict(root, deep, rootList, { require: 'none' }), 'ok');
  const both = bindCrls(bundleOf('a.test', [root.certDer, intermediate.certDer]), [
    listOf(await root.crl()),
    listOf(await intermediate.crl()),
  ]);
  if (!both.ok) throw new Error(both.error);
  t.equal(verdict(root, deep, both.value, { require: 'chain' }), 'ok');
  t.equal(verdict(root, deep, [both.value[1]!], { require: 'chain' }), 'revocation_unknown');
  t.equal(verdict(root, deep, [both.value[1]!], { require: 'leaf' }), 'ok');
});

t.test('a revoked intermediate revokes what it issued', async (t) => {
  const root = await mintRoot('a.test');
  const intermediate = await root.intermediate();
  const svid = await intermediate.issue('spiffe://a.test/web');
  const crls = bound(root, listOf(await root.crl({ revoked: [intermediate.serial] })));
  t.equal(verdict(root, svid, crls), 'svid_revoked');
});

t.test('a list of another key under the same name revokes but never says good', async (t) => {
  const subject = 'O=SPIFFE';
  const [oldRoot, newRoot] = [await mintRoot('a.test', { subject }), await mintRoot('a.test', { subject })];
  const svid = await oldRoot.issue('spiffe://a.test/web');
  const list = async (revoked: string[]): Promise<readonly Crl[]> =>
    bound(newRoot, listOf(await newRoot.crl({ revoked })));
  t.equal(verdict(oldRoot, svid, await list([]), { require: 'leaf' }), 'revocation_unknown');
  t.equal(verdict(oldRoot, svid, await list([svid.serial]), { require: 'leaf' }), 'svid_revoked');
});

t.test('of several lists by one authority the newest decides', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const older = listOf(await root.crl({ number: 1, revoked: [svid.serial] }));
  const newer = listOf(await root.crl({ number: 2, revoked: [] }));
  t.equal(verdict(root, svid, bound(root, older, newer)), 'ok', 'a hold that was lifted is lifted');
  t.equal(verdict(root, svid, bound(root, newer, older)), 'ok');
  t.equal(verdict(root, svid, bound(root, older)), 'svid_revoked');
  const bundle = bundleOf('a.test', [root.certDer]);
  const revisionWith = (...crls: Crl[]): string =>
    createTrustBundle({ ...bundle, crls: bound(root, ...crls) }).revision;
  t.equal(new Set([revisionWith(older), revisionWith(newer), bundle.revision]).size, 3);
});

t.test('of two lists that nobody can put in order the entries of both bind', async (t) => {
  const root = await mintRoot('a.test');
  const [one, two] = [await root.issue('spiffe://a.test/one'), await root.issue('spiffe://a.test/two')];
  const thisUpdate = new Date(nowMs - HOUR_MS);
  const list = async (serial: string): Promise<Crl> =>
    listOf(await root.crl({ thisUpdate, number: 4, revoked: [serial] }));
  const [a, b] = [await list(one.serial), await list(two.serial)];
  for (const crls of [bound(root, a, b), bound(root, b, a), bound(root, a, b, a)]) {
    t.equal(crls.length, 2);
    t.equal(verdict(root, one, crls), 'svid_revoked');
    t.equal(verdict(root, two, crls), 'svid_revoked');
  }
});

t.test('lists of one key under two names do not replace each other', async (t) => {
  const root = await mintRoot('a.test', { subject: 'CN=old name' });
  const renamed = await mintRoot('a.test', { subject: 'CN=new name', keys: root.keys });
  const svid = await root.issue('spiffe://a.test/web');
  const both = bindCrls(bundleOf('a.test', [root.certDer, renamed.certDer]), [
    listOf(await root.crl({ number: 1, revoked: [svid.serial] })),
    listOf(await renamed.crl({ number: 2, revoked: [] })),
  ]);
  t.ok(both.ok && both.value.length === 2);
  t.equal(verdict(root, svid, both.ok ? both.value : []), 'svid_revoked');
});

t.test(
  'a signature is verified once: bound lists go by the key, in whatever certificate it comes',
  async (t) => {
    const subject = 'CN=ca';
    const root = await mintRoot('a.test', { subject });
    const renewed = await mintRoot('a.test', { subject, keys: root.keys });
    const other = await mintRoot('a.test', { subject, keyIdentifiers: false });
    const mute = await mintRoot('a.test', { subject, keys: root.keys, keyUsage: ['keyCertSign'] });
    const [first] = bound(root, listOf(await root.crl()));
    // Nothing is left of what was signed: whoever verified it again would find it wrong.
    const unsigned: Crl = { ...first!, signed: { ...first!.signed, content: new Uint8Array(1) } };
    const rebind = (authority: Authority, crl: Crl): string => {
      const result = bindCrls(bundleOf('a.test', [authority.certDer]), [crl]);
      return result.ok ? 'ok' : result.error;
    };
    t.equal(rebind(root, unsigned), 'ok');
    t.equal(rebind(renewed, unsigned), 'ok');
    t.equal(rebind(other, unsigned), 'the list of CN=ca cannot be used: another key signed it');
    t.equal(rebind(mute, unsigned), 'the list of CN=ca cannot be used: its issuer may not sign lists');
    t.equal(
      rebind(root, { ...unsigned, signerKeySha256: undefined }),
      'the list of CN=ca cannot be used: its signature is wrong',
    );
  },
);

t.test('a list takes the place of another of its scope only if it is newer', async (t) => {
  const root = await mintRoot('a.test');
  const at = (hours: number): Date => new Date(Math.floor(nowMs / 1000) * 1000 + hours * HOUR_MS);
  const list = async (number: number, hours: number, revoked: string[] = []): Promise<Crl> =>
    listOf(await root.crl({ number, thisUpdate: at(hours), nextUpdate: at(24), revoked }));
  const held = await list(5, -2, ['05']);
  t.equal(whyNoSuccessor(held, held), undefined, 'the same one again');
  t.equal(whyNoSuccessor(await list(6, -1), held), undefined);
  t.equal(whyNoSuccessor(await list(6, -3), held), undefined, 'the number counts, whatever a clock said');
  t.match(
    whyNoSuccessor(await list(4, -1), held),
    /is older than the one in force: CRL number 4, not above CRL number 5/,
  );
  t.match(whyNoSuccessor(await list(5, -1), held), /has its CRL number 5: which is newer cannot be told/);
  t.match(whyNoSuccessor(await list(5, -2), held), /which is newer cannot be told/);
  const unnumbered = async (hours: number, revoked: string[] = []): Promise<Crl> => ({
    ...(await list(1, hours, revoked)),
    number: undefined,
  });
  t.equal(whyNoSuccessor(await unnumbered(-1), held), undefined);
  t.match(
    whyNoSuccessor(await unnumbered(-3), held),
    /is older than the one in force: thisUpdate .*, not above thisUpdate /,
  );
  t.match(
    whyNoSuccessor(await unnumbered(-2), await unnumbered(-2, ['05'])),
    /has its thisUpdate .* cannot be told/,
  );
});

t.test('whatever its reason, an entry revokes: removeFromCRL is of deltas only', async (t) => {
  const root = await mintRoot('a.test');
  for (const reason of ['removeFromCRL', 'unspecified', 'certificateHold', 'superseded'] as const) {
    const svid = await root.issue('spiffe://a.test/web');
    const crls = bound(root, listOf(await root.crl({ revoked: [{ serial: svid.serial, reason }] })));
    t.equal(verdict(root, svid, crls), 'svid_revoked', reason);
  }
});

t.test('an expired list says that it is the list, whose, since when and from which file', async (t) => {
  const root = await mintRoot('a.test', { subject: 'CN=ca' });
  const nextUpdate = new Date('2026-01-02T03:04:05Z');
  const [crl] = bound(
    root,
    listOf(await root.crl({ thisUpdate: new Date('2026-01-01T00:00:00Z'), nextUpdate })),
  );
  const words = 'has expired, not the certificate: it should have been replaced by 2026-01-02T03:04:05.000Z';
  t.equal(describeExpiredList(crl!), `the revocation list of CN=ca ${words}`);
  const held = { ...crl!, origin: { number: 1, file: '/etc/ca.crl' } };
  t.equal(describeExpiredList(held), `the revocation list of CN=ca (/etc/ca.crl) ${words}`);
});

t.test('while a list that was asked for is missing, nobody of its domain is let in', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  t.equal(verdict(root, svid, [], { missing: 'the list is not there' }), 'revocation_unknown');
});

t.test('verification says which of name, key, usage or signature is wrong', async (t) => {
  const subject = 'CN=ca';
  const root = await mintRoot('a.test', { subject });
  const problem = async (crl: Promise<MintedCrl>, issuer: Authority): Promise<string> => {
    const verified = verifyCrl(listOf(await crl), certificateOf(issuer.certDer));
    return verified.ok ? 'ok' : verified.error;
  };
  const other = await mintRoot('a.test', { subject });
  const plain = await mintRoot('a.test', { subject, keyIdentifiers: false });
  t.equal(await problem(root.crl(), root), 'ok');
  t.equal(
    await problem(root.crl(), await mintRoot('a.test', { subject: 'CN=x' })),
    'the list names another issuer',
  );
  t.equal(await problem(root.crl(), other), 'the list names another key of its issuer');
  t.equal(await problem(root.crl(), plain), 'its signature is wrong');
  t.equal(await problem(root.crl({ signer: other }), root), 'its signature is wrong');
  const mute = await mintRoot('a.test', { subject, keyUsage: ['keyCertSign'] });
  t.equal(await problem(mute.crl(), mute), 'its issuer may not sign lists');
});

t.test('our reader agrees with the library on lists that the library can read', async (t) => {
  const root = await mintRoot('a.test');
  const revoked = ['01', 'a1', '7fffffffffffffffffffffffffffffff', '00ff', '0123456789abcdef'];
  const minted = await root.crl({ revoked, number: 4711 });
  const [ours, theirs] = [listOf(minted), new x509.X509Crl(minted.der)];
  t.equal(ours.size, theirs.entries.length);
  for (const { serialNumber } of theirs.entries)
    t.ok(ours.has(serialNumber.toLowerCase().replace(/^0+(?=.)/, '')), `both hold ${serialNumber}`);
  t.notOk(ours.has('2'));
  t.equal(ours.thisUpdateMs, theirs.thisUpdate.getTime());
  t.equal(ours.nextUpdateMs, theirs.nextUpdate?.getTime());
  t.equal(ours.number, 4711n);
});

t.test('a list of five thousand entries is read whole, which the library refuses', async (t) => {
  const root = await mintRoot('a.test');
  const revoked = Array.from({ length: 5000 }, (_, i) => (i + 1).toString(16).padStart(8, '0'));
  const minted = await root.crl({ revoked });
  t.throws(() => new x509.X509Crl(minted.der).entries, 'else our own reader has lost its reason');
  const crl = listOf(minted);
  t.equal(crl.size, 5000);
  t.ok(crl.has('1388'));
  t.notOk(crl.has('1389'));
});

t.test('what is not one whole list is refused with a reason', async (t) => {
  const root = await mintRoot('a.test');
  const { der, pem } = await root.crl({ revoked: ['05'] });
  const problem = (bytes: Uint8Array | string): string => {
    const parsed = parseCrl(Buffer.from(bytes));
    return parsed.ok ? 'ok' : parsed.error;
  };
  t.equal(problem(pem), 'ok');
  t.equal(problem(''), 'the file holds no revocation list');
  t.equal(problem(pem + pem), 'the file holds more than one block');
  t.equal(problem(root.certPem), 'CERTIFICATE is not a revocation list');
  t.equal(problem(Buffer.concat([der, Buffer.from([0])])), 'the list has trailing bytes');
  t.equal(problem(der.subarray(0, der.length - 1)), 'the list is cut short');
  t.match(problem(pem.slice(0, pem.length / 2)), /has no end/);
  t.not(problem(root.certDer), 'ok');
});
