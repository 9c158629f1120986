import t from 'tap';
import { rewriteRequest } from '../../../src/message/rewrite-request.js';
import { formatTraceparent, parseTraceparent, parseTracestate } from '../../../src/message/trace-context.js';
import { contextOf, headOf, readVectors, valuesOf } from './fixtures.js';

interface Expect {
  readonly outcome: string;
  readonly allowed?: readonly string[];
  readonly traceId?: string;
  readonly tracestate?: string | null;
  readonly tracestateAnyOf?: readonly (string | null)[];
  readonly sampled?: boolean;
  readonly random?: boolean;
}

const NEW_TRACE = 'a'.repeat(32);
const NEW_SPAN = 'b'.repeat(16);

t.test('every trace-context vector is continued or restarted as the vector says', (t) => {
  for (const { id, input, expect } of readVectors<{ headers: [string, string][] }, Expect>('trace-context')) {
    const head = headOf(input.headers.map(([name, value]) => `${name}: ${value}`));
    const { headers, traceId } = rewriteRequest(head, contextOf());
    const outcome = expect.outcome === 'policy' ? expect.allowed?.[0] : expect.outcome;
    const wanted = outcome === 'continue' ? expect.traceId : NEW_TRACE;
    t.equal(traceId, wanted, id);
    const [sent = '', ...more] = valuesOf(headers, 'traceparent');
    t.same(more, [], id);
    t.match(sent, new RegExp(`^00-${wanted}-${NEW_SPAN}-0[0-3]$`), id);
    const state = valuesOf(headers, 'tracestate')[0] ?? null;
    if (expect.tracestate !== undefined) t.equal(state, expect.tracestate, id);
    if (expect.tracestateAnyOf !== undefined) t.ok(expect.tracestateAnyOf.includes(state), id);
    if (outcome === 'restart') t.equal(state, null, `${id}: no state without its parent`);
    if (expect.sampled === true) t.match(sent, /-0[13]$/, id);
    if (expect.random === true) t.match(sent, /-0[23]$/, id);
  }
  t.end();
});

t.test('unknown flags are zero when they are written again', (t) => {
  for (const [flags, known] of [
    ['02', 2],
    ['03', 3],
    ['fe', 2],
    ['ff', 3],
    ['00', 0],
  ] as const) {
    const parent = parseTraceparent(`00-${'1'.repeat(32)}-${'2'.repeat(16)}-${flags}`);
    t.equal(parent?.flags, known, flags);
  }
  t.equal(formatTraceparent(NEW_TRACE, NEW_SPAN, 255), `00-${NEW_TRACE}-${NEW_SPAN}-03`);
  t.end();
});

t.test('a traceparent that is not exactly one is no traceparent', (t) => {
  const good = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;
  t.ok(parseTraceparent(good));
  const bad = [
    '',
    good.slice(0, -1),
    `${good}-`,
    `cc${good.slice(2)}.`,
    `cc${good.slice(2)}x`,
    `FF${good.slice(2)}`,
    good.replace('-01', '-0G'),
    good.replace('1-2', '1_2'),
    `00-${'0'.repeat(32)}-${'2'.repeat(16)}-01`,
    `${good},${good}`,
  ];
  for (const text of bad) t.equal(parseTraceparent(text), undefined, text);
  t.end();
});

t.test('tracestate is combined, checked as a whole and cut by whole entries', (t) => {
  const member = (at: number, length = 3): string => `k${at}=${'v'.repeat(length)}`;
  const of = (count: number): string => Array.from({ length: count }, (_, at) => member(at)).join(',');
  t.equal(parseTracestate(' a=1 ,\t, b=2'), 'a=1,b=2');
  t.equal(parseTracestate(of(32)), of(32));
  t.equal(parseTracestate(of(33)), undefined, 'over 32 members');
  const long = Array.from({ length: 12 }, (_, at) => member(at, 60)).join(',');
  const cut = parseTracestate(long) ?? '';
  t.ok(cut.length <= 512 && cut.length > 400 && long.startsWith(`${cut},`));
  const withLarge = `big=${'v'.repeat(200)},${Array.from({ length: 6 }, (_, at) => member(at, 60)).join(',')}`;
  t.notMatch(parseTracestate(withLarge), /big=/, 'entries over 128 go first');
  for (const bad of [
    'foo',
    '=1',
    'foo=',
    'FOO=1',
    'foo=a=b',
    'foo=1,foo=2',
    'a@=1',
    '@a=1',
    'a@b@c=1',
    'f\u00f6=1',
    'foo=\u00e9',
  ]) {
    t.equal(parseTracestate(bad), undefined, bad);
  }
  for (const good of [
    '0a=1',
    'a_-*/=1',
    `${'t'.repeat(241)}@${'v'.repeat(14)}=1`,
    `foo=${'v'.repeat(256)}`,
  ]) {
    t.equal(parseTracestate(good), good, good);
  }
  for (const bad of [
    `${'t'.repeat(242)}@v=1`,
    `t@${'v'.repeat(15)}=1`,
    `foo=${'v'.repeat(257)}`,
    `${'k'.repeat(257)}=1`,
  ]) {
    t.equal(parseTracestate(bad), undefined, bad);
  }
  t.end();
});
