import t from 'tap';
import { createTrustBundle } from '../../../src/identity/create-trust-bundle.js';
import { type KeySet, parseKeySet } from '../../../src/identity/key-set.js';
import { createRevocationList, type RevocationEntry } from '../../../src/identity/revocation.js';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import type { TokenTrust, TrustedIssuer } from '../../../src/identity/token-trust.js';
import { affectedBy, isNarrower } from '../../../src/listener/affected.js';
import type { Credential } from '../../../src/listener/credential.js';
import { hasLostKeys, keyChanges } from '../../../src/listener/lost-keys.js';
import type { Snapshot } from '../../../src/snapshot.js';
import { type IssuerKey, jwksOf, newIssuerKey } from '../../support/key-sets.js';

const [k1, k2] = [newIssuerKey('k1'), newIssuerKey('k2')];

function keySet(...keys: readonly IssuerKey[]): KeySet {
  const parsed = parseKeySet(Buffer.from(jwksOf(...keys)));
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

const issuerOf = (name: string, keys: KeySet | undefined, stale?: string): TrustedIssuer => ({
  issuer: { kind: 'assertion', name } as TrustedIssuer['issuer'],
  keys,
  stale,
});
const svids: TrustedIssuer = {
  issuer: { kind: 'jwt-svid', name: 'svids' } as TrustedIssuer['issuer'],
  keys: undefined,
  stale: undefined,
};

const trust = (...issuers: readonly TrustedIssuer[]): TokenTrust => ({ issuers, delegates: new Map() });

function bundles(...keys: readonly IssuerKey[]): Snapshot['bundles'] {
  const trustDomain = parseTrustDomain('a.test');
  if (!trustDomain.ok) throw new Error(trustDomain.error);
  const jwtKeys = new Map(keys.map(({ kid, jwk }) => [kid, jwk as Record<string, string>]));
  return new Map([['a.test', createTrustBundle({ trustDomain: trustDomain.value, jwtKeys })]]);
}

const none = bundles();
const state = (tokens: TokenTrust, of = none) => ({ tokens, bundles: of });

t.test('a key that is gone, its issuer gone, or its time over: each is a loss, and said', async (t) => {
  const both = state(trust(issuerOf('ci', keySet(k1, k2))));
  t.same(keyChanges(both, both), []);
  t.same(keyChanges(state(trust(issuerOf('ci', keySet(k2, k1)))), both), [], 'in another order');
  t.same(keyChanges(state(trust(issuerOf('ci', keySet(k1)))), both), [
    { name: 'ci', gained: 0, lost: 1, isOutdated: false },
  ]);
  t.same(keyChanges(state(trust()), both), [{ name: 'ci', gained: 0, lost: 2, isOutdated: false }]);
  const stale = state(trust(issuerOf('ci', keySet(k1, k2), 'too old')));
  t.same(keyChanges(stale, both), [{ name: 'ci', gained: 0, lost: 0, isOutdated: true }]);
  for (const after of [state(trust(issuerOf('ci', keySet(k1)))), state(trust()), stale])
    t.equal(hasLostKeys(after, both), true);
  t.equal(hasLostKeys(both, stale), false, 'confirmed again');
  t.equal(hasLostKeys(both, state(trust(issuerOf('ci', keySet(k1))))), false, 'one more');
});

t.test('the same key under another kid, or for another algorithm, verifies other tokens', async (t) => {
  const before = state(trust(issuerOf('ci', keySet(k1))));
  const renamed = { ...k1, jwk: { ...k1.jwk, kid: 'k9' } };
  t.equal(hasLostKeys(state(trust(issuerOf('ci', keySet(renamed)))), before), true);
  const another = { ...k1, jwk: { ...k2.jwk, kid: 'k1' } };
  t.equal(hasLostKeys(state(trust(issuerOf('ci', keySet(another)))), before), true, 'replaced under its kid');
});

t.test('keys of JWT-SVIDs are those of the bundles, where such tokens count', async (t) => {
  const before = state(trust(svids), bundles(k1, k2));
  t.same(keyChanges(state(trust(svids), bundles(k1)), before), [
    { name: 'a.test', gained: 0, lost: 1, isOutdated: false },
  ]);
  t.equal(hasLostKeys({ tokens: trust(svids), bundles: new Map() }, before), true, 'the domain is gone');
  t.equal(
    hasLostKeys(state(trust(), bundles(k1)), state(trust(), bundles(k1, k2))),
    false,
    'nobody used them',
  );
});

t.test(
  'what rests on a token is looked at where keys are gone or something was revoked that it may be',
  async (t) => {
    const list = (...entries: Partial<RevocationEntry>[]) =>
      createRevocationList(
        entries.map((entry) => ({ reason: 'leaked', ...entry })),
        String(entries.length),
      );
    const [config, policy] = [{}, {}];
    const snapshot = (tokens: TokenTrust, revocations = list()): Snapshot =>
      ({
        ...state(tokens),
        config,
        policy,
        revocations,
        revocationPolicies: new Map(),
      }) as unknown as Snapshot;
    const before = snapshot(trust(issuerOf('ci', keySet(k1, k2))));
    t.equal(affectedBy(before, before), undefined);
    const lost = snapshot(trust(issuerOf('ci', keySet(k1))));
    const affected = affectedBy(lost, before);
    t.match(affected, { tokens: true, isOnlyIds: true, ids: [] });
    t.equal(affected?.mayTouch({ svid: undefined } as unknown as Credential, 0), false, 'no certificate is');
    t.equal(isNarrower(lost, before), true);
    const more = snapshot(trust(issuerOf('ci', keySet(k1, k2)), issuerOf('other', keySet(k1))));
    t.equal(affectedBy(more, before), undefined, 'another issuer takes nothing away');
    t.equal(isNarrower(more, before), false);
    for (const [entry, isToken] of [
      [{ id: 'spiffe://a.test/web' }, true],
      [{ idPrefix: 'spiffe://a.test/ns' }, true],
      [{ sha256: 'ab'.repeat(32) }, true],
      [{ keySha256: 'ab'.repeat(32) }, false],
      [{ serial: '0a', issuer: 'CN=x' }, false],
    ] as const)
      t.equal(
        affectedBy(snapshot(before.tokens, list(entry)), before)?.tokens,
        isToken,
        JSON.stringify(entry),
      );
    const edited = { ...before, config: {} } as unknown as Snapshot;
    t.equal(affectedBy(edited, before)?.tokens, true, 'another configuration may say anything');
  },
);
