import t from 'tap';
import { ResponseParser } from '../../../src/upstream/response-parser.js';
import { RecordingSink, readAnswer } from './answers.js';

const OK = 'HTTP/1.1 200 OK\r\n';
const CHUNKED = `${OK}Transfer-Encoding: chunked\r\n\r\n`;

interface Case {
  readonly bytes: string;
  readonly isHead?: boolean;
  readonly ends?: boolean;
}

const answers: Readonly<Record<string, Case>> = {
  'with a length': { bytes: `${OK}Content-Length: 5\r\nX-A: 1\r\n\r\nhello` },
  'with a length of nothing': { bytes: `${OK}Content-Length: 0\r\n\r\n` },
  'in chunks': { bytes: `${CHUNKED}5\r\nhello\r\nA\r\n0123456789\r\n0\r\n\r\n` },
  'in chunks with extensions and trailers': {
    bytes: `${CHUNKED}1;a=b\r\nx\r\n02 ;c="d;\t\x80"\r\nyz\r\n000\r\nX-T: secret\r\nX-U:\r\n\r\n`,
  },
  'until the connection closes': { bytes: `${OK}X-A: 1\r\n\r\nhello\r\n\r\nworld`, ends: true },
  'of HTTP/1.0': {
    bytes: 'HTTP/1.0 404 Not Found\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nno',
  },
  'to HEAD': { bytes: `${OK}Content-Length: 5\r\n\r\n`, isHead: true },
  'that is 204': { bytes: 'HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello' },
  'that is 304': { bytes: 'HTTP/1.1 304\r\nTransfer-Encoding: chunked\r\n\r\n' },
  'after informational ones': {
    bytes: `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 102 \r\n\r\n${OK}Content-Length: 2\r\n\r\nok`,
  },
  'with odd but legal fields': {
    bytes: `HTTP/1.1 599 J\xf6rg\t!\r\nX-Empty:\r\nX-Ows: \t a \t b\t \r\n!#$%&'*+-.^_\`|~09Az:x\r\nX-Obs:\x80\xff\r\nX-Space \t: s\r\nContent-Length:\t2\t\r\nCONTENT-LENGTH: 2\r\n\r\nok`,
  },
  'with something behind it': { bytes: `${OK}Content-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n` },
  'with a large head': {
    bytes: `${OK}${'X-Fill: 0123456789\r\n'.repeat(300)}X-Long: ${'y'.repeat(5000)}\r\nContent-Length: 3\r\n\r\nend`,
  },
};

t.test('an answer reads the same wherever its octets are cut', (t) => {
  for (const [name, { bytes, ...options }] of Object.entries(answers)) {
    const whole = readAnswer([bytes], options);
    t.equal(whole.problem, undefined, name);
    t.equal(whole.isDone, true, name);
    t.same(readAnswer([...bytes], options), whole, `${name}, octet by octet`);
    const step = bytes.length > 1000 ? 37 : 1;
    for (let at = 1; at < bytes.length; at += step) {
      const halves = readAnswer([bytes.slice(0, at), bytes.slice(at)], options);
      if (JSON.stringify(halves) !== JSON.stringify(whole)) t.same(halves, whole, `${name}, cut at ${at}`);
    }
  }
  t.end();
});

const read = (name: string) => readAnswer([answers[name]!.bytes], answers[name]!);

t.test('what an answer says is what is read', (t) => {
  t.match(read('with a length'), { body: 'hello', keepsAlive: true, left: 0 });
  t.same(read('with a length').head, [200, ['Content-Length', '5', 'X-A', '1']]);
  t.match(read('with a length of nothing'), { body: '', keepsAlive: true });
  t.match(read('in chunks'), { body: 'hello0123456789', keepsAlive: true });
  t.match(read('until the connection closes'), { body: 'hello\r\n\r\nworld', keepsAlive: false });
  t.match(read('of HTTP/1.0'), { body: 'no', keepsAlive: true });
  t.match(read('to HEAD'), { body: '', keepsAlive: true });
  t.match(read('that is 304'), { body: '', keepsAlive: true, left: 0 });
  const trailers = read('in chunks with extensions and trailers');
  t.equal(trailers.body, 'xyz');
  t.same(trailers.head, [200, ['Transfer-Encoding', 'chunked']], 'trailers are dropped');
  t.end();
});

