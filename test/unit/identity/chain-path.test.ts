import t from 'tap';
import {
  createSignatureCheck,
  parsePeerChain,
  type SignatureCheck,
  type VerifiedSvid,
  verifyX509Svid,
} from '../../../src/identity/x509-svid.js';
import type { Result } from '../../../src/reasons.js';
import { type Authority, type CertificateOptions, mintRoot, type Svid } from '../../support/pki.js';
import { bundleOf } from './vector-pki.js';

const nowMs = Math.floor(Date.now() / 1000) * 1000;
const HOUR_MS = 3_600_000;

interface Asked {
  readonly presented?: readonly Buffer[];
  readonly atMs?: number;
  readonly clockSkewMs?: number;
  readonly checkSignature?: SignatureCheck;
  readonly role?: 'client' | 'server';
}

function verify(svid: Svid, authorities: readonly Authority[], asked: Asked = {}): Result<VerifiedSvid> {
  const chain = parsePeerChain(svid.certDer, asked.presented ?? svid.chainDer.slice(1), asked.role);
  if (!chain.ok) return chain;
  const bundles = new Map([
    [
      'a.test',
      bundleOf(
        'a.test',
        authorities.map((authority) => authority.certDer),
      ),
    ],
  ]);
  return verifyX509Svid(chain.value, bundles, asked.atMs ?? nowMs, {
    clockSkewMs: asked.clockSkewMs ?? 0,
    checkSignature: asked.checkSignature ?? createSignatureCheck(),
  });
}

const reasonOf = (result: Result<unknown>): string => (result.ok ? 'ok' : result.error.reason);

async function chainOfLength(root: Authority, length: number): Promise<Authority> {
  let authority = root;
  for (let i = 1; i <= length; i++) authority = await authority.intermediate({ subject: `CN=int-${i}` });
  return authority;
}

t.test('a chain is found in any order among certificates of no use', async (t) => {
  const root = await mintRoot('a.test');
  const other = await mintRoot('b.test');
  const svid = await (await chainOfLength(root, 3)).issue('spiffe://a.test/web');
  const [a, b, c] = svid.chainDer.slice(1) as [Buffer, Buffer, Buffer];
  const noise = [other.certDer, root.certDer, Buffer.from('noise'), Buffer.alloc(0)];
  for (const presented of [
    [a, b, c],
    [c, b, a],
    [b, other.certDer, c, a],
    [...noise, c, a, b],
  ]) {
    const result = verify(svid, [root], { presented });
    t.equal(result.ok && result.value.issuers.length, 4);
    t.equal(result.ok && result.value.authority.sha256, root.sha256);
  }
  t.equal(reasonOf(verify(svid, [root], { presented: [a, c] })), 'chain_untrusted', 'a link is missing');
});

t.test('a chain of fifty, and one longer than the bound, end quickly', async (t) => {
  const root = await mintRoot('a.test');
  const fifty = await (await chainOfLength(root, 50)).issue('spiffe://a.test/web');
  t.equal(reasonOf(verify(fifty, [root])), 'chain_too_long');
  const nine = await (await chainOfLength(root, 9)).issue('spiffe://a.test/web');
  t.equal(reasonOf(verify(nine, [root])), 'chain_too_long');
  const seven = await (await chainOfLength(root, 7)).issue('spiffe://a.test/web');
  t.equal(reasonOf(verify(seven, [root])), 'ok');
});

t.test(
  'the work is bounded when every presented certificate could be the issuer of every other',
  async (t) => {
    const subject = 'CN=loop';
    const first = await mintRoot('a.test', { subject });
    const tangle: Buffer[] = [];
    // Same name, same key: each one's signature fits below each other, which is factorial without a bound.
    for (let i = 0; i < 15; i++)
      tangle.push((await first.intermediate({ subject, keys: first.keys })).certDer);
    const svid = await first.issue('spiffe://a.test/web');
    let checks = 0;
    const check = createSignatureCheck();
    const result = verify(svid, [await mintRoot('a.test', { subject: 'CN=elsewhere' })], {
      presented: tangle,
      checkSignature: (child, issuer) => {
        checks++;
        return check(child, issuer);
      },
    });
    t.equal(reasonOf(result), 'chain_too_long');
    t.ok(checks <= 64, `${checks} signature checks`);
  },
);

t.test('several authorities with one name and no key identifiers are told apart by signature', async (t) => {
  const options: CertificateOptions = { subject: 'C=US,O=SPIFFE', keyIdentifiers: false };
  const roots = await Promise.all(Array.from({ length: 4 }, () => mintRoot('a.test', options)));
  for (const root of roots) {
    const result = verify(await root.issue('spiffe://a.test/web', { keyIdentifiers: false }), roots);
    t.equal(result.ok && result.value.authority.sha256, root.sha256);
  }
});

