import t from 'tap';
import { parseKeySet } from '../../../src/identity/key-set.js';
import { createRevocationList } from '../../../src/identity/revocation.js';
import type { VerifiedToken } from '../../../src/identity/token.js';
import type { OidcIssuer } from '../../../src/identity/token-issuer.js';
import type { TokenAuthority } from '../../../src/listener/ports.js';
import { ReplayCache } from '../../../src/listener/replay-cache.js';
import { Slots } from '../../../src/listener/slots.js';
import type { Readings } from '../../../src/listener/token-credential.js';
import { TokenIndex } from '../../../src/listener/token-index.js';
import { VerifiedTokens } from '../../../src/listener/verified-tokens.js';
import type { Snapshot } from '../../../src/snapshot.js';
import { jwtBundle, jwtSvidIssuer, mintSigner, oidcIssuer, type Signer } from '../../support/tokens.js';

const NOW = 1_800_000_000_000;
const CLAIMS = { iss: 'https://idp.example', aud: 'api', sub: 'app', iat: NOW / 1000, exp: NOW / 1000 + 600 };

/** As much of a snapshot as verifying looks at. */
function snapshotOf(signers: readonly Signer[], more: Partial<OidcIssuer> = {}, limit = 100): Snapshot {
  const keys = parseKeySet(Buffer.from(JSON.stringify({ keys: signers.map(({ jwk }) => jwk) })));
  if (!keys.ok) throw new Error(keys.error);
  const issuer = oidcIssuer(more);
  return {
    tokens: { issuers: [{ issuer, keys: keys.value, stale: undefined }], delegates: new Map() },
    bundles: new Map(),
    revocations: createRevocationList([], ''),
    config: { limits: { tokens: limit } },
  } as unknown as Snapshot;
}

const AGENT: TokenAuthority = {
  refreshKeys: async () => false,
  validate: async () => ({ ok: false, error: { kind: 'unsupported', message: '' } }),
};

function indexOf(current: Snapshot, authority: Partial<TokenAuthority> = {}) {
  const snapshots = { current };
  const errors: object[] = [];
  const counted: string[] = [];
  const index = new TokenIndex({
    snapshots,
    authority: { ...AGENT, ...authority },
    clock: { nowMs: () => NOW },
    diagnostics: { info: () => undefined, warn: () => undefined, error: (detail) => errors.push(detail) },
    metrics: { countVerification: (kind, result) => counted.push(`${kind} ${result}`) },
  });
  return { index, snapshots, errors, counted };
}

t.test('a token is verified once however many ask, and is the same object after that', async (t) => {
  const signer = mintSigner();
  const { index, snapshots } = indexOf(snapshotOf([signer]));
  const text = signer.sign(CLAIMS);
  t.equal(index.find(text, snapshots.current, NOW), undefined);
  const [one, other] = [index.verify(text), index.verify(text)];
  t.equal(one, other);
  const result = await one;
  t.ok(result.ok);
  t.equal(index.find(text, snapshots.current, NOW), index.find(text, snapshots.current, NOW));
  t.match(index.memory, { verified: 1, refused: 0 });
});

t.test('what was refused is refused again for a second without being looked at', async (t) => {
  const [signer, other] = [mintSigner('ES256', 'k1'), mintSigner('ES256', 'k1')];
  const { index, snapshots } = indexOf(snapshotOf([signer]));
  const text = other.sign(CLAIMS);
  t.match(await index.verify(text), { ok: false, error: { reason: 'token_signature' } });
  t.match(index.find(text, snapshots.current, NOW + 999), {
    ok: false,
    error: { reason: 'token_signature' },
  });
  t.equal(index.find(text, snapshots.current, NOW + 1000), undefined);
  t.equal(index.find(text, snapshotOf([other]), NOW), undefined, 'nor under other keys');
});

t.test(
  'a verification is counted by whose it is and what came of it, and what is remembered is not',
  async (t) => {
    const signer = mintSigner();
    const { index, counted } = indexOf(snapshotOf([signer]));
    const good = signer.sign(CLAIMS);
    await Promise.all([index.verify(good), index.verify(good)]);
    t.same(counted.splice(0), ['oidc ok'], 'once, though two asked');
    await index.verify(mintSigner().sign(CLAIMS));
    await index.verify(signer.sign({ ...CLAIMS, iss: 'https://else.example' }));
    await index.verify('no token');
    t.same(counted.splice(0), ['oidc refused', 'unknown refused', 'unknown refused']);
    const lost = indexOf(snapshotOf([signer]), { refreshKeys: () => Promise.reject(new Error('broken')) });
    await lost.index.verify(mintSigner('ES256', 'k2').sign(CLAIMS));
    t.same(lost.counted, ['unknown unverifiable']);
  },
);

