import t from 'tap';
import { createRevocationList, type RevocationEntry } from '../../../src/identity/revocation.js';
import {
  findIssuers,
  judgeBinding,
  judgeToken,
  parseToken,
  reviseToken,
  type TokenContext,
  type VerifiedToken,
  verifyToken,
} from '../../../src/identity/token.js';
import type { AssertionIssuer, TokenIssuer } from '../../../src/identity/token-issuer.js';
import type { TokenTrust, TrustedIssuer } from '../../../src/identity/token-trust.js';
import type { TrustBundle } from '../../../src/identity/trust-bundle.js';
import {
  encode,
  jwtBundle,
  jwtSvidIssuer,
  keySetOfSigners,
  mintSigner,
  oidcIssuer,
  parsed,
  signature,
  templateOf,
} from '../../support/tokens.js';

const NOW_MS = 1_700_000_000_000;
const NOW = NOW_MS / 1000;
const ISS = 'https://idp.example';
const signer = mintSigner();
const keys = keySetOfSigners(signer);
const good = { iss: ISS, sub: 'octo/app', aud: 'api', iat: NOW - 5, exp: NOW + 60 };

const trustedBy = (issuer: TokenIssuer, more: Partial<TrustedIssuer> = {}): TrustedIssuer => ({
  issuer,
  keys,
  stale: undefined,
  ...more,
});

type Bundles = ReadonlyMap<string, TrustBundle>;

/** The reason of the refusal, or the principal. */
async function verdict(
  text: string,
  trusted = trustedBy(oidcIssuer()),
  { nowMs = NOW_MS, bundles = new Map() as Bundles } = {},
): Promise<string> {
  const token = parseToken(text);
  if (!token.ok) return token.error.reason;
  const result = await verifyToken(token.value, trusted, bundles, nowMs);
  return result.ok ? result.value.principal.uri : result.error.reason;
}

async function verifiedToken(
  claims: object = good,
  trusted = trustedBy(oidcIssuer()),
): Promise<VerifiedToken> {
  const result = await verifyToken(parsed(signer.sign(claims)), trusted, new Map(), NOW_MS);
  if (!result.ok) throw new Error(`${result.error.reason}: ${result.error.detail}`);
  return result.value;
}

t.test(
  'a good token names a principal in the namespace of its issuer, and its text is not kept',
  async (t) => {
    const text = signer.sign({ ...good, jti: 'j1' });
    const token = await verifiedToken({ ...good, jti: 'j1' });
    t.match(token, {
      entry: 'ci',
      kind: 'oidc',
      iss: ISS,
      principal: { uri: 'ci:octo%2Fapp' },
      actor: undefined,
      through: [],
      jti: 'j1',
      boundTo: undefined,
      notBeforeMs: NOW_MS - 5000,
      issuedMs: NOW_MS - 5000,
      notAfterMs: NOW_MS + 60_000,
      key: { kid: 'k1' },
    });
    t.notMatch(JSON.stringify(token), text.split('.')[2], 'the signature is nowhere in it');
  },
);

t.test('what is not a compact JWS in one spelling is malformed', async (t) => {
  const text = signer.sign(good);
  const [h = '', p = '', s = ''] = text.split('.');
  const malformed = {
    'a space': ` ${text}`,
    'a line end': `${text}\n`,
    padding: `${h}.${p}=.${s}`,
    'the alphabet of base64': `${h}.${encode('{"a":">>>???"}').replace('-', '+').replace('_', '/')}+.${s}`,
    'stray bits': `${h}.${p}.${s.slice(0, -1)}${s.endsWith('Q') ? 'R' : String.fromCharCode(s.charCodeAt(85) + 1)}`,
    'no header': `.${p}.${s}`,
    'no payload': `${h}..${s}`,
    'four parts': `${text}.${s}`,
    'a header that is a list': `${encode('[]')}.${p}.${s}`,
    'a payload that is text': `${h}.${encode('"x"')}.${s}`,
    'a payload that is no UTF-8': `${h}.${encode(Buffer.of(0x7b, 0xff, 0x7d))}.${s}`,
    'a byte order mark': `${h}.${encode('\ufeff{}')}.${s}`,
    'a member twice': `${h}.${encode('{"sub":"a","sub":"b"}')}.${s}`,
    'a member twice in its header': `${encode('{"alg":"ES256","alg":"ES256"}')}.${p}.${s}`,
    'a member twice, once escaped': `${h}.${encode('{"sub":"a","\\u0073ub":"b"}')}.${s}`,
    'a member twice, deep inside': `${h}.${encode('{"act":{"sub":"a","sub":"b"}}')}.${s}`,
    'nesting without end': `${h}.${encode(`${'{"act":'.repeat(40)}1${'}'.repeat(40)}`)}.${s}`,
    'more than 16 KiB': `${h}.${encode('x'.repeat(20_000))}.${s}`,
  };
  for (const [name, bad] of Object.entries(malformed)) t.equal(await verdict(bad), 'token_malformed', name);
});