t.test('a cross-signed root leads to whichever authority the bundle holds', async (t) => {
  const [oldRoot, newRoot] = [
    await mintRoot('a.test', { subject: 'CN=old' }),
    await mintRoot('a.test', { subject: 'CN=new' }),
  ];
  const cross = await oldRoot.intermediate({ subject: 'CN=new', keys: newRoot.keys });
  const svid = await newRoot.issue('spiffe://a.test/web');
  const presented = [cross.certDer];
  const underOld = verify(svid, [oldRoot], { presented });
  t.equal(underOld.ok && underOld.value.issuers.length, 2);
  const underNew = verify(svid, [newRoot], { presented });
  t.equal(underNew.ok && underNew.value.issuers.length, 1);
});

t.test('an expired path gives way to a live one, and otherwise names itself', async (t) => {
  const root = await mintRoot('a.test', { notBefore: new Date(nowMs - 3 * HOUR_MS) });
  const live = await root.intermediate({ subject: 'CN=int', ttlMs: HOUR_MS });
  const dead = await root.intermediate({
    subject: 'CN=int',
    keys: live.keys,
    notBefore: new Date(nowMs - 2 * HOUR_MS),
    notAfter: new Date(nowMs - HOUR_MS),
  });
  const svid = await live.issue('spiffe://a.test/web');
  t.equal(reasonOf(verify(svid, [root], { presented: [dead.certDer] })), 'issuer_expired');
  t.equal(reasonOf(verify(svid, [root], { presented: [dead.certDer, live.certDer] })), 'ok');
  t.equal(
    reasonOf(verify(svid, [root], { atMs: nowMs + 2 * HOUR_MS })),
    'svid_expired',
    'the leaf comes first',
  );
});

t.test('the window is the narrowest of the path', async (t) => {
  const root = await mintRoot('a.test', { notAfter: new Date(nowMs + 4 * HOUR_MS) });
  const intermediate = await root.intermediate({
    notAfter: new Date(nowMs + HOUR_MS),
    notBefore: new Date(nowMs - 5000),
  });
  const svid = await intermediate.issue('spiffe://a.test/web', { ttlMs: 10 * HOUR_MS });
  const result = verify(svid, [root]);
  t.equal(result.ok && result.value.notAfterMs, nowMs + HOUR_MS);
  t.equal(result.ok && result.value.notBeforeMs, nowMs - 5000);
});

t.test('clock skew widens notBefore only', async (t) => {
  const root = await mintRoot('a.test');
  const soon = await root.issue('spiffe://a.test/web', { notBefore: new Date(nowMs + 20_000) });
  t.equal(reasonOf(verify(soon, [root])), 'svid_not_yet_valid');
  t.equal(reasonOf(verify(soon, [root], { clockSkewMs: 20_000 })), 'ok');
  t.equal(reasonOf(verify(soon, [root], { clockSkewMs: 19_999 })), 'svid_not_yet_valid');
  const past = await root.issue('spiffe://a.test/web', {
    notBefore: new Date(nowMs - HOUR_MS),
    notAfter: new Date(nowMs - 1000),
  });
  t.equal(reasonOf(verify(past, [root], { clockSkewMs: HOUR_MS })), 'svid_expired');
  const young = await mintRoot('a.test', { notBefore: new Date(nowMs + HOUR_MS) });
  const early = await young.issue('spiffe://a.test/web');
  t.equal(reasonOf(verify(early, [young])), 'issuer_not_yet_valid');
});

t.test(
  'a leaf that issues a leaf is no CA, nor is an intermediate that says nothing of itself',
  async (t) => {
    const root = await mintRoot('a.test');
    const web = await root.intermediate({
      subject: 'CN=web',
      ca: false,
      keyUsage: ['digitalSignature'],
      uriSans: ['spiffe://a.test/web'],
    });
    t.equal(reasonOf(verify(await web.issue('spiffe://a.test/admin'), [root])), 'issuer_not_ca');
    const bare = await root.intermediate({ subject: 'CN=bare', ca: null, keyUsage: null });
    t.equal(reasonOf(verify(await bare.issue('spiffe://a.test/admin'), [root])), 'issuer_not_ca');
  },
);

t.test('an issuer with an unknown critical extension issues nothing', async (t) => {
  const root = await mintRoot('a.test');
  const odd = await root.intermediate({ extensions: [{ oid: '1.3.6.1.4.1.99999.1', critical: true }] });
  t.equal(reasonOf(verify(await odd.issue('spiffe://a.test/web'), [root])), 'issuer_critical_extension');
});

