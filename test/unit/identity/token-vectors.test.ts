import { createHash, createHmac } from 'node:crypto';
import t from 'tap';
import { keySetOf } from '../../../src/identity/key-set.js';
import { judgeBinding, parseToken, type VerifiedToken, verifyToken } from '../../../src/identity/token.js';
import type { TrustBundle } from '../../../src/identity/trust-bundle.js';
import type { RefusalReason, Result } from '../../../src/reasons.js';
import {
  encode,
  jwtBundle,
  jwtSvidIssuer,
  keySetOfSigners,
  mintSigner,
  oidcIssuer,
  type Signer,
  signature,
} from '../../support/tokens.js';
import { type Expectation, readVectors, type Vector } from './vectors.js';

const NOW_MS = 1_700_000_000_000;

/** What each reason of the vectors is called here. */
const reasons: Readonly<Record<string, readonly RefusalReason[]>> = {
  algorithm: ['token_algorithm'],
  typ: ['token_type'],
  kid: ['token_header'],
  header: ['token_header'],
  crit: ['token_header'],
  serialization: ['token_malformed'],
  size: ['token_malformed'],
  'no-authority': ['token_key_unknown', 'token_issuer_unknown'],
  // Where the token brings its own key, the header is refused before the signature is looked at.
  signature: ['token_signature', 'token_header', 'token_key_unknown'],
  sub: ['token_subject'],
  aud: ['token_audience'],
  config: ['token_audience'],
  exp: ['token_claims'],
  nbf: ['token_claims', 'token_not_yet_valid'],
  expired: ['token_expired'],
  iss: ['token_issuer_unknown'],
  act: ['token_claims'],
  cnf: ['token_binding'],
};

type Assert = Pick<typeof t, 'ok' | 'equal' | 'fail'>;

/** The verdict is one that the vector allows; a refusal has its reason. */
function judge(t: Assert, id: string, expect: Expectation, result: Result<VerifiedToken>): void {
  const outcome = result.ok ? 'accept' : 'reject';
  if (expect.outcome === 'policy' || expect.outcome === 'reject-or-normalize') {
    const ours = expect.outcome === 'policy' ? (expect.allowed ?? []) : ['reject'];
    t.ok(ours.includes(outcome) || (outcome === 'reject' && ours.includes('deny')), id);
    if (String(expect.recommended).startsWith('reject by default') || expect.recommended === 'reject')
      t.equal(outcome, 'reject', `${id}: as recommended`);
    return;
  }
  if (expect.outcome === 'accept') {
    t.ok(result.ok, `${id}: ${result.ok ? '' : `${result.error.reason} ${result.error.detail}`}`);
    return;
  }
  if (result.ok) {
    t.fail(`${id} was accepted`);
    return;
  }
  const allowed = reasons[String(expect.reason)] ?? [];
  t.ok(allowed.includes(result.error.reason), `${id}: ${result.error.reason} for ${String(expect.reason)}`);
}

const verify = async (
  text: string,
  trusted: Parameters<typeof verifyToken>[1],
  bundles: ReadonlyMap<string, TrustBundle> = new Map(),
): Promise<Result<VerifiedToken>> => {
  const token = parseToken(text);
  return token.ok ? verifyToken(token.value, trusted, bundles, NOW_MS) : token;
};

// ---- jwt-svid

interface SvidInput {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly signer: string;
  readonly bundles: Readonly<Record<string, Readonly<Record<string, { key: string; use: string }>>>>;
  readonly acceptedAudiences: readonly string[];
  readonly token?: string;
  readonly presentedTwice?: boolean;
}

/** Keys by the names that the vectors give them: `K1`, `K1(RS256)`. */
class Keys {
  readonly #signers = new Map<string, Signer>();

  named(name: string): Signer {
    const known = this.#signers.get(name);
    if (known !== undefined) return known;
    const given = /\(([A-Z]{2}\d{3})\)$/.exec(name)?.[1];
    const signer = mintSigner(given ?? (name === 'KR' ? 'RS256' : 'ES256'), name);
    this.#signers.set(name, signer);
    return signer;
  }

