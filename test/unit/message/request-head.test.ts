import t from 'tap';
import { parseRequestHead } from '../../../src/message/request-head.js';
import { hasPassedThrough, pseudonymOf } from '../../../src/message/via.js';
import { meaningOf } from '../../../src/reasons.js';
import { headOf, namesOf, parseLines, readVectors } from './fixtures.js';

const HOST = 'Host: svc.test';
const reasonOf = (lines: readonly string[], requestLine = 'POST /p HTTP/1.1'): string => {
  const head = parseLines(requestLine, lines);
  return head.ok ? 'ok' : head.error.reason;
};

interface FramingInput {
  readonly raw?: string;
  readonly requestLine?: string;
  readonly headerLines?: readonly string[];
  readonly body?: string;
}
interface FramingExpect {
  readonly outcome: string;
  readonly statusAnyOf?: readonly number[];
}

/** Decided by the head alone; bodies, responses, HTTP/2 and pipelines are run over sockets elsewhere. */
const isHeadVector = (id: string, input: FramingInput): boolean =>
  !/chunk|cl-short|response|h2-|pipelined|misdirected|trailer|bare-lf|headers-too-large/.test(id) &&
  (input.requestLine !== undefined || input.raw !== undefined);

t.test('every http-framing vector that a head decides is judged as the vector says', (t) => {
  let count = 0;
  for (const { id, input, expect, why } of readVectors<FramingInput, FramingExpect>('http-framing')) {
    if (!isHeadVector(id, input)) continue;
    count++;
    const [requestLine = '', ...lines] = input.raw?.replace(/(\r\n)+$/, '').split('\r\n') ?? [
      input.requestLine ?? '',
      ...(input.headerLines ?? []),
    ];
    const isHost = lines.some((line) => line.startsWith('Host:'));
    const head = parseLines(requestLine, isHost ? lines : [HOST, ...lines]);
    if (expect.outcome === 'respond') {
      const status = head.ok ? 200 : meaningOf(head.error.reason).status;
      t.ok(expect.statusAnyOf?.includes(status), `${id}: ${status}: ${why}`);
    } else {
      t.match(expect.outcome, /^forward-or-/, `${id} may be refused`);
      if (!head.ok) t.ok([400].includes(meaningOf(head.error.reason).status), id);
    }
  }
  t.ok(count >= 25, `${count} vectors`);
  t.end();
});

t.test('framing that two servers could read differently is refused as framing_ambiguous', (t) => {
  const cases: readonly (readonly string[])[] = [
    ['Content-Length: 48', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked', 'Content-Length: 4'],
    ['Content-Length: 0', 'Content-Length: 43'],
    ['Content-Length: 43', 'Content-Length: 43'],
    ['Content-Length: 43, 43'],
    ['Content-Length: 5, 43'],
    ...[
      '+43',
      '-1',
      '0x2b',
      '4_3',
      '4 3',
      '',
      '43,',
      '1e1',
      '1.0',
      '18446744073709551617',
      '9007199254740993',
    ].map((value) => [`Content-Length: ${value}`]),
    ['Transfer-Encoding: xchunked', 'Content-Length: 43'],
    ['Transfer-Encoding: xchunked'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'],
    ['Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'],
    ['Transfer-Encoding: chunked, chunked'],
    ['Transfer-Encoding: chunked, gzip'],
    ['Transfer-Encoding: chunked;a=b'],
    ['Transfer-Encoding: "chunked"'],
    ['Transfer-Encoding:'],
    ['Transfer-Encoding: \t', 'Content-Length: 43'],
    ['Transfer-Encoding: ,chunked'],
  ];
  for (const lines of cases) t.equal(reasonOf([HOST, ...lines]), 'framing_ambiguous', lines.join(' | '));
  t.equal(reasonOf([HOST, 'Transfer-Encoding: chunked'], 'POST /p HTTP/1.0'), 'framing_ambiguous');
  t.end();
});

t.test(
  'a transfer coding that exists but is not undone here is refused as transfer_coding_unsupported',
  (t) => {
    for (const coding of ['gzip, chunked', 'gzip', 'deflate,chunked', 'identity']) {
      t.equal(reasonOf([HOST, `Transfer-Encoding: ${coding}`]), 'transfer_coding_unsupported', coding);
    }
    t.end();
  },
);

t.test('sound framing is read once and exactly', (t) => {
  t.same(headOf([]).body, { kind: 'none' });
  t.same(headOf(['Content-Length: 0'], 'POST /a HTTP/1.1').body, { kind: 'length', length: 0 });
  t.same(headOf(['Content-Length: 9007199254740991'], 'POST /a HTTP/1.1').body, {
    kind: 'length',
    length: Number.MAX_SAFE_INTEGER,
  });
  t.same(headOf(['Transfer-Encoding: Chunked'], 'POST /a HTTP/1.1').body, { kind: 'chunked' });
  t.end();
});

t.test('a missing Host is host_missing, several are host_malformed, on HTTP/1.0 too', (t) => {
  t.equal(reasonOf([]), 'host_missing');
  t.equal(reasonOf([], 'GET / HTTP/1.0'), 'host_missing');
  t.equal(reasonOf([HOST, 'Host: locked.test']), 'host_malformed');
  t.equal(reasonOf([HOST, HOST]), 'host_malformed');
  t.equal(reasonOf(['Host:']), 'host_malformed');
  t.end();
});

t.test('methods outside the closed set, TRACE and CONNECT are method_not_allowed', (t) => {
  for (const method of ['TRACE', 'CONNECT', 'get', 'FOO', 'PRI', 'constructor', '__proto__', '']) {
    t.equal(reasonOf([HOST], `${method} /a HTTP/1.1`), 'method_not_allowed', method);
  }
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'PATCH', 'M-SEARCH', 'PROPFIND']) {
    t.equal(reasonOf([HOST], `${method} /a HTTP/1.1`), 'ok', method);
  }
  t.end();
});