t.test('informational answers come before the final one, each with its own fields', (t) => {
  const { informational, head } = read('after informational ones');
  t.same(informational, [
    [100, []],
    [103, ['Link', '</a>', 'Link', '</b>']],
    [102, []],
  ]);
  t.same(head, [200, ['Content-Length', '2']]);
  t.end();
});

t.test('field values lose outer white space only, and octets above ASCII stay', (t) => {
  const { head, body } = read('with odd but legal fields');
  t.equal(body, 'ok');
  t.same(head, [
    599,
    [
      'X-Empty',
      '',
      'X-Ows',
      'a \t b',
      "!#$%&'*+-.^_`|~09Az",
      'x',
      'X-Obs',
      '\x80\xff',
      'X-Space',
      's',
      'Content-Length',
      '2',
      'CONTENT-LENGTH',
      '2',
    ],
  ]);
  t.end();
});

t.test('octets behind an answer are counted, never read', (t) => {
  t.equal(read('that is 204').left, 5);
  t.equal(read('with something behind it').left, 'HTTP/1.1 200 OK\r\n\r\n'.length);
  t.equal(readAnswer([`${CHUNKED}0\r\n\r\nx`]).left, 1);
  const head = readAnswer([`${OK}Content-Length: 5\r\n\r\nhello`], { isHead: true });
  t.match(head, { left: 5, body: '' });
  t.equal(head.head?.[0], 200);
  t.end();
});

t.test('a connection goes on only where both sides agree that it does', (t) => {
  const keeps = (head: string): boolean => readAnswer([`${head}Content-Length: 0\r\n\r\n`]).keepsAlive;
  for (const [head, expected] of [
    ['HTTP/1.1 200 OK\r\n', true],
    ['HTTP/1.1 200 OK\r\nConnection: X-A, Keep-Alive\r\n', true],
    ['HTTP/1.1 200 OK\r\nConnection: close\r\n', false],
    ['HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nConnection: X-A ,\tCLOSE\r\n', false],
    ['HTTP/1.0 200 OK\r\n', false],
    ['HTTP/1.0 200 OK\r\nConnection: x, keep-alive\r\n', true],
    ['HTTP/1.0 200 OK\r\nConnection: keep-alive, close\r\n', false],
  ] as const) {
    t.equal(keeps(head), expected, head);
  }
  t.end();
});

t.test('the time that the upstream keeps an idle connection is read, or nothing is', (t) => {
  const sink = new RecordingSink();
  const parser = new ResponseParser(sink);
  for (const [value, seconds] of [
    ['timeout=5', 5],
    ['max=100, Timeout=15', 15],
    ['timeout=0', 0],
    ['timeout=', undefined],
    ['timeout=5s', undefined],
    ['timeout=-5', undefined],
    ['timeout=99999999999999999999', undefined],
    ['max=100', undefined],
  ] as const) {
    parser.begin(false);
    const bytes = Buffer.from(`${OK}Keep-Alive: ${value}\r\nContent-Length: 0\r\n\r\n`);
    t.equal(parser.push(bytes, bytes.length), bytes.length);
    t.equal(parser.framing.keepAliveSeconds, seconds, value);
  }
  t.end();
});

t.test('one parser reads one answer after another, and nothing of the one before is left', (t) => {
  const sink = new RecordingSink();
  const parser = new ResponseParser(sink);
  for (const bytes of [
    `${CHUNKED}3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n`,
    `${OK}Connection: close\r\nContent-Length: 0\r\n\r\n`,
    `HTTP/1.1 103 Hints\r\n\r\n${OK}Content-Length: 1\r\n\r\nx`,
  ]) {
    parser.begin(false);
    const buffer = Buffer.from(bytes);
    t.equal(parser.push(buffer, buffer.length), buffer.length);
    t.equal(parser.isDone, true);
    t.equal(parser.keepsAlive, !bytes.includes('close'));
  }
  t.equal(sink.read.body, 'abcx');
  t.end();
});