  bundles(described: SvidInput['bundles']): Map<string, TrustBundle> {
    return new Map(
      Object.entries(described).map(([domain, keys]) => {
        const members = Object.entries(keys).map(([kid, { key, use }]) => {
          const { alg: _, ...jwk } = this.named(key).jwk;
          return { jwk: { ...jwk, use, kid } };
        });
        return [domain, jwtBundle(domain, ...members)];
      }),
    );
  }

  token({ header, claims, signer }: SvidInput): string {
    // References such as @x(K9) stand for key material that is not ours: any text does.
    const text = `${encode(JSON.stringify(header))}.${encode(JSON.stringify(claims))}`;
    if (signer === '(none)') return `${text}.`;
    if (signer.startsWith('HMAC')) {
      const secret = this.named('K1').privateKey.export({ format: 'der', type: 'pkcs8' });
      return `${text}.${encode(createHmac('sha256', secret).update(text).digest())}`;
    }
    const { privateKey, alg } = this.named(signer);
    return `${text}.${encode(signature(text, privateKey, alg))}`;
  }
}

t.test('each jwt-svid vector is judged as the standard has it, with its reason', async (t) => {
  const keys = new Keys();
  const vectors = readVectors<SvidInput>('jwt-svid');
  const good = vectors.find(({ id }) => id === 'jwt-svid/good');
  if (good === undefined) throw new Error('the good one is there');
  for (const { id, input, expect } of vectors) {
    const described = input.token === undefined ? input : good.input;
    const text = input.token === undefined ? keys.token(input) : rawToken(input.token, keys, good);
    const bundles = keys.bundles(described.bundles);
    const trusted = {
      issuer: jwtSvidIssuer({ audiences: described.acceptedAudiences }),
      keys: undefined,
      stale: undefined,
    };
    const result = await verify(text, trusted, bundles);
    judge(t, id, expect, result);
    if (result.ok && expect.spiffeId !== undefined) t.equal(result.value.principal.uri, expect.spiffeId, id);
    if (input.presentedTwice) t.ok((await verify(text, trusted, bundles)).ok, `${id}: again`);
  }
});

/** `@good`, its parts, and what the vectors say in words. */
function rawToken(described: string, keys: Keys, good: Vector<SvidInput>): string {
  const text = keys.token(good.input);
  const [h = '', p = '', s = ''] = text.split('.');
  const { privateKey, alg } = keys.named('K1');
  const signed = (head: string, payload: string): string =>
    encode(signature(`${head}.${payload}`, privateKey, alg));
  const doubled = /base64url of (\{.*\})>/.exec(described)?.[1];
  if (doubled !== undefined) return `${h}.${encode(doubled)}.${signed(h, encode(doubled))}`;
  return described
    .replace('@good', text)
    .replace('<ASN.1 DER form of the same ECDSA signature>', encode(toDer(Buffer.from(s, 'base64url'))))
    .replace('<64 zero bytes>', encode(Buffer.alloc(64)))
    .replace('<200 kB of base64url>', encode(Buffer.alloc(150_000, 1)))
    .replace('@h', h)
    .replace('@p', p)
    .replace('@s', s);
}

function toDer(raw: Buffer): Buffer {
  const integer = (value: Buffer): Buffer => {
    const body = (value[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), value]) : value;
    return Buffer.concat([Buffer.of(2, body.length), body]);
  };
  const body = Buffer.concat([integer(raw.subarray(0, 32)), integer(raw.subarray(32))]);
  return Buffer.concat([Buffer.of(0x30, body.length), body]);
}

// ---- oidc

interface OidcInput {
  readonly header: Readonly<Record<string, unknown>>;
  readonly claims: Readonly<Record<string, unknown>>;
  readonly config: { readonly issuer: string; readonly audience: string; readonly algorithms: ['RS256'] };
}

t.test('each oidc vector is judged by the rules of its issuer, and names no SPIFFE ID', async (t) => {
  const own = mintSigner('RS256', 'r1');
  const other = mintSigner('RS256', 'other-issuer-key');
  for (const { id, input, expect } of readVectors<OidcInput>('oidc')) {
    const { issuer, audience, algorithms } = input.config;
    const trusted = {
      issuer: oidcIssuer({ issuer, audiences: [audience], algorithms }),
      keys: keySetOfSigners(own),
      stale: undefined,
    };
    const signer = input.header.kid === other.kid ? other : own;
    const result = await verify(signer.sign(input.claims, input.header), trusted);
    judge(t, id, expect, result);
    if (!result.ok) continue;
    t.equal(result.value.claims.sub, input.claims.sub, id);
    t.match(result.value.principal.uri, /^ci:/, `${id}: the name is in the namespace of its issuer`);
  }
});