t.test('other HTTP versions are http_version_unsupported', (t) => {
  for (const version of ['0.9', '1.2', '2.0', '3', '', '1.1 ']) {
    const head = parseRequestHead('GET', '/', version, ['Host', 'a.test']);
    t.equal(head.ok ? 'ok' : head.error.reason, 'http_version_unsupported', version);
  }
  t.end();
});

t.test('names that are no tokens and values with controls are header_malformed', (t) => {
  const bad: readonly (readonly [string, string])[] = [
    ['X-Spiffe-Id ', 'x'],
    [' X-A', 'x'],
    ['', 'x'],
    ['X:A', 'x'],
    ['X\u0085', 'x'],
    ['X\u0000', 'x'],
    ['X-A\r\nX-B', 'x'],
    ['X-A', 'a\u0000b'],
    ['X-A', 'a\rb'],
    ['X-A', 'a\nb'],
    ['X-A', 'a\u007fb'],
    ['X-A', '\uff11'],
    ['Content-Length', '\uff11'],
    ['X-Spiffe-Id', 'a\r\nX-B: c'],
  ];
  for (const [name, value] of bad) {
    const head = parseRequestHead('GET', '/', '1.1', ['Host', 'a.test', name, value]);
    t.equal(head.ok ? 'ok' : head.error.reason, 'header_malformed', JSON.stringify([name, value]));
  }
  t.same(headOf(['X-A: a\tb', 'X-Latin: J\u00f6rg', 'X-Empty:']).endToEnd, [
    'X-A',
    'a\tb',
    'X-Latin',
    'J\u00f6rg',
    'X-Empty',
    '',
  ]);
  const odd = parseRequestHead('GET', '/', '1.1', ['Host', 'a.test', 'X-A']);
  t.equal(odd.ok ? 'ok' : odd.error.reason, 'request_malformed');
  t.end();
});

t.test('only 100-continue may be expected', (t) => {
  t.equal(headOf(['Expect: 100-Continue']).expectsContinue, true);
  t.equal(headOf([]).expectsContinue, false);
  t.equal(headOf(['Expect: 100-continue'], 'GET /a HTTP/1.0').expectsContinue, false);
  for (const value of ['200-ok', '', '100-continue, 100-continue', '100-continue;a=b']) {
    t.equal(reasonOf([HOST, `Expect: ${value}`]), 'expectation_unsupported', value);
  }
  t.equal(reasonOf([HOST, 'Expect: 100-continue', 'Expect: x']), 'expectation_unsupported');
  t.end();
});

