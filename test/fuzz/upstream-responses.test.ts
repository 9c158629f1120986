import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import t from 'tap';
import { ResponseFraming } from '../../src/upstream/response-framing.js';
import { readAnswer } from '../unit/upstream/answers.js';

const SEED = 20_261_122;

const octets = (maxLength: number): fc.Arbitrary<string> =>
  fc.uint8Array({ maxLength }).map((bytes) => Buffer.from(bytes).toString('latin1'));
const name = fc
  .stringMatching(/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}$/)
  .filter((text) => !/^(content-length|transfer-encoding|connection)$/i.test(text));
const value = octets(30).map((text) =>
  text.replace(/[^\t\x20-\x7e\x80-\xff]/g, '').replace(/^[ \t]+|[ \t]+$/g, ''),
);
const fields = fc.array(fc.tuple(name, value), { maxLength: 8 });
const status = fc.integer({ min: 200, max: 599 }).filter((code) => code !== 204 && code !== 304);
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 30 });

interface Answer {
  readonly status: number;
  readonly fields: readonly (readonly [string, string])[];
  readonly hints: readonly (readonly (readonly [string, string])[])[];
  readonly pieces: readonly string[];
  readonly framing: 'length' | 'chunked' | 'close';
  readonly extension: string;
  readonly padding: string;
}
const answer: fc.Arbitrary<Answer> = fc.record({
  status,
  fields,
  hints: fc.array(fields, { maxLength: 3 }),
  pieces: fc.array(octets(60), { maxLength: 6 }),
  framing: fc.constantFrom('length', 'chunked', 'close'),
  extension: fc.constantFrom('', ';a', ';a=b', ' ;a="b c"', '\t;\xff'),
  padding: fc.constantFrom('', ' ', '\t '),
});

const lines = (list: Answer['fields'], padding: string): string =>
  list.map(([key, text]) => `${key}:${padding}${text}${padding}\r\n`).join('');
const chunk = (text: string, extension: string): string =>
  text === '' ? '' : `${text.length.toString(16)}${extension}\r\n${text}\r\n`;

function format(from: Answer): string {
  const { framing, pieces, padding, extension } = from;
  const body = pieces.join('');
  const hints = from.hints.map((list) => `HTTP/1.1 103 Hints\r\n${lines(list, padding)}\r\n`).join('');
  const head = `${hints}HTTP/1.1 ${from.status} Reason\r\n${lines(from.fields, padding)}`;
  if (framing === 'length') return `${head}Content-Length: ${body.length}\r\n\r\n${body}`;
  if (framing === 'close') return `${head}\r\n${body}`;
  const chunks = pieces.map((piece) => chunk(piece, extension)).join('');
  return `${head}Transfer-Encoding: chunked\r\n\r\n${chunks}0${extension}\r\n${lines(from.fields, '')}\r\n`;
}

/** The text in pieces of these sizes, over and over. */
function cutUp(text: string, sizes: readonly number[]): string[] {
  const out: string[] = [];
  for (let at = 0, i = 0; at < text.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    out.push(text.slice(at, at + size));
    at += size;
  }
  return out;
}

t.test('what was formatted is what is read, however it is cut', (t) => {
  fc.assert(
    fc.property(answer, cuts, (original, sizes) => {
      const read = readAnswer(cutUp(format(original), sizes), { ends: original.framing === 'close' });
      const own = { length: ['Content-Length'], chunked: ['Transfer-Encoding'], close: [] }[original.framing];
      const [code, seen = []] = read.head ?? [];
      const added = seen.slice(original.fields.length * 2);
      return isDeepStrictEqual(
        [
          read.problem,
          read.isDone,
          read.left,
          read.body,
          read.informational,
          code,
          seen.slice(0, -added.length || undefined),
          added.slice(0, 1),
        ],
        [
          undefined,
          true,
          0,
          original.pieces.join(''),
          original.hints.map((list) => [103, list.flat()]),
          original.status,
          original.fields.flat(),
          own,
        ],
      );
    }),
    { numRuns: 1000, seed: SEED },
  );
  t.end();
});

