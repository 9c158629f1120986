import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import { formatHead, parseHead, sealHash } from '../../../src/audit/seal-head.js';
import {
  formatSealHeader,
  formatSealLine,
  formatSealPayload,
  parseSealLine,
  parseSealPayload,
  type SealPayload,
} from '../../../src/audit/seal-line.js';

const base64url = (text: string): string => Buffer.from(text).toString('base64url');
const bytes = (length: number): fc.Arbitrary<string> =>
  fc
    .uint8Array({ minLength: length, maxLength: length })
    .map((octets) => Buffer.from(octets).toString('base64url'));

const payloads: fc.Arbitrary<SealPayload> = fc
  .record(
    {
      stream: fc.record(
        {
          id: fc.string({ unit: 'binary' }),
          boot: fc.stringMatching(/^[0-9a-f]{16}$/),
          worker: fc.nat({ max: 999 }),
        },
        { noNullPrototype: true },
      ),
      number: fc.integer({ min: 1, max: 1e9 }),
      from: fc.integer({ min: 2, max: 1e12 }),
      records: fc.integer({ min: 1, max: 40 }),
      lost: fc.nat({ max: 9 }),
      hash: bytes(32),
      previous: bytes(32),
      time: fc
        .date({ min: new Date(0), max: new Date('9999-12-31'), noInvalidDate: true })
        .map((date) => date.toISOString()),
      last: fc.boolean(),
    },
    { noNullPrototype: true },
  )
  .chain(({ lost, ...seal }) =>
    bytes(4 * seal.records).map((lines) => {
      const from = seal.number === 1 ? 1 : seal.from;
      const previous = seal.number === 1 ? null : seal.previous;
      return { ...seal, from, to: from + seal.records - 1 + lost, lines, previous };
    }),
  );

const kid = 'A'.repeat(43);
const jwsOf = (payloadText: string, header = formatSealHeader('EdDSA', kid)): string =>
  `${base64url(header)}.${base64url(payloadText)}.${'A'.repeat(86)}`;

const example: SealPayload = {
  stream: { id: 'host-1', boot: '0123456789abcdef', worker: 2 },
  number: 17,
  from: 1200,
  to: 1201,
  records: 2,
  hash: 'A'.repeat(43),
  lines: 'AAAAAAAAAAA',
  previous: 'A'.repeat(43),
  time: '2026-11-22T10:00:00.000Z',
  last: false,
};
const exampleText = formatSealPayload(example);
const problemOf = (text: string): string => {
  const parsed = parseSealPayload(text);
  return parsed.ok ? 'taken' : parsed.error;
};
const lineProblemOf = (text: string): string => {
  const parsed = parseSealLine(text);
  return parsed.ok ? 'taken' : parsed.error;
};

t.test('a seal is written as the documentation says', async () => {
  assert.equal(
    exampleText,
    `{"v":1,"stream":{"id":"host-1","boot":"0123456789abcdef","worker":2},"number":17,"from":1200,"to":1201,"records":2,"hash":"${'A'.repeat(43)}","lines":"AAAAAAAAAAA","previous":"${'A'.repeat(43)}","time":"2026-11-22T10:00:00.000Z"}`,
  );
  const jws = jwsOf(exampleText);
  assert.equal(
    formatSealLine(example, jws),
    `{"stream":{"id":"host-1","boot":"0123456789abcdef","worker":2},"time":"2026-11-22T10:00:00.000Z","event":"audit.seal","seal":{"number":17,"from":1200,"to":1201,"head":"0123456789abcdef.2.17.1201.${sealHash(jws)}"},"jws":"${jws}"}\n`,
  );
  assert.match(formatSealPayload({ ...example, last: true }), /"time":"[^"]+","last":true}$/);
});

t.test('what is written is read back as it was: payload, line and head', async () => {
  fc.assert(
    fc.property(payloads, (payload) => {
      const text = formatSealPayload(payload);
      assert.deepEqual(parseSealPayload(text), { ok: true, value: payload });
      const jws = jwsOf(text);
      const line = formatSealLine(payload, jws);
      assert.deepEqual(parseSealLine(line.slice(0, -1)), {
        ok: true,
        value: { alg: 'EdDSA', kid, payload, jws },
      });
      const { boot, worker } = payload.stream;
      const { number, to } = payload;
      assert.deepEqual(parseHead(formatHead(payload, jws)), {
        ok: true,
        value: { boot, worker, number, to, hash: sealHash(jws) },
      });
    }),
    { seed: 5, numRuns: 300 },
  );
});

t.test('no other byte anywhere in a seal line is taken as the same seal', async () => {
  const line = formatSealLine(example, jwsOf(exampleText)).slice(0, -1);
  fc.assert(
    fc.property(fc.nat({ max: line.length - 1 }), fc.integer({ min: 1, max: 127 }), (at, flip) => {
      const altered =
        line.slice(0, at) + String.fromCharCode(line.charCodeAt(at) ^ flip) + line.slice(at + 1);
      const parsed = parseSealLine(altered);
      // What is signed may have been altered in a way that reads well: then it is another JWS, and its signature is wrong.
      if (parsed.ok) assert.notEqual(parsed.value.jws, jwsOf(exampleText));
    }),
    { seed: 5, numRuns: 2000 },
  );
});