t.test('a header may not say how the token is to be verified', async (t) => {
  for (const name of ['jwk', 'jku', 'x5u', 'x5c', 'crit', 'b64', 'zip', 'enc', 'epk', 'cty'])
    t.equal(await verdict(signer.sign(good, { [name]: 'x' })), 'token_header', name);
  t.equal(await verdict(signer.sign(good, { kid: 7 })), 'token_header', 'kid is text');
  t.equal(
    await verdict(signer.sign(good, { x5t: 'AAAA', 'pi.atm': 'a' })),
    'ci:octo%2Fapp',
    'hints are ignored',
  );
});

t.test('only algorithms of the list that the entry has, and the key is one for it', async (t) => {
  for (const alg of [
    'none',
    'None',
    'HS256',
    'HS512',
    'ES256K',
    'Ed25519',
    'RSA-OAEP',
    '',
    null,
    256,
    ['ES256'],
  ])
    t.equal(await verdict(signer.sign(good, { alg })), 'token_algorithm', String(alg));
  t.equal(await verdict(signer.sign(good, { alg: undefined })), 'token_algorithm', 'none at all');
  const rsa = mintSigner('RS256', 'r1');
  const both = trustedBy(oidcIssuer({ algorithms: ['ES256'] }), { keys: keySetOfSigners(signer, rsa) });
  t.equal(await verdict(rsa.sign(good), both), 'token_algorithm', 'not of this entry');
  const open = trustedBy(oidcIssuer({ algorithms: ['RS256', 'ES256', 'ES384'] }), { keys: both.keys });
  t.equal(await verdict(rsa.sign(good), open), 'ci:octo%2Fapp');
  t.equal(await verdict(signer.sign(good, { alg: 'ES384' }), open), 'token_signature', 'another curve');
  t.equal(await verdict(signer.sign(good, { kid: 'r1' }), open), 'token_signature', 'another kind of key');
});

t.test('a key that its publisher keeps for one algorithm verifies no other', async (t) => {
  const rsa = mintSigner('RS256', 'r1');
  const issuer = oidcIssuer({ algorithms: ['RS256', 'PS256'] });
  const trusted = trustedBy(issuer, { keys: keySetOfSigners(rsa) });
  t.equal(await verdict(rsa.sign(good), trusted), 'ci:octo%2Fapp');
  const head = `${encode(JSON.stringify({ alg: 'PS256', kid: 'r1' }))}.${encode(JSON.stringify(good))}`;
  const pss = `${head}.${encode(signature(head, rsa.privateKey, 'PS256'))}`;
  t.equal(await verdict(pss, trusted), 'token_signature', 'a sound PS256 signature by an RS256 key');
  const { alg: _, ...jwk } = rsa.jwk;
  const free = trustedBy(issuer, { keys: keySetOfSigners({ ...rsa, jwk }) });
  t.equal(await verdict(pss, free), 'ci:octo%2Fapp', 'a key for no algorithm in particular verifies both');
});

t.test('the type is one of the entry, compared as a media type', async (t) => {
  const only = (...types: string[]): TrustedIssuer => trustedBy(oidcIssuer({ types }));
  t.equal(await verdict(signer.sign(good, { typ: 'application/AT+JWT' }), only('at+jwt')), 'ci:octo%2Fapp');
  t.equal(await verdict(signer.sign(good, { typ: 'JWT' }), only('at+jwt')), 'token_type');
  t.equal(await verdict(signer.sign(good, { typ: undefined }), only('at+jwt')), 'token_type', 'left out');
  t.equal(await verdict(signer.sign(good, { typ: undefined }), only('JWT', 'none')), 'ci:octo%2Fapp');
  t.equal(
    await verdict(signer.sign(good, { typ: 'none' }), only('JWT', 'none')),
    'token_type',
    'said, not left out',
  );
  t.equal(await verdict(signer.sign(good, { typ: 'identity-assertion+jwt' })), 'token_type');
  t.equal(await verdict(signer.sign(good, { typ: 7 })), 'token_type');
});

