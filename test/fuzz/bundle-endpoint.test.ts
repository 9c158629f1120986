import fc from 'fast-check';
import t from 'tap';
import { parseBundleEndpointUrl, parseRedirectTarget } from '../../src/identity/bundle-endpoint-url.js';
import { bundlesInFolder } from '../../src/identity/bundle-file-names.js';
import { judgeBundleUpdate, refreshIntervalMs } from '../../src/identity/bundle-update.js';
import { parseFetchedBundle } from '../../src/identity/fetched-bundle.js';
import { parseTrustDomain } from '../../src/identity/spiffe-id.js';
import { A_TEST, bundleDocument, bundleOf } from '../support/bundle-server.js';
import { mintRoot } from '../support/pki.js';

const RUNS = { seed: 20_261_122, numRuns: 2000 };
const URL_PARTS = [
  'https:',
  'http:',
  '//',
  '/',
  '\\',
  '@',
  ':',
  '443',
  'a.test',
  'B.test',
  '[::1]',
  '..',
  '%40',
];
const urlText = fc
  .array(
    fc.oneof(fc.constantFrom(...URL_PARTS, '?', '#', '%2f', 'x', ' ', '\t', 'é', '0x7f.1'), fc.string()),
    {
      maxLength: 9,
    },
  )
  .map((parts) => parts.join(''));

t.test(
  'whatever leads to a URL, it is https, has a host and no userinfo, and reads back as itself',
  async (t) => {
    const base = parseBundleEndpointUrl('https://a.test:8443/d/b?x');
    if (!base.ok) return t.fail(base.error);
    let accepted = 0;
    fc.assert(
      fc.property(urlText, (text) => {
        for (const parsed of [parseBundleEndpointUrl(text), parseRedirectTarget(base.value, text)]) {
          if (!parsed.ok) continue;
          accepted++;
          const { href, host, port, target } = parsed.value;
          const again = parseBundleEndpointUrl(href);
          if (!/^https:\/\/[^/?#@]+[/?]/.test(href) || host === '' || port < 1 || !target.startsWith('/'))
            return false;
          if (!again.ok || JSON.stringify(again.value) !== JSON.stringify(parsed.value)) return false;
        }
        return true;
      }),
      RUNS,
    );
    t.ok(accepted > 100, `${accepted} were accepted`);
  },
);

t.test(
  'every name in a folder is a domain, ignored or a problem, and only trust domains are domains',
  async (t) => {
    const part = fc.constantFrom(
      'a.test',
      'b',
      'ca',
      'X',
      '.',
      '..',
      '_',
      ' ',
      'bundle',
      '.pem',
      '.crt',
      '.json',
      '~',
    );
    const name = fc.array(fc.oneof(part, fc.string({ maxLength: 3 })), { minLength: 1, maxLength: 4 });
    const names = fc.uniqueArray(
      name.map((parts) => parts.join('')),
      { maxLength: 8 },
    );
    fc.assert(
      fc.property(names, (list) => {
        const { domains, contested, ignored, problems } = bundlesInFolder(list);
        const taken = [
          ...domains.values(),
          ...[...contested.values()].flat(),
          ...ignored.map((entry) => entry.name),
        ];
        const named = problems.length - contested.size;
        if (new Set(taken).size !== taken.length || taken.length + named !== list.length) return false;
        return [...domains.keys(), ...contested.keys()].every((domain) => parseTrustDomain(domain).ok);
      }),
      RUNS,
    );
    t.pass();
  },
);

t.test('no document makes the reader throw, and half of one is never taken', async (t) => {
  const root = await mintRoot('a.test');
  const whole = bundleDocument([root], { sequence: 7, hint: 60 });
  t.ok(parseFetchedBundle(A_TEST, Buffer.from(whole)).ok);
  const cut = fc.integer({ min: 0, max: whole.length - 1 });
  fc.assert(
    fc.property(cut, (length) => !parseFetchedBundle(A_TEST, Buffer.from(whole.slice(0, length))).ok),
    { ...RUNS, numRuns: 300 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => !parseFetchedBundle(A_TEST, bytes).ok),
    RUNS,
  );
});

t.test('of any row of bundles, the sequence in force never goes down', async (t) => {
  const roots = [await mintRoot('a.test'), await mintRoot('a.test')];
  const step = fc.record({ sequence: fc.integer({ min: 0, max: 5 }), which: fc.integer({ min: 0, max: 2 }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      let current = bundleOf([roots[0]!], { sequence: 0 });
      for (const { sequence, which } of steps) {
        const fetched = bundleOf(roots.slice(0, which), { sequence });
        const { outcome, why } = judgeBundleUpdate(current, fetched);
        if ((outcome === 'keep') !== fetched.sequence! < current.sequence!) return false;
        if (outcome === 'keep' && why === undefined) return false;
        if (outcome === 'replace') current = fetched;
      }
      return true;
    }),
    { ...RUNS, numRuns: 200 },
  );
  fc.assert(
    fc.property(fc.oneof(fc.integer(), fc.maxSafeInteger()), (hint) => {
      const ms = refreshIntervalMs(bundleOf([], { hint }));
      return ms >= 10_000 && ms <= 86_400_000;
    }),
    RUNS,
  );
  t.pass();
});
