import t from 'tap';
import { parseTrustDomain, type TrustDomain } from '../../../src/identity/spiffe-id.js';
import {
  parseBundleDocument,
  parseBundleMap,
  parseTrustBundle,
  type TrustBundle,
} from '../../../src/identity/trust-bundle.js';
import { type Authority, bundlePem, generateKeys, mintRoot, pem } from '../../support/pki.js';
import { allows, readVectors } from './vectors.js';

type Json = Readonly<Record<string, unknown>>;

const domain = ((): TrustDomain => {
  const parsed = parseTrustDomain('a.test');
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
})();

/** Puts minted certificates and keys in place of the vectors' @der(CA1), @x(K1) and so on. */
class Placeholders {
  readonly authorities = new Map<string, Authority>();
  readonly ders = new Map<string, Buffer>();
  private readonly jwks = new Map<string, Json>();

  static async create(): Promise<Placeholders> {
    const made = new Placeholders();
    for (const name of ['CA1', 'CA2', 'CA3']) {
      const authority = await mintRoot('a.test', { subject: `CN=${name}` });
      made.authorities.set(name, authority);
      made.ders.set(name, authority.certDer);
      made.jwks.set(name, (await crypto.subtle.exportKey('jwk', authority.keys.publicKey)) as Json);
    }
    const leaf = await made.authorities.get('CA1')!.issue('spiffe://a.test/web');
    made.ders.set('LEAF', leaf.certDer);
    made.jwks.set('LEAF', (await crypto.subtle.exportKey('jwk', leaf.keys.publicKey)) as Json);
    for (const name of ['K1', 'K2', 'K3', 'ED1'])
      made.jwks.set(name, (await crypto.subtle.exportKey('jwk', (await generateKeys()).privateKey)) as Json);
    return made;
  }

  fill(text: string): string {
    return text.replace(/@(x509|[a-z0-9+-]+)\(([A-Z0-9]+)\)/g, (_, kind: string, name: string) =>
      this.value(kind, name),
    );
  }

  private value(kind: string, name: string): string {
    const der = this.ders.get(name) ?? Buffer.alloc(0);
    switch (kind) {
      case 'der':
        return der.toString('base64');
      case 'der-base64url':
        return der.toString('base64url');
      case 'der+trailing':
        return Buffer.concat([der, Buffer.from([0, 1])]).toString('base64');
      case 'pem':
        return JSON.stringify(pem('CERTIFICATE', der)).slice(1, -1);
      case 'x509':
        return JSON.stringify({ use: 'x509-svid', ...this.jwks.get(name), x5c: [der.toString('base64')] });
      default:
        return String(this.jwks.get(name)?.[kind]);
    }
  }

  namesOf(bundle: TrustBundle): string[] {
    return bundle.authorities.map((authority) => {
      for (const [name, der] of this.ders) if (authority.der.equals(der)) return name;
      return 'unknown';
    });
  }

  bytesOf(input: Json): Buffer {
    if (typeof input['@raw'] === 'string') return Buffer.from(this.fill(input['@raw']));
    if (typeof input['@raw-utf16le'] === 'string') return Buffer.from(input['@raw-utf16le'], 'utf16le');
    return Buffer.from(this.fill(JSON.stringify(input)));
  }
}

t.test('every bundle document vector is judged as it asks', async (t) => {
  const placeholders = await Placeholders.create();
  for (const { id, input, expect, why } of readVectors<Json>('bundle-doc')) {
    const bytes = placeholders.bytesOf(input);
    const parsed = parseBundleDocument(domain, bytes);
    t.ok(
      allows(expect, parsed.ok ? 'accept' : 'reject'),
      `${id}: ${why}${parsed.ok ? '' : ` (${parsed.error})`}`,
    );
    t.equal(parseTrustBundle(domain, bytes).ok, parsed.ok, `${id} is the same by either door`);
    if (!parsed.ok) continue;
    const facts = { ...expect, ...(expect.ifAccepted as Json | undefined) } as Json;
    const bundle = parsed.value;
    if (facts.x509Authorities)
      t.same(placeholders.namesOf(bundle), facts.x509Authorities, `${id}: authorities`);
    if (facts.jwtKeyIds) t.same([...bundle.jwtKeys.keys()], facts.jwtKeyIds, `${id}: JWT keys`);
    if (facts.sequence !== undefined && facts.sequence !== null)
      t.equal(bundle.sequence, BigInt(facts.sequence as string), `${id}: sequence`);
    if (facts.sequence === null) t.equal(bundle.sequence, undefined, `${id}: no sequence`);
    if (facts.refreshHintSeconds !== undefined)
      t.equal(bundle.refreshHintSeconds ?? null, facts.refreshHintSeconds, `${id}: hint`);
  }
});

t.test('every bundle map vector is judged as it asks', async (t) => {
  const placeholders = await Placeholders.create();
  for (const { id, input, expect, why } of readVectors<Json>('bundle-map')) {
    const { '@lookup': lookup, ...document } = input;
    const parsed = parseBundleMap(placeholders.bytesOf(document));
    t.ok(
      allows(expect, parsed.ok ? 'accept' : 'reject'),
      `${id}: ${why}${parsed.ok ? '' : ` (${parsed.error})`}`,
    );
    if (!parsed.ok) continue;
    const wanted = JSON.parse(JSON.stringify(expect.bundles)) as Json;
    const found = [...parsed.value].map(([name, bundle]) => [name, placeholders.namesOf(bundle)]);
    t.same(found, Object.entries(wanted), `${id}: bundles`);
    if (typeof lookup === 'string')
      t.equal(parsed.value.get(lookup), undefined, `${id}: ${lookup} is not there`);
  }
  t.equal(({} as Json).keys, undefined, 'no prototype was touched');
});