t.test('audience and issuer are whole values, byte for byte', async (t) => {
  for (const aud of ['API', 'api ', 'ap', 'api2', '', null, 7, {}, [], [7, 'api'], [['api']], undefined])
    t.equal(await verdict(signer.sign({ ...good, aud })), 'token_audience', JSON.stringify(aud));
  t.equal(await verdict(signer.sign({ ...good, aud: ['x', 'api'] })), 'ci:octo%2Fapp');
  const nobody = trustedBy(oidcIssuer({ audiences: [] }));
  t.equal(await verdict(signer.sign(good), nobody), 'token_audience', 'nothing is meant for nobody');
  for (const iss of [`${ISS}/`, 'https://IDP.example', '', undefined])
    t.equal(await verdict(signer.sign({ ...good, iss })), 'token_issuer_unknown', String(iss));
  t.equal(await verdict(signer.sign({ ...good, iss: [ISS] })), 'token_claims');
});

t.test('dates are numbers: exp must be there and be ahead, nbf must not', async (t) => {
  const at = (claims: object, more: object = {}) =>
    verdict(signer.sign({ ...good, ...claims }), trustedBy(oidcIssuer(more)));
  t.equal(await at({ exp: undefined }), 'token_claims');
  for (const exp of ['9999999999', null, -1, true, [NOW + 60]])
    t.equal(await at({ exp }), 'token_claims', String(exp));
  t.equal(
    await verdict(signer.sign('{"iss":"https://idp.example","sub":"a","aud":"api","exp":1e400}')),
    'token_claims',
  );
  t.equal(await at({ exp: NOW }), 'token_expired', 'exp itself is too late');
  t.equal(await at({ exp: NOW + 0.5 }), 'ci:octo%2Fapp', 'with a fraction');
  t.equal(await at({ exp: NOW - 9 }, { clockSkewMs: 10_000 }), 'ci:octo%2Fapp', 'within the skew');
  t.equal(await at({ exp: NOW - 10 }, { clockSkewMs: 10_000 }), 'token_expired', 'at the end of the skew');
  t.equal(await at({ nbf: NOW }), 'ci:octo%2Fapp', 'nbf itself is not too early');
  t.equal(await at({ nbf: NOW + 1 }), 'token_not_yet_valid');
  t.equal(await at({ nbf: NOW + 10 }, { clockSkewMs: 10_000 }), 'ci:octo%2Fapp');
  t.equal(await at({ nbf: 'tomorrow' }), 'token_claims');
  t.equal(await at({ iat: 'today' }), 'token_claims');
  t.equal(await at({ iat: NOW + 30 }), 'ci:octo%2Fapp', 'clocks differ');
  t.equal(await at({ iat: NOW + 61 }), 'token_not_yet_valid', 'but not so much');
});

t.test('a token lives no longer than its entry allows, from iat, else from nbf, else from now', async (t) => {
  const hour = { maxLifetimeMs: 3_600_000 };
  const at = (claims: object) => verdict(signer.sign({ ...good, ...claims }), trustedBy(oidcIssuer(hour)));
  t.equal(await at({ iat: NOW, exp: NOW + 3600 }), 'ci:octo%2Fapp');
  t.equal(await at({ iat: NOW - 1, exp: NOW + 3600 }), 'token_lifetime_too_long');
  t.equal(await at({ iat: undefined, nbf: NOW - 1, exp: NOW + 3600 }), 'token_lifetime_too_long');
  t.equal(await at({ iat: undefined, exp: NOW + 3601 }), 'token_lifetime_too_long');
  t.equal(await at({ iat: undefined, exp: NOW + 3600 }), 'ci:octo%2Fapp');
});

t.test('a claim that must be there is there as text, with one of the values', async (t) => {
  const issuer = oidcIssuer({
    required: [
      { claim: 'ref', values: ['main', 'release'] },
      { claim: '/deep/flag', values: ['true'] },
      { claim: 'id', pattern: '[0-9]+' },
    ],
  });
  const whole = { ref: 'main', deep: { flag: true }, id: 42 };
  const at = (claims: object) => verdict(signer.sign({ ...good, ...claims }), trustedBy(issuer));
  t.equal(await at(whole), 'ci:octo%2Fapp');
  for (const lacking of [
    { ...whole, ref: undefined },
    { ...whole, ref: 'Main' },
    { ...whole, ref: ['main'] },
    { ...whole, ref: '' },
    { ...whole, deep: {} },
    { ...whole, deep: 'flag' },
    { ...whole, id: '42\n' },
    { ...whole, id: 'x42' },
  ])
    t.equal(await at(lacking), 'token_claims', JSON.stringify(lacking));
});