t.test('an unknown key is asked for once, and the token is verified by the keys that came', async (t) => {
  const [old, young] = [mintSigner('ES256', 'k1'), mintSigner('ES256', 'k2')];
  const asked: string[] = [];
  const { index, snapshots } = indexOf(snapshotOf([old]), {
    refreshKeys: async (issuer) => {
      asked.push(issuer);
      snapshots.current = snapshotOf([old, young]);
      return true;
    },
  });
  t.match(await index.verify(young.sign(CLAIMS)), { ok: true });
  t.same(asked, ['ci']);
  t.match(await index.verify(mintSigner('ES256', 'k3').sign(CLAIMS)), {
    ok: false,
    error: { reason: 'token_key_unknown' },
  });
});

t.test('no more than a hundred tokens wait for newer keys', async (t) => {
  const { index } = indexOf(snapshotOf([mintSigner()]), { refreshKeys: () => new Promise(() => undefined) });
  const unknown = mintSigner('ES256', 'k9');
  const waiting = Array.from({ length: 100 }, (_, i) =>
    index.verify(unknown.sign({ ...CLAIMS, jti: `${i}` })),
  );
  const [first] = waiting;
  const excess = await index.verify(unknown.sign({ ...CLAIMS, jti: 'excess' }));
  t.match(excess, { ok: false, error: { reason: 'token_unverifiable' } });
  t.equal(await Promise.race([first, 'waits']), 'waits');
});

t.test('a key that has gone, or rules that are others, make it verify again', async (t) => {
  const [signer, other] = [mintSigner('ES256', 'k1'), mintSigner('ES256', 'k2')];
  const { index, snapshots } = indexOf(snapshotOf([signer, other]));
  const text = signer.sign(CLAIMS);
  const kept = snapshots.current.tokens.issuers[0]!.issuer as OidcIssuer;
  for (const [now, isKnown] of [
    [snapshotOf([signer], kept), false],
    [snapshotOf([other]), false],
    [snapshotOf([signer], { audiences: ['else'] }), false],
  ] as const) {
    await index.verify(text);
    t.equal(index.find(text, now, NOW) !== undefined, isKnown);
  }
  await index.verify(text);
  const same = { ...snapshots.current, revocations: createRevocationList([], 'x') };
  t.match(index.find(text, same, NOW), { ok: true }, 'a change of something else does not');
});

t.test('an open request is judged by the rules as they are now', async (t) => {
  const signer = mintSigner();
  const { index } = indexOf(snapshotOf([signer]));
  const result = await index.verify(signer.sign(CLAIMS));
  if (!result.ok) throw new Error(result.error.detail);
  const [credential] = result.value;
  t.equal(credential?.judge(snapshotOf([signer], { audiences: ['api', 'more'] }), NOW), undefined);
  t.match(credential?.judge(snapshotOf([signer], { audiences: ['more'] }), NOW), {
    reason: 'token_audience',
  });
  t.match(credential?.judge(snapshotOf([signer], { requiresBinding: true }), NOW), {
    reason: 'token_binding',
  });
  t.match(credential?.judge(snapshotOf([mintSigner('ES256', 'k2')]), NOW), { reason: 'token_key_unknown' });
  t.match(credential?.judge(snapshotOf([signer]), NOW + 600_000), { reason: 'token_expired' });
});

t.test('the agent can only take away, and one that cannot be asked takes all', async (t) => {
  const signer = mintSigner('ES256', 's1');
  const claims = { ...CLAIMS, iss: undefined, sub: 'spiffe://a.test/web' };
  const issuer = jwtSvidIssuer({ asksAgent: true });
  const base = {
    ...snapshotOf([signer]),
    tokens: { issuers: [{ issuer, keys: undefined, stale: undefined }], delegates: new Map() },
    bundles: new Map([['a.test', jwtBundle('a.test', signer)]]),
  } as unknown as Snapshot;
  const says = (answer: Awaited<ReturnType<TokenAuthority['validate']>>) =>
    indexOf(base, { validate: async () => answer }).index.verify(signer.sign(claims));
  const id = (uri: string) =>
    ({ ok: true, value: { uri } }) as Awaited<ReturnType<TokenAuthority['validate']>>;
  const no = (kind: 'rejected' | 'unsupported' | 'unavailable') =>
    ({ ok: false, error: { kind, message: 'x' } }) as const;
  t.match(await says(id('spiffe://a.test/web')), { ok: true });
  t.match(await says(id('spiffe://a.test/other')), { ok: false, error: { reason: 'token_subject' } });
  t.match(await says(no('rejected')), { ok: false, error: { reason: 'token_signature' } });
  t.match(await says(no('unavailable')), { ok: false, error: { reason: 'token_unverifiable' } });
  t.match(await says(no('unsupported')), { ok: true });
});

