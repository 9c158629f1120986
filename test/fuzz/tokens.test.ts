import fc from 'fast-check';
import t from 'tap';
import { parseKeySet } from '../../src/identity/key-set.js';
import { judgeBinding, parseToken, verifyToken } from '../../src/identity/token.js';
import { encode, keySetOfSigners, mintSigner, oidcIssuer, templateOf } from '../support/tokens.js';

const RUNS = { seed: 20_261_122, numRuns: 2000 };
const NOW_MS = 1_700_000_000_000;
const NOW = NOW_MS / 1000;
const signer = mintSigner();
const trusted = { issuer: oidcIssuer(), keys: keySetOfSigners(signer), stale: undefined };
const good = { iss: 'https://idp.example', sub: 'a', aud: 'api', iat: NOW - 5, exp: NOW + 60 };
const text = signer.sign(good);

/** The principal that a text is taken for; undefined when it is refused. */
async function principalOf(candidate: string): Promise<string | undefined> {
  const token = parseToken(candidate);
  if (!token.ok) {
    if (!token.error.reason.startsWith('token_')) throw new Error(token.error.reason);
    return undefined;
  }
  const result = await verifyToken(token.value, trusted, new Map(), NOW_MS);
  if (!result.ok && !result.error.reason.startsWith('token_')) throw new Error(result.error.reason);
  if (result.ok) judgeBinding(result.value, undefined);
  return result.ok ? result.value.principal.uri : undefined;
}

t.test('whatever comes as a token, it is refused with a reason of tokens', async (t) => {
  const part = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }).map((value) => encode(value)),
    fc.json().map((value) => encode(value)),
    fc.constantFrom(...text.split('.')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 5 }), async (parts) => {
      const candidate = parts.join('.');
      return candidate === text || (await principalOf(candidate)) === undefined;
    }),
    RUNS,
  );
  t.equal(await principalOf(text), 'ci:a');
});

t.test('no other text than the one that was signed is the token', async (t) => {
  const edit = fc.tuple(
    fc.nat(text.length - 1),
    fc.constantFrom('', ...'ABQgwxyz019-_.=+/ \n\t', 'é', '\0'),
    fc.nat(1),
  );
  await fc.assert(
    fc.asyncProperty(edit, async ([at, put, taken]) => {
      const edited = text.slice(0, at) + put + text.slice(at + taken);
      return edited === text || (await principalOf(edited)) === undefined;
    }),
    RUNS,
  );
  t.pass('2,000 edits');
});

const anything = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(NOW, NOW + 60, NOW - 60, 'api', ['api'], 'a', '', { sub: 'b' }, { 'x5t#S256': 'x' }),
);

t.test('whatever an issuer signs, it is refused or names one principal in its own namespace', async (t) => {
  let accepted = 0;
  const names = ['iss', 'sub', 'aud', 'exp', 'nbf', 'iat', 'jti', 'cnf', 'act', 'other', '__proto__'];
  const changes = fc.dictionary(fc.constantFrom(...names), anything, { maxKeys: 3 });
  await fc.assert(
    fc.asyncProperty(changes, async (change) => {
      const members = Object.entries({ ...good, ...change }).map(
        ([name, value]) => `${JSON.stringify(name)}:${JSON.stringify(value)}`,
      );
      const principal = await principalOf(signer.sign(`{${members.join(',')}}`));
      if (principal !== undefined) accepted++;
      return principal === undefined || /^ci:[^/]+$/.test(principal);
    }),
    RUNS,
  );
  t.ok(accepted > 50, `${accepted} were accepted: the property says something`);
});

t.test('whatever a header says, only the signature of the key makes it a token', async (t) => {
  const names = ['alg', 'kid', 'typ', 'crit', 'jwk', 'b64', 'x5t', 'foo'];
  const header = fc.dictionary(fc.constantFrom(...names), fc.oneof(anything, fc.constant('ES256')), {
    maxKeys: 4,
  });
  const other = mintSigner();
  await fc.assert(
    fc.asyncProperty(header, async (said) => {
      await principalOf(signer.sign(good, said));
      return (await principalOf(other.sign(good, said))) === undefined;
    }),
    RUNS,
  );
  t.pass('2,000 headers');
});

t.test('two subjects never have one name', async (t) => {
  const names = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc
      .array(fc.constantFrom('a', '/', '%', '2', 'F', '.', ' ', 'é', ':'), { maxLength: 6 })
      .map((all) => all.join('')),
  );
  for (const template of ['ci:{sub}', 'ci:{+sub}', 'ci:x/{sub}']) {
    const entry = { ...trusted, issuer: oidcIssuer({ principal: templateOf(template) }) };
    const seen = new Map<string, string>();
    await fc.assert(
      fc.asyncProperty(names, async (sub) => {
        const token = parseToken(signer.sign({ ...good, sub }));
        if (!token.ok) return true;
        const result = await verifyToken(token.value, entry, new Map(), NOW_MS);
        if (!result.ok) return true;
        const { uri } = result.value.principal;
        const holder = seen.get(uri) ?? sub;
        seen.set(uri, sub);
        return holder === sub;
      }),
      { ...RUNS, numRuns: 700 },
    );
    t.ok(seen.size > 50, `${template}: ${seen.size} names`);
  }
});

t.test('whatever comes as a key set, it is read or refused', async (t) => {
  const key = fc.dictionary(
    fc.constantFrom('kty', 'crv', 'x', 'y', 'n', 'e', 'd', 'k', 'kid', 'alg', 'use', 'key_ops'),
    fc.oneof(anything, fc.constantFrom(...Object.values(signer.jwk), 'sig', 'RSA', 'OKP')),
  );
  fc.assert(
    fc.property(fc.oneof(fc.array(key), fc.jsonValue()), (keys) => {
      const read = parseKeySet(Buffer.from(JSON.stringify({ keys })));
      return read.ok ? /^[0-9a-f]{16}$/.test(read.value.revision) : read.error.length > 0;
    }),
    RUNS,
  );
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => !parseKeySet(bytes).ok),
    RUNS,
  );
  t.pass('4,000 key sets');
});