t.test('no name that every object inherits is a claim', async (t) => {
  for (const name of ['constructor', 'toString', '__proto__', 'hasOwnProperty'])
    t.equal(
      await verdict(signer.sign(good), trustedBy(oidcIssuer({ required: [{ claim: name }] }))),
      'token_claims',
      name,
    );
  const own = `{"iss":"${ISS}","sub":"a","aud":"api","exp":${NOW + 60},"__proto__":{"aud":"api","role":"admin"}}`;
  t.equal(
    await verdict(signer.sign(own), trustedBy(oidcIssuer({ required: [{ claim: 'role' }] }))),
    'token_claims',
    'what a __proto__ holds is not inherited',
  );
});

t.test('two numbers are never one name, however large they are', async (t) => {
  const issuer = trustedBy(oidcIssuer({ principal: templateOf('ci:{user_id}') }));
  const token = (id: string) =>
    verdict(signer.sign(`{"iss":"${ISS}","aud":"api","exp":${NOW + 60},"user_id":${id}}`), issuer);
  t.equal(await token('9007199254740993'), 'ci:9007199254740993');
  t.equal(await token('9007199254740992'), 'ci:9007199254740992');
  t.equal(await token('1.5'), 'token_subject', 'no name at all');
});

t.test('what is no Unicode text is no name: halves of surrogate pairs would all be one', async (t) => {
  for (const sub of ['\ud800', 'a\udc00b']) {
    t.equal(await verdict(signer.sign({ ...good, sub })), 'token_subject', JSON.stringify(sub));
    t.equal(await verdict(signer.sign({ ...good, act: { sub } })), 'token_claims', JSON.stringify(sub));
  }
  t.equal(await verdict(signer.sign({ ...good, sub: '\ud83d\ude00' })), 'ci:%F0%9F%98%80');
});

t.test('the subject can be named, or the token is refused; never as a SPIFFE ID', async (t) => {
  t.equal(
    await verdict(signer.sign({ ...good, sub: 'spiffe://a.test/admin' })),
    'ci:spiffe:%2F%2Fa.test%2Fadmin',
  );
  for (const sub of ['', '.', '..', 7, null, { sub: 'a' }, undefined])
    t.equal(await verdict(signer.sign({ ...good, sub })), 'token_subject', JSON.stringify(sub));
  const path = trustedBy(oidcIssuer({ principal: templateOf('ci:{+sub}') }));
  t.equal(await verdict(signer.sign(good), path), 'ci:octo/app');
  for (const sub of ['octo//app', '/octo', 'octo/', 'octo/../root', 'a/./b'])
    t.equal(await verdict(signer.sign({ ...good, sub }), path), 'token_subject', sub);
});

t.test('a token without kid is good only where the issuer has one key', async (t) => {
  const second = mintSigner('ES256', 'k2');
  const bare = signer.sign(good, { kid: undefined });
  t.equal(await verdict(bare), 'ci:octo%2Fapp');
  const two = trustedBy(oidcIssuer(), { keys: keySetOfSigners(signer, second) });
  t.equal(await verdict(bare, two), 'token_key_unknown');
  t.equal(await verdict(signer.sign(good, { kid: 'k3' })), 'token_key_unknown');
  t.equal(await verdict(second.sign(good, { kid: 'k1' })), 'token_signature', 'by another key than it names');
});

t.test('without keys that count nothing is verified, and that is no fault of the token', async (t) => {
  const none = trustedBy(oidcIssuer(), { keys: undefined });
  t.equal(await verdict(signer.sign(good), none), 'token_unverifiable');
  t.equal(
    await verdict(signer.sign(good), trustedBy(oidcIssuer(), { stale: 'too old' })),
    'token_unverifiable',
  );
});

t.test('one changed byte anywhere is another signature', async (t) => {
  const text = signer.sign(good);
  const [h = '', , s = ''] = text.split('.');
  const forged = encode(JSON.stringify({ ...good, sub: 'octo/admin' }));
  t.equal(await verdict(`${h}.${forged}.${s}`), 'token_signature');
  t.equal(await verdict(`${text.slice(0, h.length)}.${text.split('.')[1]}.`), 'token_signature', 'stripped');
});

t.test('a one-time token has a jti, and a jti is text', async (t) => {
  const once = trustedBy(oidcIssuer({ isOneTime: true }));
  t.equal(await verdict(signer.sign(good), once), 'token_claims');
  t.equal(await verdict(signer.sign({ ...good, jti: 'a' }), once), 'ci:octo%2Fapp');
  for (const jti of ['', 7, null, 'x'.repeat(513)])
    t.equal(
      await verdict(signer.sign({ ...good, jti }), trustedBy(oidcIssuer())),
      'token_claims',
      String(jti),
    );
});