t.test('a CA as the leaf and a leaf that may sign are refused', async (t) => {
  const root = await mintRoot('a.test');
  const asLeaf = {
    ...(await root.issue('spiffe://a.test/x')),
    certDer: root.certDer,
    chainDer: [root.certDer],
  };
  t.equal(reasonOf(verify(asLeaf, [root])), 'svid_is_ca');
  const options: [CertificateOptions, string][] = [
    [{ ca: true }, 'svid_is_ca'],
    [{ keyUsage: ['digitalSignature', 'keyCertSign'] }, 'svid_key_usage'],
    [{ keyUsage: ['digitalSignature', 'cRLSign'] }, 'svid_key_usage'],
    [{ keyUsage: null }, 'svid_key_usage'],
    [{ extendedKeyUsage: ['serverAuth'] }, 'svid_extended_key_usage'],
    [{ extendedKeyUsage: ['anyExtendedKeyUsage'] }, 'svid_extended_key_usage'],
    [{ extendedKeyUsage: null }, 'ok'],
    [{ extensions: [{ oid: '2.5.29.36', critical: true }] }, 'svid_critical_extension'],
  ];
  for (const [option, reason] of options)
    t.equal(
      reasonOf(verify(await root.issue('spiffe://a.test/web', option), [root])),
      reason,
      JSON.stringify(option),
    );
  const server = await root.issue('spiffe://a.test/web', { extendedKeyUsage: ['serverAuth'] });
  t.equal(reasonOf(verify(server, [root], { role: 'server' })), 'ok');
});

t.test('name constraints bind the host of the ID', async (t) => {
  const judge = async (
    nameConstraints: CertificateOptions['nameConstraints'] & {},
    uri = 'spiffe://a.test/web',
    otherSans: string[] = [],
  ) => {
    const root = await mintRoot('a.test', { uriSans: [] });
    const intermediate = await root.intermediate({ nameConstraints, uriSans: [] });
    return reasonOf(verify(await intermediate.issue(uri, { otherSans }), [root]));
  };
  t.equal(await judge({ permittedUri: ['a.test'] }), 'ok');
  t.equal(await judge({ permittedUri: ['A.TEST'] }), 'ok', 'hosts fold case');
  t.equal(await judge({ permittedUri: ['.a.test'] }), 'name_constraints', 'a leading dot means hosts below');
  t.equal(await judge({ permittedUri: ['.test'] }), 'ok');
  t.equal(await judge({ permittedUri: ['test'] }), 'name_constraints', 'without a dot it is that host alone');
  t.equal(await judge({ permittedUri: ['b.test', 'a.test'] }), 'ok');
  t.equal(await judge({ excludedUri: ['a.test'] }), 'name_constraints');
  t.equal(await judge({ excludedUri: ['.a.test'] }), 'ok');
  t.equal(
    await judge({ permittedUri: ['a.test'], excludedUri: ['.test'] }),
    'name_constraints',
    'excluded wins',
  );
  t.equal(await judge({ permittedDns: ['example.com'] }), 'ok');
  t.equal(await judge({ permittedDns: ['example.com'] }, undefined, ['DNS:web.example.com']), 'ok');
  t.equal(
    await judge({ permittedDns: ['example.com'] }, undefined, ['DNS:webexample.com']),
    'name_constraints',
  );
  t.equal(
    await judge({ excludedDns: ['example.com'] }, undefined, ['DNS:web.example.com']),
    'name_constraints',
  );
  t.equal(
    await judge({ excludedDns: ['example.com'] }, undefined, ['DNS:x, URI:spiffe://a.test/admin']),
    'name_constraints',
  );
});

t.test('a URI constraint refuses hosts that are no qualified names', async (t) => {
  const judge = async (host: string, constraint: string, kind: 'permittedUri' | 'excludedUri') => {
    const root = await mintRoot(host, { uriSans: [] });
    const intermediate = await root.intermediate({ nameConstraints: { [kind]: [constraint] }, uriSans: [] });
    const svid = await intermediate.issue(`spiffe://${host}/web`);
    const chain = parsePeerChain(svid.certDer, svid.chainDer.slice(1));
    if (!chain.ok) return chain.error.reason;
    const bundles = new Map([[host, bundleOf(host, [root.certDer])]]);
    return reasonOf(
      verifyX509Svid(chain.value, bundles, nowMs, { clockSkewMs: 0, checkSignature: createSignatureCheck() }),
    );
  };
  for (const host of ['127.0.0.1', '0x7f.1', 'a_b.test', 'a.test.', 'a..test', '-a.test', 'localhost']) {
    t.equal(await judge(host, host, 'permittedUri'), 'name_constraints', `${host} permitted`);
    t.equal(
      await judge(host, 'other.test', 'excludedUri'),
      'name_constraints',
      `${host} beside an exclusion`,
    );
  }
});