t.test('an upgrade counts only with Connection: upgrade and only in HTTP/1.1', (t) => {
  t.equal(headOf(['Connection: keep-alive, Upgrade', 'Upgrade: WebSocket']).upgrade, 'websocket');
  t.equal(headOf(['Connection: Upgrade', 'Upgrade: h2c', 'Upgrade: websocket']).upgrade, 'h2c, websocket');
  t.equal(headOf(['Upgrade: websocket']).upgrade, undefined);
  t.equal(headOf(['Connection: Upgrade']).upgrade, undefined);
  t.equal(headOf(['Connection: Upgrade', 'Upgrade: websocket'], 'GET /a HTTP/1.0').upgrade, undefined);
  t.end();
});

t.test('Connection with anything but tokens is header_malformed', (t) => {
  for (const value of ['close x', '"close"', 'a;b', 'a=b', '\u00e9']) {
    t.equal(reasonOf([HOST, `Connection: ${value}`]), 'header_malformed', value);
  }
  t.equal(reasonOf([HOST, 'Connection: close, , keep-alive,']), 'ok');
  t.end();
});

t.test('Max-Forwards is ours to count on OPTIONS, bounded, and crosses on other methods', (t) => {
  const options = 'OPTIONS /a HTTP/1.1';
  t.equal(headOf(['Max-Forwards: 0'], options).maxForwards, 0);
  t.equal(headOf(['Max-Forwards: 5'], options).maxForwards, 5);
  t.equal(headOf(['Max-Forwards: 99999999999999999999'], options).maxForwards, 1000);
  t.same(headOf(['Max-Forwards: 0']).endToEnd, ['Max-Forwards', '0']);
  t.equal(headOf(['Max-Forwards: 0']).maxForwards, undefined);
  for (const value of ['-1', '1e3', '', 'x']) {
    t.equal(reasonOf([HOST, `Max-Forwards: ${value}`], options), 'header_malformed', value);
  }
  t.equal(reasonOf([HOST, 'Max-Forwards: 1', 'Max-Forwards: 1'], options), 'header_malformed');
  t.end();
});

t.test('a request that has come round is loop_detected', (t) => {
  for (const via of [
    '1.1 countersign',
    '1.0 fred, 1.1 Countersign (x)',
    '1.1 a (c, \\) ), HTTP/1.1\tcountersign',
  ]) {
    t.equal(reasonOf([HOST, `Via: ${via}`]), 'loop_detected', via);
  }
  t.equal(reasonOf([HOST, 'Via: 1.0 fred', 'Via: 1.1 countersign']), 'loop_detected');
  for (const via of [
    '1.1 countersign-2',
    '1.1 fred (1.1 countersign, x)',
    '1.1 x-countersign',
    'countersign',
  ]) {
    t.equal(reasonOf([HOST, `Via: ${via}`]), 'ok', via);
  }
  t.equal(hasPassedThrough('1.1 a (open, 1.1 me', 'me'), true, 'an unclosed comment hides nothing');
  t.end();
});

t.test('the pseudonym is stable, tells no name and differs between listeners and workloads', (t) => {
  const own = pseudonymOf('spiffe://a.test/web', 'inbound');
  t.match(own, /^countersign-[0-9a-f]{8}$/);
  t.equal(own, pseudonymOf('spiffe://a.test/web', 'inbound'));
  t.not(own, pseudonymOf('spiffe://a.test/web', 'outbound'));
  t.not(own, pseudonymOf('spiffe://a.test/api', 'inbound'));
  t.end();
});

t.test('names of object prototypes are headers like any other', (t) => {
  const head = headOf(['__proto__: x', 'constructor: y', 'toString: z', 'hasOwnProperty: a']);
  t.same(namesOf(head.endToEnd), ['__proto__', 'constructor', 'tostring', 'hasownproperty']);
  t.end();
});

t.test('several lines of one singleton stay several, in order, for policy and upstream alike', (t) => {
  const head = headOf([
    'Authorization: a',
    'Cookie: x=1',
    'Authorization: b',
    'X-Role: user',
    'X-Role: admin',
  ]);
  t.same(head.endToEnd, [
    'Authorization',
    'a',
    'Cookie',
    'x=1',
    'Authorization',
    'b',
    'X-Role',
    'user',
    'X-Role',
    'admin',
  ]);
  t.end();
});
