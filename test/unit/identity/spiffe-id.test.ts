import fc from 'fast-check';
import t from 'tap';
import { parseSpiffeId, parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import { allows, readVectors } from './vectors.js';

t.test('every SPIFFE ID vector is judged as it asks', async (t) => {
  for (const { id, input, expect, why } of readVectors<unknown>('spiffe-id')) {
    const parsed = parseSpiffeId(input);
    t.ok(allows(expect, parsed.ok ? 'accept' : 'reject'), `${id}: ${why}`);
    if (!parsed.ok || expect.outcome !== 'accept') continue;
    t.equal(parsed.value.uri, input, `${id} keeps its bytes`);
    t.equal(parsed.value.trustDomain, expect.trustDomain, `${id} has its trust domain`);
    t.equal(parsed.value.path, expect.path, `${id} has its path`);
    t.same(parsed.value.segments, parsed.value.path.split('/').slice(1), `${id} has its segments`);
  }
});

t.test('every trust domain vector is judged as it asks', async (t) => {
  for (const { id, input, expect, why } of readVectors<unknown>('trust-domain')) {
    const parsed = parseTrustDomain(input);
    t.ok(allows(expect, parsed.ok ? 'accept' : 'reject'), `${id}: ${why}`);
    if (parsed.ok && expect.outcome === 'accept') t.equal(parsed.value, expect.name, `${id} keeps its bytes`);
  }
});

t.test('no character beyond the charset passes in any place', async (t) => {
  const lower = /^[a-z0-9._-]$/;
  for (let code = 0; code <= 0x2ff; code++) {
    const character = String.fromCharCode(code);
    const shown = JSON.stringify(character);
    t.equal(parseTrustDomain(`a${character}b`).ok, lower.test(character), `${shown} in a trust domain`);
    if (character === '/') continue;
    t.equal(
      parseSpiffeId(`spiffe://a/b${character}c`).ok,
      /^[A-Za-z0-9._-]$/.test(character),
      `${shown} in a path`,
    );
  }
});

t.test('a refusal says what is wrong', async (t) => {
  const problem = (input: unknown): string => {
    const parsed = parseSpiffeId(input);
    return parsed.ok ? 'accepted' : parsed.error;
  };
  t.equal(problem('http://a/b'), 'the scheme is not spiffe://');
  t.equal(problem('spiffe://A/b'), 'the trust domain has capital letters');
  t.equal(problem('spiffe://a:1/b'), 'the trust domain holds a port or scheme');
  t.equal(problem('spiffe://u@a/b'), 'the trust domain holds a userinfo part');
  t.equal(problem('spiffe:///b'), 'the trust domain is empty');
  t.equal(problem('spiffe://a/%62'), 'the path is percent-encoded');
  t.equal(problem('spiffe://a/b?'), 'the path is followed by a query');
  t.equal(problem('spiffe://a/b#'), 'the path is followed by a fragment');
  t.equal(problem('spiffe://a/../b'), 'the path has a dot segment');
  t.equal(problem('spiffe://a//b'), 'the path has an empty segment');
  t.equal(problem('spiffe://a/b/'), 'the path ends with a slash');
  t.equal(problem('spiffe://a/b\0'), 'the path has a control character');
  t.equal(problem('spiffe://a/é'), 'the path has a character outside ASCII');
  t.equal(problem('spiffe://a/b,c'), 'the path has the character ","');
  t.equal(problem(`spiffe://a/${'b'.repeat(2048)}`), 'the SPIFFE ID is longer than 2048 bytes');
  t.equal(problem(`spiffe://${'a'.repeat(256)}/b`), 'the trust domain is longer than 255 bytes');
  t.equal(problem(7), 'a SPIFFE ID must be text');
});

t.test('what is made of lawful parts parses and gives the parts back', async () => {
  const part = (characters: string) =>
    fc.string({
      unit: fc.constantFrom(...characters),
      minLength: 1,
      maxLength: 20,
    });
  const domain = part('abz09.-_');
  const segment = part('abzAZ09.-_').filter((text) => text !== '.' && text !== '..');
  fc.assert(
    fc.property(domain, fc.array(segment, { maxLength: 6 }), (name, segments) => {
      const uri = `spiffe://${[name, ...segments].join('/')}`;
      const parsed = parseSpiffeId(uri);
      return (
        parsed.ok &&
        parsed.value.trustDomain === name &&
        parsed.value.segments.join('/') === segments.join('/') &&
        `spiffe://${parsed.value.trustDomain}${parsed.value.path}` === uri
      );
    }),
  );
});