t.test('what breaks while verifying is a no, and is logged', async (t) => {
  const signer = mintSigner();
  const { index, errors } = indexOf(snapshotOf([signer]), {
    refreshKeys: () => Promise.reject(new Error('broken')),
  });
  const result = await index.verify(mintSigner('ES256', 'k2').sign(CLAIMS));
  t.match(result, { ok: false, error: { reason: 'token_unverifiable' } });
  t.equal(errors.length, 1);
});

const reading = (notAfterMs: number): Readings => [{ token: { notAfterMs } }] as unknown as Readings;
const kept = (notAfterMs: number) => ({
  result: { ok: true, value: reading(notAfterMs) } as const,
  snapshot: {} as Snapshot,
});

t.test('five thousand tokens are no more than fit, the expired go first, and what is used stays', (t) => {
  const tokens = new VerifiedTokens();
  for (let i = 0; i < 5000; i++) {
    tokens.set(`t${i}`, kept(i === 7 ? NOW - 1 : NOW + 1000), 100, NOW);
    tokens.get('t3');
    if (i === 100) t.equal(tokens.get('t7'), undefined, 'it had expired');
    if (i === 100) t.ok(tokens.get('t0'), 'which made room enough');
  }
  t.equal(tokens.size, 100);
  t.ok(tokens.get('t3'));
  t.ok(tokens.get('t4999'));
  t.equal(tokens.get('t100'), undefined);
  tokens.set('x'.repeat(16_384), kept(NOW + 1000), 100, NOW);
  t.equal(tokens.size, 97, 'a long one takes the place of four');
  t.end();
});

const oneTime = (jti: string | undefined, notAfterMs = NOW + 1000): VerifiedToken =>
  ({ iss: 'i', jti, notAfterMs, issuer: oidcIssuer() }) as unknown as VerifiedToken;

t.test(
  'a one-time token is remembered for longer than it lives, and what cannot be remembered is refused',
  (t) => {
    const used = new ReplayCache();
    t.equal(used.use(oneTime('a'), 2, NOW), undefined);
    t.match(used.use(oneTime('a'), 2, NOW), { reason: 'token_replayed' });
    t.match(used.use(oneTime('a'), 2, NOW + 60_000), { reason: 'token_replayed' });
    t.match(used.use(oneTime(undefined), 2, NOW), { reason: 'token_replayed' });
    t.equal(
      used.use({ ...oneTime('a'), iss: 'other' }, 2, NOW),
      undefined,
      'of another issuer it is another',
    );
    t.match(used.use(oneTime('c'), 2, NOW), { reason: 'token_unverifiable' });
    t.equal(
      used.use(oneTime('c', NOW + 200_000), 2, NOW + 61_000),
      undefined,
      'when others are over there is room',
    );
    t.equal(used.size, 1);
    t.end();
  },
);

t.test('slots: so many at once, the rest in turn, and no more wait than may', async (t) => {
  const slots = new Slots(1, 1);
  const done: string[] = [];
  let finish: () => void = () => undefined;
  const one = slots.run(() => new Promise<void>((resolve) => (finish = resolve)));
  const two = slots.run(async () => void done.push('two'));
  t.equal(
    slots.run(async () => void done.push('three')),
    undefined,
  );
  t.same(done, []);
  finish();
  await Promise.all([one, two]);
  t.same(done, ['two']);
  const broken = slots.run(() => Promise.reject(new Error('x')));
  await t.rejects(broken!, { message: 'x' });
  await slots.run(async () => void done.push('four'));
  t.same(done, ['two', 'four'], 'one that fails gives its place back');
});

t.test(
  'a token that was given up is not found by what remembers the last ones, nor is one that ends alike',
  (t) => {
    const kept = (notAfterMs: number) =>
      ({
        result: { ok: true, value: [{ token: { notAfterMs } }] as unknown as Readings },
        snapshot: {} as Snapshot,
      }) as const;
    const tokens = new VerifiedTokens();
    tokens.set('one.same', kept(NOW + 1), 10, NOW);
    tokens.set('two.same', kept(NOW + 2), 10, NOW);
    const [one, two] = [tokens.get('one.same'), tokens.get('two.same')];
    t.equal(one?.result.value[0]?.token.notAfterMs, NOW + 1);
    t.equal(two?.result.value[0]?.token.notAfterMs, NOW + 2);
    t.equal(tokens.get('two.same'), two);
    t.equal(tokens.get('six.same'), undefined);
    tokens.delete('one.same');
    t.equal(tokens.get('two.same'), two);
    tokens.delete('two.same');
    t.equal(tokens.get('two.same'), undefined);
    tokens.set('one.same', kept(NOW + 3), 10, NOW);
    t.not(tokens.get('one.same'), one);
    t.equal(tokens.get('one.same')?.result.value[0]?.token.notAfterMs, NOW + 3);
    t.end();
  },
);