t.test('actors are named in the namespace too, the last first, and each has a sub', async (t) => {
  const act = { sub: 'c', act: { sub: 'b', act: { sub: 'a', exp: 1 } } };
  const token = await verifiedToken({ ...good, act, may_act: { sub: 'z' } });
  t.equal(token.actor?.uri, 'ci:c');
  t.equal(token.actorSub, 'c');
  t.same(token.through, ['ci:a', 'ci:b'], 'the first acted for the subject');
  const spiffe = await verifiedToken({ ...good, act: { sub: 'spiffe://a.test/gw' } });
  t.equal(spiffe.actor?.uri, 'ci:spiffe:%2F%2Fa.test%2Fgw', 'no SPIFFE ID by the word of an OIDC issuer');
  t.equal(spiffe.actorSub, 'spiffe://a.test/gw', 'byte for byte, to be compared with the peer');
  for (const bad of [
    'c',
    null,
    [],
    {},
    { sub: '' },
    { sub: 7 },
    { sub: 'c', act: 'b' },
    { sub: 'c', act: {} },
  ])
    t.equal(await verdict(signer.sign({ ...good, act: bad })), 'token_claims', JSON.stringify(bad));
});

t.test('a JWT-SVID is of the trust domain of its subject, and of no other', async (t) => {
  const [a, b] = [mintSigner(), mintSigner()];
  const bundles = new Map([
    ['a.test', jwtBundle('a.test', a)],
    ['b.test', jwtBundle('b.test', b)],
  ]);
  const svid = { sub: 'spiffe://a.test/web', aud: 'api', exp: NOW + 60 };
  const at = (text: string, more: object = {}) =>
    verdict(text, trustedBy(jwtSvidIssuer(more), { keys: undefined }), { bundles });
  t.equal(await at(a.sign(svid)), 'spiffe://a.test/web');
  t.equal(await at(b.sign(svid)), 'token_signature', 'the same kid in another domain');
  t.equal(await at(a.sign({ ...svid, sub: 'spiffe://c.test/web' })), 'token_issuer_unknown');
  t.equal(await at(a.sign({ ...svid, sub: 'spiffe://a.test' })), 'token_subject', 'names no workload');
  t.equal(await at(a.sign(svid), { trustDomains: ['b.test'] }), 'token_issuer_unknown');
  t.equal(await at(a.sign(svid, { kid: undefined })), 'token_key_unknown', 'a kid is needed');
  t.equal(await at(a.sign(svid, { 'pi.atm': 1 })), 'token_header', 'no parameter that is not described');
  t.equal(await at(a.sign({ ...svid, act: { sub: 'x' } })), 'token_claims', 'nobody acts by a JWT-SVID');
  t.equal(
    await at(a.sign({ ...svid, iss: 'https://other.example' })),
    'spiffe://a.test/web',
    'iss means nothing',
  );
});

t.test(
  'an assertion is of the sidecar that signs, of its own type, and names principals as they are',
  async (t) => {
    const ed = mintSigner('EdDSA', 'e1');
    const issuer: AssertionIssuer = {
      kind: 'assertion',
      name: 'assertion:spiffe://a.test/gw',
      audiences: ['api'],
      clockSkewMs: 0,
      maxLifetimeMs: 3_600_000,
      requiresBinding: false,
      isOneTime: false,
      issuer: 'spiffe://a.test/gw-sidecar',
      presenter: 'spiffe://a.test/gw',
    };
    const trusted = trustedBy(issuer, { keys: keySetOfSigners(ed) });
    const said = {
      iss: issuer.issuer,
      sub: 'spiffe://a.test/web',
      act: { sub: 'ci:octo/app', act: { sub: 'spiffe://a.test/b' } },
      aud: 'api',
      exp: NOW + 30,
      cnf: { 'x5t#S256': Buffer.alloc(32, 7).toString('base64url') },
    };
    const typ = { typ: 'identity-assertion+jwt' };
    const result = await verifyToken(parsed(ed.sign(said, typ)), trusted, new Map(), NOW_MS);
    if (!result.ok) throw new Error(result.error.detail);
    t.equal(result.value.principal.uri, 'spiffe://a.test/web');
    t.equal(result.value.actor?.uri, 'ci:octo/app');
    t.same(result.value.through, ['spiffe://a.test/b']);
    t.equal(
      judgeBinding(result.value, undefined),
      undefined,
      'bound to who called that sidecar, not to who shows it',
    );
    t.equal(await verdict(ed.sign(said), trusted), 'token_type');
    t.equal(await verdict(ed.sign({ ...said, iss: issuer.presenter }, typ), trusted), 'token_issuer_unknown');
    t.equal(await verdict(ed.sign({ ...said, sub: 'alice' }, typ), trusted), 'token_subject');
    t.equal(await verdict(ed.sign({ ...said, act: { sub: 'bob' } }, typ), trusted), 'token_claims');
    t.equal(await verdict(ed.sign({ ...said, cnf: { jkt: 'x' } }, typ), trusted), 'token_binding');
  },
);