const refusals: Readonly<Record<string, readonly string[]>> = {
  'a malformed status line': [
    'HTTP/1.1 banana\r\n\r\n',
    'HTTP/1.1 20\r\n\r\n',
    'HTTP/1.1 2000 OK\r\n\r\n',
    'HTTP/1.1  200 OK\r\n\r\n',
    'HTTP/1.1\t200 OK\r\n\r\n',
    'HTTP/1.1 200\tOK\r\n\r\n',
    'HTTP/1.1 099 OK\r\n\r\n',
    'HTTP/1.1 600 OK\r\n\r\n',
    'HTTP/1.1 +20 OK\r\n\r\n',
    'HTTP/1.1 200 O\0K\r\n\r\n',
    'HTTP/1.1 200 O\rK\r\n\r\n',
    'HTTP/1.1 200 OK\r\r\n\r\n',
    'HTTP/1.2 200 OK\r\n\r\n',
    'HTTP/1.10 200 OK\r\n\r\n',
  ],
  'not HTTP/1': [
    'HTTP/2 200 OK\r\n\r\n',
    'http/1.1 200 OK\r\n\r\n',
    ' HTTP/1.1 200 OK\r\n\r\n',
    '\r\nHTTP/1.1 200 OK\r\n\r\n',
    'ICY 200 OK\r\n\r\n',
    '\n',
    'SSH-2.0',
    '\x15\x03\x01\x00\x02',
    'h',
    'HTTP/2',
    'HTTP/1x',
  ],
  'a line ends without CR': ['HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n', 'HTTP/1.\n'],
  'a control character, or a line that ends without CR LF': [
    `${OK}X-A: 1\nContent-Length: 0\r\n\r\n`,
    `${OK}X-A: a\rSet-Cookie: x=1\r\n\r\n`,
    `${OK}X-A: a\0b\r\n\r\n`,
    `${OK}X-A: a\x7f\r\n\r\n`,
    `${OK}X-A: a\x0b\r\n\r\n`,
    `${OK}X-A: \r\r\n\r\n`,
  ],
  'a field name is not a token': [
    `${OK}X A: 1\r\n\r\n`,
    `${OK}: 1\r\n\r\n`,
    `${OK}X\xe9: 1\r\n\r\n`,
    `${OK}X-A\r\n\r\n`,
    `${OK}X-A \r\n\r\n`,
    `${OK}X\0A: 1\r\n\r\n`,
    `${OK}\rX-A: 1\r\n\r\n`,
    `${OK}\nX-A: 1\r\n\r\n`,
    `${OK}"X": 1\r\n\r\n`,
  ],
  'a field line that folds': [
    `${OK}X-A: 1\r\n b\r\n\r\n`,
    `${OK}\tX-A: 1\r\n\r\n`,
    `${OK}X-A: 1\r\n\t\r\n\r\n`,
  ],
  'white space behind Content-Length': [`${OK}Content-Length : 2\r\n\r\nok`],
  'white space behind TRANSFER-ENCODING': [`${OK}TRANSFER-ENCODING\t: chunked\r\n\r\n0\r\n\r\n`],
  'more than 65536 bytes of head': [
    `${OK}X-A: ${'a'.repeat(66_000)}\r\n\r\n`,
    `${OK}${'X-A: aaaaaaaa\r\n'.repeat(6000)}\r\n`,
    'HTTP/1.1 200 '.padEnd(70_000, 'x'),
  ],
  'Content-Length and Transfer-Encoding': [
    `${OK}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    `${OK}Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n`,
    'HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n',
  ],
  'Content-Length is not a number': [
    '+2',
    '-2',
    '0x2',
    '2, 2',
    '2,3',
    '',
    '2 2',
    '2.0',
    '1e2',
    '9007199254740992',
    '18446744073709551617',
  ].map((length) => `${OK}Content-Length: ${length}\r\n\r\nok`),
  'different Content-Length lines': [`${OK}Content-Length: 2\r\nContent-Length: 3\r\n\r\nokk`],
  'Transfer-Encoding is not exactly chunked': [
    'gzip',
    'gzip, chunked',
    'chunked, chunked',
    'identity',
    'xchunked',
    '',
    'chunked;a=b',
    'chunked\r\nTransfer-Encoding: chunked',
  ].map((coding) => `${OK}Transfer-Encoding: ${coding}\r\n\r\n0\r\n\r\n`),
  'Transfer-Encoding in HTTP/1.0': ['HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n'],
  'a switch of protocols that nobody asked for': [
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n',
  ],
  'too many informational answers': ['HTTP/1.1 100 Continue\r\n\r\n'.repeat(17)],
  'a malformed chunk size': ['', ';a=b', ' 5', '-5', '+5', '0x5', '5g', 'G', '5,5', '5 5', '5\x0b'].map(
    (size) => `${CHUNKED}${size}\r\nhello\r\n0\r\n\r\n`,
  ),
  'a chunk size of over 13 digits': [
    `${CHUNKED}fffffffffffffffff\r\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}00000000000005\r\nhello\r\n0\r\n\r\n`,
  ],
  'a chunk size ends without CR LF': [
    `${CHUNKED}5\rhello\r\n0\r\n\r\n`,
    `${CHUNKED}5\r\r\nhello\r\n0\r\n\r\n`,
  ],
  'a malformed chunk extension': [
    `${CHUNKED}5;a=b\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}5;a="\n"\r\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}5;a\0\r\nhello\r\n0\r\n\r\n`,
  ],
  'too many chunk extensions': [
    `${CHUNKED}5;${'b'.repeat(1024 * 1024)}\r\nhello\r\n0\r\n\r\n`,
    `${CHUNKED}${`1;${'b'.repeat(1000)}\r\nx\r\n`.repeat(17)}`,
    `${CHUNKED}5${' '.repeat(20_000)};a\r\nhello\r\n0\r\n\r\n`,
  ],
  'a chunk is longer than its size': [
    `${CHUNKED}5\r\nhello!\r\n0\r\n\r\n`,
    `${CHUNKED}5\r\nhelloXX0\r\n\r\n`,
    `${CHUNKED}5\r\nhello\n0\r\n\r\n`,
    `${CHUNKED}5\r\nhello\r0\r\n\r\n`,
  ],
  'in a trailer: a field name is not a token': [`${CHUNKED}0\r\nno colon\r\n\r\n`],
  'in a trailer: a field line that folds': [`${CHUNKED}0\r\nX-T: 1\r\n 2\r\n\r\n`],
  'in a trailer: a control character, or a line that ends without CR LF': [`${CHUNKED}0\r\nX-T: 1\n\r\n`],
  'in a trailer: more than 65536 bytes of head': [`${CHUNKED}0\r\n${'X-T: aaaa\r\n'.repeat(8000)}\r\n`],
};

for (const [problem, inputs] of Object.entries(refusals)) {
  t.test(`refused, in one piece and octet by octet: ${problem}`, (t) => {
    for (const bytes of inputs) {
      const shown = JSON.stringify(bytes.slice(0, 80));
      for (const pieces of [
        [bytes],
        bytes.length > 100_000 ? [bytes.slice(0, 40_000), bytes.slice(40_000)] : [...bytes],
      ]) {
        const seen = readAnswer(pieces, { ends: true });
        t.equal(seen.problem, problem, shown);
        t.equal(seen.isDone, false, shown);
        t.equal(seen.keepsAlive, false, shown);
      }
    }
    t.end();
  });
}

t.test('an answer whose head is malformed is never begun', (t) => {
  for (const [problem, inputs] of Object.entries(refusals)) {
    if (/chunk|trailer/.test(problem) && !problem.startsWith('Transfer')) continue;
    for (const bytes of inputs)
      t.equal(readAnswer([bytes]).head, undefined, JSON.stringify(bytes.slice(0, 80)));
  }
  t.end();
});

t.test('16 informational answers are fine, and they never end one', (t) => {
  const seen = readAnswer([`${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(16)}${OK}Content-Length: 0\r\n\r\n`]);
  t.equal(seen.problem, undefined);
  t.equal(seen.informational.length, 16);
  t.equal(seen.isDone, true);
  t.equal(readAnswer(['HTTP/1.1 103 Hints\r\nContent-Length: 0\r\n\r\n'], { ends: true }).isDone, false);
  t.end();
});

t.test('an answer that the end of the connection cuts short is not whole', (t) => {
  for (const bytes of [
    '',
    'HTTP/1.1 200 OK\r\n',
    `${OK}Content-Le`,
    `${OK}Content-Length: 5\r\n\r\nhell`,
    `${CHUNKED}5\r\nhel`,
    `${CHUNKED}5\r\nhello\r\n`,
    `${CHUNKED}5\r\nhello\r\n0\r\n`,
    `${CHUNKED}5\r\nhello\r\n0\r\nX-T: 1\r\n`,
  ]) {
    const seen = readAnswer([bytes], { ends: true });
    t.equal(seen.isDone, false, JSON.stringify(bytes));
    t.equal(seen.keepsAlive, false);
  }
  t.end();
});

t.test('a head in crumbs costs no more than its length', (t) => {
  const bytes = `${OK}X-A: ${'a'.repeat(60_000)}\r\nContent-Length: 0\r\n\r\n`;
  const before = process.cpuUsage();
  t.equal(readAnswer([...bytes]).isDone, true);
  const { user } = process.cpuUsage(before);
  t.ok(user < 1_000_000, `${user} µs`);
  t.end();
});