t.test('text in other kinds of names never becomes the identity', async (t) => {
  const root = await mintRoot('a.test');
  const otherSans = [
    'email:spiffe://a.test/admin',
    'otherName:1.2.3.4=spiffe://a.test/admin',
    'DNS:x, URI:spiffe://a.test/admin',
  ];
  const result = verify(await root.issue('spiffe://a.test/web', { otherSans }), [root]);
  t.equal(result.ok && result.value.id.uri, 'spiffe://a.test/web');
  const forged = await root.issue('spiffe://a.test/web, URI:spiffe://a.test/admin');
  t.equal(reasonOf(verify(forged, [root])), 'svid_id_invalid');
  t.equal(reasonOf(verify(await root.issue([], { otherSans }), [root])), 'svid_uri_san_count');
});

t.test('another domain vouches for nobody, with both bundles loaded', async (t) => {
  const [rootA, rootB] = [await mintRoot('a.test'), await mintRoot('b.test')];
  const bundles = new Map([
    ['a.test', bundleOf('a.test', [rootA.certDer])],
    ['b.test', bundleOf('b.test', [rootB.certDer])],
  ]);
  const judge = async (issuer: Authority, uri: string): Promise<string> => {
    const svid = await issuer.issue(uri);
    const chain = parsePeerChain(svid.certDer, [rootA.certDer, rootB.certDer]);
    if (!chain.ok) return chain.error.reason;
    return reasonOf(
      verifyX509Svid(chain.value, bundles, nowMs, { clockSkewMs: 0, checkSignature: createSignatureCheck() }),
    );
  };
  t.equal(await judge(rootA, 'spiffe://a.test/web'), 'ok');
  t.equal(await judge(rootB, 'spiffe://b.test/web'), 'ok');
  t.equal(await judge(rootB, 'spiffe://a.test/admin'), 'chain_untrusted');
  t.equal(await judge(rootA, 'spiffe://c.test/web'), 'trust_domain_unknown');
});

t.test('no signature is verified twice, and memory of them is bounded', async (t) => {
  const root = await mintRoot('a.test');
  const svids = await Promise.all([1, 2, 3].map((i) => root.issue(`spiffe://a.test/w${i}`)));
  const check = createSignatureCheck(2);
  const results = [...svids, ...svids].map((svid) =>
    reasonOf(verify(svid, [root], { checkSignature: check })),
  );
  t.same(results, ['ok', 'ok', 'ok', 'ok', 'ok', 'ok'], 'forgetting changes no answer');
  const parsed = parsePeerChain(svids[0]!.certDer, []);
  if (!parsed.ok) throw new Error(parsed.error.reason);
  const [authority] = bundleOf('a.test', [root.certDer]).authorities;
  let verifications = 0;
  const counted = {
    ...parsed.value.leaf,
    x509: { verify: () => ++verifications > 0 } as unknown as typeof parsed.value.leaf.x509,
  };
  const remembering = createSignatureCheck();
  t.ok(remembering(counted, authority!) && remembering(counted, authority!));
  t.equal(verifications, 1);
});

t.test('the fingerprint of a chain names all that was presented', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const fingerprint = (presented: readonly Uint8Array[], role?: 'server'): string => {
    const chain = parsePeerChain(svid.certDer, presented, role);
    return chain.ok ? chain.value.fingerprint : chain.error.reason;
  };
  t.equal(fingerprint([]), fingerprint([]));
  t.not(fingerprint([]), fingerprint([root.certDer]));
  t.not(fingerprint([]), fingerprint([], 'server'));
});

t.test('too many or too large certificates are refused before they are read', async (t) => {
  const root = await mintRoot('a.test');
  const svid = await root.issue('spiffe://a.test/web');
  const many = (count: number): string =>
    reasonOf(parsePeerChain(svid.certDer, new Array<Buffer>(count).fill(root.certDer)));
  t.equal(many(15), 'ok');
  t.equal(many(16), 'chain_too_long');
  t.equal(reasonOf(parsePeerChain(svid.certDer, [Buffer.alloc(300_000)])), 'chain_too_long');
  t.equal(reasonOf(parsePeerChain(Buffer.alloc(70_000), [])), 'chain_too_long');
  t.equal(reasonOf(parsePeerChain(Buffer.alloc(0), [])), 'svid_malformed');
});