t.test('whose token it says it is: by iss, else a JWT-SVID, and never both', async (t) => {
  const entries = [
    trustedBy(oidcIssuer()),
    trustedBy(jwtSvidIssuer()),
    trustedBy(oidcIssuer({ name: 'ci-2', audiences: ['other'] })),
  ];
  const trust: TokenTrust = { issuers: entries, delegates: new Map() };
  const found = (claims: object) =>
    findIssuers(parsed(signer.sign(claims)), trust).map(({ issuer }) => issuer.name);
  t.same(found(good), ['ci', 'ci-2']);
  t.same(
    found({ ...good, sub: 'spiffe://a.test/web' }),
    ['ci', 'ci-2'],
    'an OpenID provider names no SPIFFE ID',
  );
  t.same(found({ sub: 'spiffe://a.test/web' }), ['svids']);
  t.same(found({ sub: 'spiffe://a.test/web', iss: 'https://spire.example' }), ['svids']);
  t.same(found({ sub: 'alice', iss: 'https://other.example' }), []);
  t.same(found({ sub: ['spiffe://a.test/web'] }), []);
});

// ---- what changes later

const contextOf = (
  trusted: readonly TrustedIssuer[],
  { nowMs = NOW_MS, revoked = [] as readonly RevocationEntry[], bundles = new Map() as Bundles } = {},
): TokenContext => ({
  tokens: { issuers: trusted, delegates: new Map() },
  bundles,
  revocations: createRevocationList(revoked, 'r'),
  nowMs,
});

const judged = (token: VerifiedToken, context: TokenContext): string | undefined => {
  const answer = judgeToken(token, context);
  return typeof answer === 'object' ? answer.reason : answer;
};

t.test('a verified token is good until its date, and not before it', async (t) => {
  const entry = trustedBy(oidcIssuer({ clockSkewMs: 2000 }));
  const token = await verifiedToken({ ...good, nbf: NOW - 5 }, entry);
  t.equal(judged(token, contextOf([entry])), undefined);
  t.equal(judged(token, contextOf([entry], { nowMs: NOW_MS + 61_999 })), undefined);
  t.equal(judged(token, contextOf([entry], { nowMs: NOW_MS + 62_000 })), 'token_expired');
  t.equal(
    judged(token, contextOf([entry], { nowMs: NOW_MS - 7001 })),
    'token_not_yet_valid',
    'a clock set back',
  );
});

t.test('a token issued a little ahead of our clock is good at once and stays so', async (t) => {
  const entry = trustedBy(oidcIssuer());
  const token = await verifiedToken({ ...good, iat: NOW + 30 }, entry);
  t.equal(judged(token, contextOf([entry])), undefined);
});

t.test('the entry, its keys and their freshness count as they are now', async (t) => {
  const entry = trustedBy(oidcIssuer());
  const token = await verifiedToken();
  const { alg: _, ...jwk } = signer.jwk;
  const renamed = keySetOfSigners({ ...signer, jwk: { ...jwk, kid: 'other' } });
  const forOther = keySetOfSigners(mintSigner('ES256', 'k1'));
  t.equal(judged(token, contextOf([])), 'token_issuer_unknown');
  t.equal(
    judged(token, contextOf([{ ...entry, keys: forOther }])),
    'token_key_unknown',
    'another key by its kid',
  );
  t.equal(judged(token, contextOf([{ ...entry, keys: renamed }])), undefined, 'the same key by another name');
  t.equal(judged(token, contextOf([{ ...entry, keys: { keys: [], revision: '' } }])), 'token_key_unknown');
  t.equal(judged(token, contextOf([{ ...entry, keys: undefined }])), 'token_unverifiable');
  t.equal(judged(token, contextOf([{ ...entry, stale: 'too old' }])), 'token_unverifiable');
  t.equal(
    judged(token, contextOf([{ ...entry, issuer: oidcIssuer() }])),
    undefined,
    'the same rules, read anew',
  );
});

