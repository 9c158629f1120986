import fc from 'fast-check';
import t from 'tap';
import { parseTarget } from '../../src/message/target.js';

const SEED = 20_261_121;
const TOKENS = [
  '/',
  '.',
  '..',
  '%2f',
  '%2e',
  '%5c',
  '%25',
  ';',
  '\\',
  '?',
  '#',
  'a',
  'A',
  'admin',
  'public',
  '2f',
  '2e',
  '5c',
];

/** What `web` may reach: one prefix, judged on exactly the string that crosses. */
const isAllowed = (path: string): boolean => path.startsWith('/public/');

/** Readings that a server behind might make of the octets it got; written without a look at the parser under test. */
function readings(target: string): string[] {
  const bases = [target, target.split('?')[0] ?? ''];
  const decoded = bases.flatMap((text) => [text, loose(text), loose(loose(text)), loose(loose(loose(text)))]);
  return decoded.flatMap((text) => {
    const cuts = [
      text,
      text.replace(/;[^/]*/g, ''),
      text.replaceAll('\\', '/'),
      text.split('\u0000')[0] ?? '',
    ];
    const both = text.replaceAll('\\', '/').replace(/;[^/]*/g, '');
    return [...cuts, both].flatMap((cut) => [resolve(cut), resolve(cut.toLowerCase())]);
  });
}

/** Decodes what can be decoded and leaves the rest, as careless servers do. */
const loose = (text: string): string =>
  text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));

/** Merges slashes, then walks the segments (RFC 3986 5.2.4, after what most routers do first). */
function resolve(path: string): string {
  const out: string[] = [];
  for (const segment of path.split('?')[0]?.split('#')[0]?.split('/') ?? []) {
    if (segment === '..') out.pop();
    else if (segment !== '' && segment !== '.') out.push(segment);
  }
  return `/${out.join('/')}`;
}

const isAdmin = (path: string): boolean => path === '/admin' || path.startsWith('/admin/');

const target = fc
  .array(fc.constantFrom(...TOKENS), { minLength: 1, maxLength: 14 })
  .chain((tokens) =>
    fc.constantFrom(`/${tokens.join('')}`, `/public/${tokens.join('')}`, `/public/${tokens.join('/')}`),
  );

t.test('of 100,000 targets none that is let through reads as /admin in any way', (t) => {
  let crossed = 0;
  let crossedEncoded = 0;
  fc.assert(
    fc.property(target, (url) => {
      const parsed = parseTarget('GET', url, 'svc.test');
      if (!parsed.ok) return true;
      const { path, query, decodedSlashPath } = parsed.value;
      if (path + query !== url) return false;
      if (!isAllowed(path) || (decodedSlashPath !== undefined && !isAllowed(decodedSlashPath))) return true;
      crossed++;
      if (decodedSlashPath !== undefined) crossedEncoded++;
      return !readings(path).some(isAdmin);
    }),
    { numRuns: 100_000, seed: SEED },
  );
  t.ok(crossed > 5_000, `${crossed} targets crossed`);
  t.ok(crossedEncoded > 100, `${crossedEncoded} with an encoded slash`);
  t.end();
});

/** One character, percent-encoded 0-3 times over, in either case of its digits. */
const layered = (char: string): fc.Arbitrary<string> =>
  fc.tuple(fc.nat({ max: 3 }), fc.boolean()).map(([depth, isUpper]) => {
    if (depth === 0) return char;
    const hex = char.charCodeAt(0).toString(16).padStart(2, '0');
    return `%${'25'.repeat(depth - 1)}${isUpper ? hex.toUpperCase() : hex}`;
  });
const spelled = (text: string): fc.Arbitrary<string> =>
  fc.tuple(...[...text].map(layered)).map((chars) => chars.join(''));

t.test('no depth of encoding brings a way to /admin through', (t) => {
  const disguised = fc
    .tuple(
      fc.constantFrom('/public/', '/public/a/', '/public'),
      fc
        .constantFrom('../admin', '..\\admin', '/../admin', '..;/admin', '../../admin', './../admin/x')
        .chain(spelled),
    )
    .map((parts) => parts.join(''));
  let found = 0;
  fc.assert(
    fc.property(disguised, (url) => {
      if (readings(url).some(isAdmin)) found++;
      const parsed = parseTarget('GET', url, 'svc.test');
      return !parsed.ok || !readings(parsed.value.path).some(isAdmin);
    }),
    { numRuns: 10_000, seed: SEED },
  );
  t.ok(found > 1_000, `${found} of them do lead there`);
  t.end();
});

/** Few letters are encoded, so that the encoded separators alone are what could go unseen. */
t.test('doubly encoded separators alone are seen', (t) => {
  const separator = fc.constantFrom('%252f', '%255c', '%25252F', '%255C', '%252F', '%2F', '%5c');
  fc.assert(
    fc.property(separator, separator, (first, second) => {
      const parsed = parseTarget('GET', `/public/a${first}..${second}..${second}admin`, 'svc.test');
      return !parsed.ok && parsed.error.reason === 'path_ambiguous';
    }),
    { numRuns: 100, seed: SEED },
  );
  t.end();
});

t.test('the readings of the test do find what a lenient parser would let through', (t) => {
  const attacks = [
    '/public/../admin/x',
    '/public/%2e%2e/admin/x',
    '/public/..%2fadmin/x',
    '/public/..%252fadmin/x',
    '/public\\..\\admin',
    '/public/..;/admin/x',
    '/ADMIN/x',
    '//admin',
  ];
  for (const attack of attacks) t.ok(readings(attack).some(isAdmin), attack);
  t.end();
});

t.test('no text makes the target parser throw, and what it accepts is canonical', (t) => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc
      .array(fc.constantFrom(...TOKENS, '%00', '%c0%af', '%E2%80%A4', 'http://', 'svc.test', ' ', '\u00e9'))
      .map((a) => a.join('')),
  );
  fc.assert(
    fc.property(text, text, (url, host) => {
      for (const [target, authority] of [
        [url, 'svc.test'],
        ['/', host],
        [`http://${host}/`, host],
      ] as const) {
        const parsed = parseTarget('GET', target, authority);
        if (!parsed.ok) continue;
        const { path, authority: written, decodedPath } = parsed.value;
        const again = parseTarget('GET', path, written);
        if (!again.ok || again.value.path !== path || again.value.authority !== written) return false;
        if (!/^\/[!-~]*$/.test(path) || !/^[a-z0-9._:[\]-]+$/.test(written)) return false;
        if (/(^|\/)\.{1,2}(\/|$)|\/\/|\\|\0/.test(decodedPath ?? path)) return false;
      }
      return true;
    }),
    { numRuns: 5_000, seed: SEED },
  );
  t.end();
});