// ---- cert-bound

interface BoundInput {
  readonly cnf: Readonly<Record<string, string>> | null;
  readonly peerCertificate: string | null | { readonly derBase64: string };
}

t.test('each cert-bound vector is compared with the certificate of TLS alone', async (t) => {
  const signer = mintSigner();
  const trusted = { issuer: oidcIssuer(), keys: keySetOfSigners(signer), stale: undefined };
  const sha256 = (octets: Uint8Array): string => createHash('sha256').update(octets).digest('hex');
  const leaf = sha256(Buffer.from('a leaf'));
  for (const { id, input, expect } of readVectors<BoundInput>('cert-bound')) {
    const values: Readonly<Record<string, string>> = {
      '@x5t(LEAF)': Buffer.from(leaf, 'hex').toString('base64url'),
      '@hex-sha256(LEAF)': leaf,
    };
    const cnf = Object.entries(input.cnf ?? {}).map(([name, text]) => [
      name,
      text.replace(/@[a-z0-9-]+\(\w+\)/, (reference) => values[reference] ?? reference),
    ]);
    const claims = { iss: 'https://idp.example', sub: 'a', aud: 'api', exp: NOW_MS / 1000 + 60 };
    const result = await verify(
      signer.sign({ ...claims, ...(input.cnf === null ? {} : { cnf: Object.fromEntries(cnf) }) }),
      trusted,
    );
    const peer = input.peerCertificate;
    const presented =
      peer === 'LEAF'
        ? leaf
        : peer !== null && typeof peer === 'object'
          ? sha256(Buffer.from(peer.derBase64, 'base64'))
          : undefined;
    const refusal = result.ok ? judgeBinding(result.value, presented) : result.error;
    if (expect.outcome === 'accept') t.equal(refusal, undefined, id);
    else if (expect.outcome === 'policy' && expect.recommended !== 'reject')
      t.equal(refusal, undefined, `${id}: a bearer token, unless binding is demanded`);
    else t.equal(refusal?.reason, 'token_binding', id);
  }
});

// ---- delegation

interface DelegationInput {
  readonly claims: Readonly<Record<string, unknown>>;
}

t.test('each delegation vector names who acts, and nobody acts by history or by leave to', async (t) => {
  const signer = mintSigner();
  const trusted = { issuer: oidcIssuer(), keys: keySetOfSigners(signer), stale: undefined };
  for (const { id, input, expect } of readVectors<DelegationInput>('delegation')) {
    const { '@policy': _policy, '@mtlsPeer': peer, ...claims } = input.claims;
    const result = await verify(
      signer.sign({ ...claims, exp: NOW_MS / 1000 + 60, iat: NOW_MS / 1000 }),
      trusted,
    );
    if (expect.outcome === 'reject') {
      judge(t, id, expect, result);
      continue;
    }
    if (!result.ok) {
      t.fail(`${id}: ${result.error.reason} ${result.error.detail}`);
      continue;
    }
    const { principal, actor, actorSub, through } = result.value;
    t.equal(principal.uri, 'ci:alice', id);
    if (expect.outcome === 'accept') {
      t.equal(actorSub ?? null, expect.actor, id);
      t.same(through, expect.history, id);
    }
    if (id === 'delegation/nested-not-authority') {
      t.equal(actor?.uri, 'ci:low', `${id}: the outermost acts`);
      t.same(through, ['ci:admin-svc'], `${id}: the nested one is history`);
    }
    // The actor of the token is not the peer: whoever compares them finds them different, and not alike by accident.
    if (peer !== undefined) t.not(actor?.uri, peer, id);
  }
});

t.test('a bundle has one key set, for as long as it is the same bundle', async (t) => {
  const bundle = jwtBundle('a.test', mintSigner());
  t.equal(keySetOf(bundle), keySetOf(bundle));
});