t.test('what stands behind an answer is never part of it', (t) => {
  fc.assert(
    fc.property(answer, octets(40), cuts, (original, behind, sizes) => {
      if (original.framing === 'close') return true;
      const text = format(original);
      const alone = readAnswer([text]);
      const read = readAnswer(cutUp(text + behind, sizes));
      return read.left === behind.length && JSON.stringify({ ...read, left: 0 }) === JSON.stringify(alone);
    }),
    { numRuns: 1000, seed: SEED },
  );
  t.end();
});

t.test('an answer that is cut short is never whole', (t) => {
  let tried = 0;
  fc.assert(
    fc.property(answer, fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }), (original, share) => {
      const text = format(original);
      if (original.framing === 'close') return true;
      tried++;
      const read = readAnswer([text.slice(0, Math.floor(text.length * share))], { ends: true });
      return !read.isDone && !read.keepsAlive && read.problem === undefined;
    }),
    { numRuns: 2000, seed: SEED },
  );
  t.ok(tried > 500, `${tried} answers`);
  t.end();
});

const fragment = fc.oneof(
  fc.constantFrom(
    'HTTP/1.1 200 OK\r\n',
    'HTTP/1.0 200 OK\r\n',
    'HTTP/1.1 103 x\r\n',
    'HTTP/1.1 304\r\n',
    'Content-Length: 3\r\n',
    'Content-Length : 3\r\n',
    'Transfer-Encoding: chunked\r\n',
    'Connection: close\r\n',
    'X-A: b\r\n',
    '\r\n',
    '\r',
    '\n',
    '3\r\nabc\r\n',
    '3;x\r\nabc\r\n',
    '0\r\n\r\n',
    ' ',
    ':',
    'abc',
  ),
  octets(8),
);

t.test('no input makes the parser throw, and how it is cut changes nothing', (t) => {
  const seen = { whole: 0, refused: 0, open: 0 };
  fc.assert(
    fc.property(
      fc.constantFrom('', 'HTTP/1.1 200 OK\r\n', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'),
      fc.array(fragment, { maxLength: 12 }),
      cuts,
      fc.boolean(),
      fc.boolean(),
      (start, parts, sizes, isHead, ends) => {
        const text = start + parts.join('');
        const whole = readAnswer([text], { isHead, ends });
        const cut = readAnswer(cutUp(text, sizes), { isHead, ends });
        const key = whole.isDone ? 'whole' : whole.problem !== undefined ? 'refused' : 'open';
        seen[key]++;
        if (whole.isDone && whole.problem !== undefined) return false;
        for (const list of [whole.head?.[1] ?? [], ...whole.informational.map(([, each]) => each)]) {
          if (list.some((each) => /[\0-\x08\x0a-\x1f\x7f]|[^\0-\xff]/.test(each))) return false;
        }
        return JSON.stringify(cut) === JSON.stringify(whole);
      },
    ),
    { numRuns: 20_000, seed: SEED },
  );
  t.ok(seen.whole > 500 && seen.refused > 500 && seen.open > 500, JSON.stringify(seen));
  t.end();
});

t.test('framing is read of any fields without throwing, and never both ways', (t) => {
  const framing = new ResponseFraming();
  const key = fc.constantFrom('Content-Length', 'transfer-encoding', 'CONNECTION', 'Keep-Alive', 'X-A');
  const text = fc.oneof(
    fc.constantFrom('3', 'chunked', 'Chunked', 'close', 'keep-alive', 'timeout=3'),
    octets(12),
  );
  fc.assert(
    fc.property(fc.boolean(), fc.array(fc.tuple(key, text), { maxLength: 5 }), (isHttp11, list) => {
      const problem = framing.read(isHttp11, list.flat());
      if (problem !== undefined) return true;
      const isChunked = list.some(([each]) => each === 'transfer-encoding');
      const hasLength = list.some(([each]) => each === 'Content-Length');
      return (
        framing.isChunked === isChunked &&
        (framing.length !== undefined) === hasLength &&
        !(isChunked && (hasLength || !isHttp11))
      );
    }),
    { numRuns: 5000, seed: SEED },
  );
  t.end();
});