t.test('a JWT-SVID ends with its key in the bundle, or with its domain', async (t) => {
  const entry = trustedBy(jwtSvidIssuer(), { keys: undefined });
  const bundles = new Map([['a.test', jwtBundle('a.test', signer)]]);
  const svid = { sub: 'spiffe://a.test/web', aud: 'api', exp: NOW + 60 };
  const result = await verifyToken(parsed(signer.sign(svid)), entry, bundles, NOW_MS);
  if (!result.ok) throw new Error(result.error.reason);
  t.equal(result.value.iss, 'spiffe://a.test');
  t.equal(judged(result.value, contextOf([entry], { bundles })), undefined);
  const rotated = new Map([['a.test', jwtBundle('a.test', mintSigner())]]);
  t.equal(judged(result.value, contextOf([entry], { bundles: rotated })), 'token_key_unknown');
  t.equal(judged(result.value, contextOf([entry])), 'token_issuer_unknown');
});

t.test('other rules than those it was verified by: again, without the signature', async (t) => {
  const token = await verifiedToken();
  const changed = (more: object): TokenContext => contextOf([trustedBy(oidcIssuer(more))]);
  const revised = (more: object): string => {
    const result = reviseToken(token, changed(more));
    return result.ok ? result.value.principal.uri : result.error.reason;
  };
  for (const more of [
    { audiences: ['api', 'b'] },
    { principal: templateOf('ci:{+sub}') },
    { requiresBinding: true },
    { clockSkewMs: 1 },
    { required: [{ claim: 'sub', values: ['x'] }] },
  ])
    t.equal(judged(token, changed(more)), 'verify again', JSON.stringify(more));
  t.equal(revised({ audiences: ['api', 'b'] }), 'ci:octo%2Fapp');
  t.equal(revised({ audiences: ['b'] }), 'token_audience');
  t.equal(revised({ principal: templateOf('ci:{+sub}') }), 'ci:octo/app', 'the name that it has now');
  t.equal(revised({ algorithms: ['RS256'] }), 'token_algorithm');
  t.equal(revised({ issuer: 'https://other.example' }), 'token_issuer_unknown');
  t.equal(revised({ required: [{ claim: 'sub', values: ['x'] }] }), 'token_claims');
  const binding = reviseToken(token, changed({ requiresBinding: true }));
  if (!binding.ok) throw new Error(binding.error.reason);
  t.equal(judgeBinding(binding.value, 'aa')?.reason, 'token_binding', 'the rule that is new counts');
  const gone = {
    issuers: [trustedBy(oidcIssuer({ clockSkewMs: 1 }), { keys: keySetOfSigners(mintSigner()) })],
  };
  const lost = reviseToken(token, { ...changed({}), tokens: { ...gone, delegates: new Map() } });
  t.equal(lost.ok ? '' : lost.error.reason, 'token_key_unknown');
  const none = reviseToken(token, contextOf([]));
  t.equal(none.ok ? '' : none.error.reason, 'token_issuer_unknown');
  const revokedNow = [{ id: 'ci:octo/app', reason: 'left' }];
  const after = reviseToken(token, {
    ...changed({ principal: templateOf('ci:{+sub}') }),
    revocations: createRevocationList(revokedNow, 'r'),
  });
  t.equal(after.ok ? '' : after.error.reason, 'token_revoked', 'by the name that it has now');
});