t.test('a payload that seals do not have is refused, and why is said', async () => {
  const cases: readonly (readonly [string, string])[] = [
    ['[]', 'its payload is not a JSON object'],
    ['{', 'its payload is not a JSON object'],
    [exampleText.replace('"v":1', '"v":2'), 'its version is not 1'],
    [exampleText.replace('"worker":2', '"worker":-1'), 'its stream has no id, boot and worker'],
    [exampleText.replace('0123456789abcdef', '01.23'), 'its stream has no id, boot and worker'],
    [exampleText.replace('"number":17', '"number":0'), 'its numbers are not numbers from 1'],
    [exampleText.replace('"records":2', '"records":2.5'), 'its numbers are not numbers from 1'],
    [exampleText.replace('"time":"2026', '"time":"x026'), 'its time is no time'],
    [exampleText.replace('.000Z', 'Z'), 'its time is no time'],
    [exampleText.replace('"to":1201', '"to":1199'), 'its from, to and records contradict each other'],
    [exampleText.replace('"from":1200', '"from":1201'), 'its from, to and records contradict each other'],
    [exampleText.replace('"hash":"A', '"hash":"'), 'its hash is no SHA-256'],
    [exampleText.replace('AAAAAAAAAAA"', 'AAAAAA"'), 'its hash is no SHA-256'],
    [
      exampleText.replace('"lines":"AAAAAAAAAAA"', '"lines":"AAAAAA"'),
      'its lines are not one for each record',
    ],
    [exampleText.replace('"previous":"AAAA', '"previous":"AAA'), 'its previous is no SHA-256'],
    [exampleText.replace(/"previous":"A+"/, '"previous":7'), 'its previous is no hash'],
    [
      exampleText.replace(/"previous":"A+"/, '"previous":null'),
      'only the first seal of a stream has no previous',
    ],
    [exampleText.replace('"number":17', '"number":1'), 'only the first seal of a stream has no previous'],
    [
      exampleText.replace('"number":17', '"number":1').replace(/"previous":"A+"/, '"previous":null'),
      'the first seal of a stream is from 1',
    ],
    [exampleText.replace('{"v":1,', '{"v":1, '), 'its payload is not written as seals are'],
    [
      exampleText.replace('}', '}').replace(/}$/, ',"last":false}'),
      'its payload is not written as seals are',
    ],
    [exampleText.replace(/}$/, ',"more":1}'), 'its payload is not written as seals are'],
  ];
  for (const [text, problem] of cases) assert.equal(problemOf(text), problem, text);
});

t.test('a line whose JWS is not one of a seal is refused, and why is said', async () => {
  const jws = jwsOf(exampleText);
  const [header = '', body = '', signature = ''] = jws.split('.');
  const withJws = (other: string): string => formatSealLine(example, other).slice(0, -1);
  const cases: readonly (readonly [string, string])[] = [
    ['no JSON', 'it has no JWS'],
    ['{"event":"audit.seal"}', 'it has no JWS'],
    [withJws(`${header}.${body}`), 'its JWS has not three parts'],
    [withJws(`${jws}.${signature}`), 'its JWS has not three parts'],
    [withJws(`${header}.${body}.${signature.slice(1)}`), 'its signature is no signature'],
    // The last character's lower four bits are nobody's.
    [withJws(`${header}.${body}.${signature.slice(0, -1)}B`), 'its signature is no signature'],
    [withJws(jwsOf(exampleText, '{"alg":"none"}')), 'its header names no algorithm of seals and key'],
    [
      withJws(jwsOf(exampleText, formatSealHeader('EdDSA', kid).replace('EdDSA', 'HS256'))),
      'its header names no algorithm of seals and key',
    ],
    [
      withJws(jwsOf(exampleText, formatSealHeader('EdDSA', 'key-1'))),
      'its header is not written as seals are',
    ],
    [
      withJws(jwsOf(exampleText, formatSealHeader('ES256', kid).replace('}', ',"jwk":{}}'))),
      'its header is not written as seals are',
    ],
    [
      withJws(`${header}.${Buffer.from([0xff, 0xfe]).toString('base64url')}.${signature}`),
      'its payload is not canonical base64url of UTF-8',
    ],
    [withJws(jws).replace('"from":1200', '"from":1199'), 'its line says something else than its JWS'],
    [` ${withJws(jws)}`, 'its line says something else than its JWS'],
    [`${withJws(jws)}\r`, 'its line says something else than its JWS'],
    [
      formatSealLine({ ...example, number: 18 }, jws).slice(0, -1),
      'its line says something else than its JWS',
    ],
  ];
  for (const [text, problem] of cases) assert.equal(lineProblemOf(text), problem, text);
});

t.test('a text that is no head is refused', async () => {
  const hash = 'A'.repeat(43);
  for (const text of [
    '',
    'b.0.1.1',
    `b.0.1.1.${hash}x`,
    `b.00.1.1.${hash}`,
    `b.0.0.1.${hash}`,
    `b.0.1.01.${hash}`,
    `b.0.1.1.${hash.slice(1)}B`,
    `b.c.0.1.1.${hash}`,
    ` b.0.1.1.${hash}`,
  ]) {
    const parsed = parseHead(text);
    assert.equal(parsed.ok, false, text);
    if (!parsed.ok) assert.match(parsed.error, /^(not a head|its hash is no SHA-256)/);
  }
});
