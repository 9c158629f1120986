import t from 'tap';
import { verifyAssertion } from '../../../src/identity/assertion.js';
import { parseKeySet } from '../../../src/identity/key-set.js';
import { type PrincipalId, parsePrincipalId } from '../../../src/identity/principal-id.js';
import type { AssertionIssuer } from '../../../src/identity/token-issuer.js';
import type { TrustedIssuer } from '../../../src/identity/token-trust.js';
import { AssertionSigner } from '../../support/assertion-signer.js';

const NOW = 1_700_000_000_000;
const ALICE = 'spiffe://a.test/alice';
const BOB = 'spiffe://a.test/bob';
const GATEWAY = 'spiffe://a.test/gateway';
const good = { iss: GATEWAY, aud: 'gateway', sub: ALICE };

const idOf = (text: string): PrincipalId => {
  const id = parsePrincipalId(text);
  if (!id.ok) throw new Error(id.error);
  return id.value;
};

const issuer: AssertionIssuer = {
  kind: 'assertion',
  name: `assertion:${GATEWAY}`,
  audiences: ['gateway'],
  clockSkewMs: 0,
  maxLifetimeMs: 3_600_000,
  requiresBinding: false,
  isOneTime: false,
  issuer: GATEWAY,
  presenter: GATEWAY,
};

const signer = await AssertionSigner.create();
const es256 = await AssertionSigner.create('k2', 'ES256');
const stranger = await AssertionSigner.create();
const keys = parseKeySet(Buffer.from(JSON.stringify({ keys: [signer.jwk, es256.jwk] })));
if (!keys.ok) throw new Error(keys.error);
const trusted: TrustedIssuer = { issuer, keys: keys.value, stale: undefined };

const read = (text: string, { by = trusted, peer = GATEWAY, nowMs = NOW } = {}) =>
  verifyAssertion(text, by, idOf(peer), new Map(), nowMs);
const reasonOf = async (text: string, more: Parameters<typeof read>[1] = {}): Promise<string> => {
  const result = await read(text, more);
  return result.ok ? 'accepted' : result.error.reason;
};
const signed = (claims: Readonly<Record<string, unknown>>, header = {}, by = signer) =>
  by.sign({ ...good, ...claims }, header, NOW);

t.test('an assertion says whom the call was for, and who acted before its presenter', async (t) => {
  const own = await read(await signed({}));
  t.match(own, { ok: true, value: { subject: { uri: ALICE }, actors: [] } }, 'alice called for herself');
  const one = await read(await signed({ act: { sub: BOB } }, {}, es256));
  t.match(one, { ok: true, value: { subject: { uri: ALICE }, actors: [BOB] } }, 'bob called for alice');
  const act = { sub: BOB, act: { sub: 'ci:octo/app', act: { sub: 'spiffe://b.test/first' } } };
  const several = await read(await signed({ act }));
  t.same(
    several.ok && several.value.actors,
    ['spiffe://b.test/first', 'ci:octo/app', BOB],
    'the first first',
  );
});

t.test('`cnf` is that of whoever called before: it binds nothing here, and is told', async (t) => {
  const sha256 = Buffer.alloc(32, 7);
  const bound = await read(await signed({ cnf: { 'x5t#S256': sha256.toString('base64url') } }));
  t.match(bound, { ok: true, value: { shownSha256: sha256.toString('hex'), token: { boundTo: undefined } } });
  t.match(await read(await signed({})), { ok: true, value: { shownSha256: undefined } });
});

t.test('what is not just as a sidecar signs it is refused', async (t) => {
  const cases: readonly (readonly [string, string, Promise<string>])[] = [
    ['another issuer', 'token_issuer_unknown', signed({ iss: 'spiffe://a.test/other' })],
    ['no issuer', 'token_issuer_unknown', signed({ iss: undefined })],
    ['meant for another', 'token_audience', signed({ aud: 'billing' })],
    ['meant for nobody', 'token_audience', signed({ aud: undefined })],
    ['expired at this moment', 'token_expired', signed({ iat: NOW / 1000 - 60, exp: NOW / 1000 })],
    ['without an end', 'token_claims', signed({ exp: undefined })],
    ['longer-lived than any of ours', 'token_lifetime_too_long', signed({ exp: NOW / 1000 + 3601 })],
    ['not yet', 'token_not_yet_valid', signed({ nbf: NOW / 1000 + 1 })],
    ['a subject that is no principal', 'token_subject', signed({ sub: 'alice' })],
    ['no subject', 'token_subject', signed({ sub: undefined })],
    ['`act` as text', 'token_claims', signed({ act: BOB })],
    ['`act` as a list', 'token_claims', signed({ act: [{ sub: BOB }] })],
    ['an actor without a name', 'token_claims', signed({ act: { iss: 'x' } })],
    ['an actor of before without a name', 'token_claims', signed({ act: { sub: BOB, act: {} } })],
    ['an actor that is no principal', 'token_claims', signed({ act: { sub: 'bob' } })],
    ['another kind of token', 'token_type', signed({}, { typ: 'JWT' })],
    ['a kind in another case', 'token_type', signed({}, { typ: 'Identity-Assertion+JWT' })],
    ['no kind', 'token_type', signed({}, { typ: undefined })],
    ['an unknown key', 'token_key_unknown', signed({}, { kid: 'k9' })],
    ['no key named', 'token_key_unknown', signed({}, { kid: undefined })],
    ['another key by the same name', 'token_signature', signed({}, {}, stranger)],
    ['a key of its own', 'token_header', signed({}, { jwk: stranger.jwk }, stranger)],
  ];
  for (const [what, reason, text] of cases) t.equal(await reasonOf(await text), reason, what);
  const text = await signed({});
  t.equal(await reasonOf(`${text.slice(0, -8)}AAAAAAAA`), 'token_signature', 'an altered signature');
  t.equal(await reasonOf(`${text}.`), 'token_malformed', 'more than three parts');
  t.equal(await reasonOf(`${text} `), 'token_malformed', 'white space');
  t.equal(await reasonOf(''), 'token_malformed', 'nothing');
});

t.test('it is good in the hands of the one peer that the configuration names', async (t) => {
  const text = await signed({});
  t.equal(await reasonOf(text), 'accepted');
  t.equal(await reasonOf(text, { peer: BOB }), 'token_issuer_unknown');
  t.equal(await reasonOf(text, { peer: ALICE }), 'token_issuer_unknown', 'not its subject either');
});

t.test('without keys nobody can tell, which is another answer than no', async (t) => {
  const text = await signed({});
  t.equal(await reasonOf(text, { by: { ...trusted, keys: undefined } }), 'token_unverifiable');
  t.equal(await reasonOf(text, { by: { ...trusted, stale: 'not fetched for a day' } }), 'token_unverifiable');
});