t.test('a principal, who acts for it, its namespace, or the token itself is revoked', async (t) => {
  const entry = trustedBy(oidcIssuer({ principal: templateOf('ci:{+sub}') }));
  const token = await verifiedToken({ ...good, act: { sub: 'gw' } }, entry);
  const by = (revocation: Omit<RevocationEntry, 'reason'>, nowMs = NOW_MS) =>
    judged(token, contextOf([entry], { nowMs, revoked: [{ ...revocation, reason: 'left' }] }));
  t.equal(by({ id: 'ci:octo/app' }), 'token_revoked');
  t.equal(by({ id: 'ci:octo' }), undefined, 'an ID is exact');
  t.equal(by({ id: 'ci:gw' }), 'token_revoked', 'the actor');
  for (const idPrefix of ['ci:octo/app', 'ci:octo', 'ci:'])
    t.equal(by({ idPrefix }), 'token_revoked', idPrefix);
  for (const idPrefix of ['ci:oct', 'ci:octo/ap', 'c', 'spiffe://octo'])
    t.equal(by({ idPrefix }), undefined, idPrefix);
  t.equal(by({ sha256: token.sha256 }), 'token_revoked');
  t.equal(by({ sha256: 'ab'.repeat(32) }), undefined);
  t.equal(by({ id: 'ci:octo/app', issuedBefore: NOW_MS - 4999 }), 'token_revoked', 'issued before');
  t.equal(by({ id: 'ci:octo/app', issuedBefore: NOW_MS - 5000 }), undefined, 'a new one gets in');
  t.equal(by({ id: 'ci:octo/app', at: NOW_MS + 1 }), undefined, 'not in force yet');
  t.equal(by({ id: 'ci:octo/app', at: NOW_MS + 1 }, NOW_MS + 1), 'token_revoked');
  const dateless = await verifiedToken({ ...good, iat: undefined }, entry);
  const old = contextOf([entry], { revoked: [{ id: 'ci:octo/app', issuedBefore: 1, reason: 'left' }] });
  t.equal(judged(dateless, old), 'token_revoked', 'what does not say when it was issued is old');
});

t.test(
  'a token revoked by its fingerprint does not come back with its signature in the other form',
  async (t) => {
    const entry = trustedBy(oidcIssuer({ algorithms: ['RS256', 'ES256', 'ES384', 'ES512', 'EdDSA'] }));
    const orders: Readonly<Record<string, bigint>> = {
      ES256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
      ES384:
        0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
      ES512:
        0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
    };
    for (const [alg, order] of Object.entries(orders)) {
      const own = mintSigner(alg);
      const trusted = { ...entry, keys: keySetOfSigners(own) };
      const text = own.sign(good);
      const dot = text.lastIndexOf('.') + 1;
      const raw = Buffer.from(text.slice(dot), 'base64url');
      const half = raw.length / 2;
      const s = order - BigInt(`0x${raw.toString('hex', half)}`);
      raw.write(s.toString(16).padStart(half * 2, '0'), half, 'hex');
      const twin = parsed(`${text.slice(0, dot)}${raw.toString('base64url')}`);
      const result = await verifyToken(twin, trusted, new Map(), NOW_MS);
      if (!result.ok) throw new Error(`${alg}: the twin verifies, as everywhere`);
      const { sha256 } = parsed(text);
      t.not(result.value.sha256, sha256, alg);
      const context = contextOf([trusted], { revoked: [{ sha256, reason: 'leaked' }] });
      t.equal(judged(result.value, context), 'token_revoked', alg);
      t.match(reviseToken(result.value, context), { ok: false, error: { reason: 'token_revoked' } }, alg);
    }
    for (const alg of ['RS256', 'EdDSA']) {
      const own = mintSigner(alg);
      const trusted = { ...entry, keys: keySetOfSigners(own) };
      const result = await verifyToken(parsed(own.sign(good)), trusted, new Map(), NOW_MS);
      t.match(result, { ok: true, value: { twinSha256: undefined } }, `${alg} has one form alone`);
    }
  },
);

t.test(
  'a bound token is good with its certificate alone, a bearer one unless binding is demanded',
  async (t) => {
    const leaf = Buffer.alloc(32, 7);
    const bound = await verifiedToken({ ...good, cnf: { 'x5t#S256': leaf.toString('base64url') } });
    t.equal(judgeBinding(bound, leaf.toString('hex')), undefined);
    t.equal(judgeBinding(bound, 'ab'.repeat(32))?.reason, 'token_binding');
    t.equal(judgeBinding(bound, undefined)?.reason, 'token_binding');
    const bearer = await verifiedToken();
    t.equal(judgeBinding(bearer, undefined), undefined);
    const demanded = await verifiedToken(good, trustedBy(oidcIssuer({ requiresBinding: true })));
    t.equal(judgeBinding(demanded, leaf.toString('hex'))?.reason, 'token_binding');
    const thumbprint = leaf.toString('base64url');
    for (const cnf of [
      null,
      thumbprint,
      [],
      {},
      { 'x5t#S256': null },
      { 'x5t#S256': leaf.toString('hex') },
      { 'x5t#S256': thumbprint.slice(0, 42) },
      { 'x5t#S256': `${thumbprint.slice(0, 42)}d` },
      { 'x5t#S256': thumbprint, jkt: 'x' },
      { 'X5T#S256': thumbprint },
      { x5t: thumbprint },
    ])
      t.equal(await verdict(signer.sign({ ...good, cnf })), 'token_binding', JSON.stringify(cnf));
  },
);