t.test('a bundle map keeps __proto__ as the name that it is', async (t) => {
  const parsed = parseBundleMap(Buffer.from('{"trust_domains":{"__proto__":{"keys":[]}}}'));
  t.same(parsed.ok && [...parsed.value.keys()], ['__proto__']);
});

t.test('a private key in a bundle is refused and its value is not repeated', async (t) => {
  const keys = await generateKeys();
  const jwk = (await crypto.subtle.exportKey('jwk', keys.privateKey)) as Json;
  const document = JSON.stringify({ keys: [{ use: 'jwt-svid', kid: 'k', ...jwk }] });
  const parsed = parseBundleDocument(domain, Buffer.from(document));
  t.equal(parsed.ok ? 'accepted' : parsed.error, 'key 1: it holds a private key');
});

t.test('a PEM bundle is whole or refused, with the line', async (t) => {
  const [one, two] = [await mintRoot('a.test'), await mintRoot('a.test')];
  const leaf = await one.issue('spiffe://a.test/web');
  const both = bundlePem(one, two);
  const problem = (text: string): string => {
    const parsed = parseTrustBundle(domain, Buffer.from(text));
    return parsed.ok ? `${parsed.value.authorities.length}` : parsed.error;
  };
  t.equal(problem(both), '2');
  t.equal(problem(both.replaceAll('\n', '\r\n')), '2');
  t.equal(problem(`# the roots of a.test\n\n${one.certPem}\nsubject=CN = x\n${two.certPem}`), '2');
  t.equal(problem(both + one.certPem), '2', 'duplicates collapse');
  t.equal(problem(''), 'the bundle is empty');
  t.equal(problem(' \n\n'), 'the bundle is empty');
  t.equal(problem('no certificates here\n'), 'the bundle holds no certificate');
  t.equal(problem(`\ufeff${both}`), 'the bundle starts with a byte order mark');
  const half = both.slice(0, Math.floor(both.length * 0.75));
  t.match(problem(half), /^the CERTIFICATE block of line \d+ has no end$/, 'half-written');
  t.match(
    problem(`${one.certPem}-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n${two.certPem}`),
    /^line \d+: the certificate cannot be read/,
    'a garbage block between two good ones',
  );
  t.match(problem(one.certPem.replace('\n', '\n!')), /holds something that is not base64/);
  t.match(
    problem(one.certPem.replace('-----BEGIN', '----BEGIN')),
    /line 1: a broken BEGIN or END line|base64 outside/,
  );
  t.match(problem(one.certPem.split('\n').slice(1).join('\n')), /line 1: base64 outside a block/);
  t.match(problem(one.certPem.replace('-----END CERTIFICATE-----', '-----END CERTIFICATE')), /not base64/);
  t.equal(
    problem(one.certPem + one.keyPem).replace(/\d+/, 'N'),
    'line N: a private key does not belong in a bundle',
  );
  t.match(
    problem(both.replaceAll('CERTIFICATE', 'TRUSTED CERTIFICATE')),
    /TRUSTED CERTIFICATE is not a certificate/,
  );
  t.match(problem(one.certPem + leaf.certPem), /^line \d+: the certificate of .* is not a CA$/);
  t.match(problem(one.certPem.replace(/=*\n-----END/, 'A\n-----END')), /not base64|cannot be read/);
});

t.test('the revision names the content and not its order', async (t) => {
  const [one, two] = [await mintRoot('a.test'), await mintRoot('a.test')];
  const revision = (text: string): string => {
    const parsed = parseTrustBundle(domain, Buffer.from(text));
    return parsed.ok ? parsed.value.revision : parsed.error;
  };
  t.match(revision(bundlePem(one, two)), /^[0-9a-f]{16}$/);
  t.equal(revision(bundlePem(one, two)), revision(bundlePem(two, one)));
  t.not(revision(bundlePem(one, two)), revision(bundlePem(one)));
  const document = (sequence: number, keys: unknown[]): string =>
    JSON.stringify({ spiffe_sequence: sequence, keys });
  t.not(revision(document(1, [])), revision(document(2, [])));
  const jwtKey = async (): Promise<Json> => ({
    use: 'jwt-svid',
    kid: 'k1',
    ...(await crypto.subtle.exportKey('jwk', (await generateKeys()).publicKey)),
  });
  t.not(
    revision(document(1, [await jwtKey()])),
    revision(document(1, [await jwtKey()])),
    'another key under one kid',
  );
});

t.test('JSON that two readers could read in two ways is refused', async (t) => {
  const problem = (text: string): string => {
    const parsed = parseBundleDocument(domain, Buffer.from(text));
    return parsed.ok ? 'ok' : parsed.error;
  };
  t.equal(problem('{"keys":[]}'), 'ok');
  t.match(problem('{"keys":[],"k\\u0065ys":[]}'), /"keys" is there twice/);
  t.match(problem('{"keys":[{"a":1,"a":2}]}'), /"a" is there twice/);
  for (const text of [
    '{"keys":[]}x',
    '{"keys":[]',
    '{"keys":[,]}',
    '{keys:[]}',
    '{"keys":[01]}',
    '{"keys":[]}}',
    '"',
    '{"a\n":1}',
  ])
    t.match(problem(text), /not sound JSON/, text);
  t.match(problem(`{"keys":${'['.repeat(100)}${']'.repeat(100)}}`), /nested too deeply/);
  t.match(problem('{"keys":[],"spiffe_sequence":1.5}'), /spiffe_sequence/);
});
