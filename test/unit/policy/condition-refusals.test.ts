import t from 'tap';
import { compileCondition } from '../../../src/policy/condition.js';
import { READS } from '../../support/condition-input.js';

/** Text, offset of the problem in it, and what the message says. */
const refused: readonly (readonly [string, number, string])[] = [
  // names
  ['true && foo', 8, 'foo is nothing that a condition can read; it can read request, principal'],
  ['delegation.nope > 0', 11, 'delegation has no field nope; it has subject'],
  ['delegation == delegation', 0, 'name a field of delegation'],
  ['true && request.nope == "a"', 16, 'request has no field nope'],
  ['request.method.size == 1', 15, 'there is no field size here'],
  ['request == request', 0, 'name a field of request'],
  ['request["method"] == "GET"', 0, 'name a field of request'],
  ['has(request.nope)', 0, 'has() is for request.headers.name'],
  ['has(principal.owner)', 0, 'has() is for request.headers.name'],
  ['has(request.headers)', 0, 'has() is for request.headers.name'],
  ['has(request.headers.other)', 0, 'is not listed under reads.headers'],
  ['request.headers["x-other"] == "a"', 0, 'is not listed under reads.headers'],
  ['"x-other" in request.headers', 0, 'is not listed under reads.headers'],
  ['request.query["x-region"] == "a"', 0, 'is not listed under reads.query'],
  ['request.headers["X-Region"] == "a"', 0, 'header names are written in lower case'],
  ['request.headers[request.method] == "a"', 24, 'must be written out'],
  ['request.method in request.headers', 8, 'must be written out'],
  ['size(request.headers) > 0', 13, 'is read by name'],
  ['request.headers == request.query', 8, 'is read by name'],
  ['request.headers.all(h, h == "a")', 0, 'goes over request.segments'],
  ['_s0 == "a"', 0, '_s0 is nothing that a condition can read'],
  ['_d0 > duration("1s")', 0, '_d0 is nothing that a condition can read'],
  [
    'google.protobuf.Timestamp == google.protobuf.Timestamp',
    0,
    'google is nothing that a condition can read',
  ],
  // prototypes
  ['request.constructor == "a"', 8, 'request has no field constructor'],
  ['request.__proto__ == "a"', 8, 'request has no field __proto__'],
  ['request.headers["constructor"] == "a"', 0, 'is not listed under reads.headers'],
  ['request.headers.toString == "a"', 16, 'is not listed under reads.headers'],
  ['request["__proto__"] == "a"', 0, 'name a field of request'],
  ['constructor == "a"', 0, 'constructor is nothing that a condition can read'],
  ['__proto__ == "a"', 0, 'Reserved identifier'],
  ['request.method.toString() == "a"', 0, 'toString() cannot be used in a condition'],
  ['request.segments.constructor == "a"', 17, 'there is no field constructor here'],
  ['valueOf() == "a"', 0, 'valueOf() cannot be used in a condition'],
  // types
  ['request.headers["x-region"] == 5', 0, 'no such overload: string == int'],
  ['request.path', 0, 'gives string, not true or false'],
  ['now', 0, 'gives timestamp, not true or false'],
  ['1 + 1', 0, 'gives int, not true or false'],
  ['request.method && true', 0, "requires bool operands, got 'string'"],
  ['!request.method', 0, 'no such overload: !string'],
  ['request.method < "a"', 0, '< compares numbers, timestamps and durations, not string'],
  ['request.path + "a" == "b"', 0, '+ adds numbers, timestamps and durations, not string'],
  ['request.segments + ["a"] == ["a"]', 0, '+ adds numbers, timestamps and durations, not list<string>'],
  ['now - now > duration("1s")', 0, 'times cannot be subtracted from each other'],
  ['true in [true]', 0, 'in looks for texts and numbers, not bool'],
  ['now > duration("1s")', 0, 'no such overload: timestamp > duration'],
  ['"a" in request.method', 0, 'no such overload: string in string'],
  ['request.segments["a"] == "a"', 0, "List index must be int, got 'string'"],
  ['size(request.method) > 1', 0, 'size() is for lists'],
  ['request.method.size() > 1', 0, 'size() is for lists'],
  ['credential.age.getMilliseconds() > 1', 0, 'getMilliseconds() is for timestamps'],
  ['credential.age.getFullYear() > 1', 0, 'no matching overload'],
  ['true ? true : "a"', 0, 'Ternary branches must have the same type'],
  ['[true] == [true]', 0, 'its type is none that a condition may use'],
  ['["a", 1] == ["a", 1]', 6, 'List elements must have the same type'],
  ['[["a"]] == [["a"]]', 0, 'its type is none that a condition may use'],
  ['request.method in []', 18, 'the list is empty'],
  ['1.5 > 1.0', 0, 'conditions have whole numbers'],
  ['1u == 1u', 0, 'conditions have whole numbers'],
  ['null == null', 0, 'conditions have whole numbers'],
  ['b"a" == b"a"', 0, 'conditions have whole numbers'],
  ['{"a": 1} == {"a": 1}', 0, 'conditions have no maps'],
  ['9223372036854775808 > 1', 0, 'the number is too large'],
  // functions
  ['dyn(request.method) == 1', 0, 'dyn() cannot be used in a condition: types are checked on load'],
  ['type(request.method) == string', 0, 'type() cannot be used in a condition'],
  ['request.path.matches("a")', 0, 'matches() cannot be used in a condition: a pattern can take seconds'],
  ['string(1) == "1"', 0, 'string() cannot be used in a condition'],
  ['int("1") == 1', 0, 'int() cannot be used in a condition'],
  ['bool("true")', 0, 'bool() cannot be used in a condition'],
  ['bytes(request.path) == b""', 0, 'bytes() cannot be used in a condition'],
  ['request.path.split("/") == ["a"]', 0, 'split() cannot be used in a condition'],
  ['request.segments.join() == "a"', 0, 'join() cannot be used in a condition'],
  ['request.path.lowerAscii() == "a"', 0, 'lowerAscii() cannot be used in a condition'],
  ['request.path.substring(1) == "a"', 0, 'substring() cannot be used in a condition'],
  ['request.path.indexOf("a") == 1', 0, 'indexOf() cannot be used in a condition'],
  ['request.segments.map(s, s) == ["a"]', 0, 'map() cannot be used in a condition'],
  ['request.segments.filter(s, true) == ["a"]', 0, 'filter() cannot be used in a condition'],
  ['cel.bind(x, true, x)', 0, 'bind() cannot be used in a condition'],
  [
    'now.getDayOfYear() == 1',
    0,
    'getDayOfYear() cannot be used in a condition: use getMonth() and getDate()',
  ],
  ['now.getHours("UTC") == 1', 0, 'getHours() takes no time zone: it reads UTC'],
  ['request.path.contains(request.method)', 0, 'contains() takes a text that is written out'],
  [`request.path.contains("${'a'.repeat(129)}")`, 0, 'of at most 128 characters'],
  ['request.path.startsWith()', 0, 'startsWith() takes one argument'],
  ['size(1, 2) == 1', 0, 'size() takes one argument'],
  // macros
  ['request.segments.exists(a, principal.segments.exists(b, a == b))', 27, 'may not stand in another'],
  ['["a"].exists(a, ["b"].all(b, a == b))', 16, 'may not stand in another'],
  ['request.segments.exists(request, true)', 24, 'choose another name than request'],
  ['request.segments.exists(now, true)', 24, 'choose another name than now'],
  ['request.segments.exists(_s0, true)', 24, 'choose another name than _s0'],
  ['request.segments.exists("s", true)', 24, 'invalid predicate iteration variable'],
  ['request.segments.exists(s, s.size == 1)', 29, 'there is no field size here'],
  ['request.segments.exists(s, s)', 27, "predicate must return bool, got 'string'"],
  ['request.segments.exists(s, true) && s == "a"', 36, 's is nothing that a condition can read'],
  ['request.path.exists(s, true)', 0, 'goes over request.segments'],
  // times
  ['now < timestamp("2026-12-01")', 16, 'a timestamp is written as'],
  ['now < timestamp("2026-12-01T00:00:00")', 16, 'with Z or an offset'],
  ['now < timestamp("2026-02-30T00:00:00Z")', 16, 'is no time'],
  ['now < timestamp("2026-12-01T24:00:00Z")', 16, 'is no time'],
  ['now < timestamp("2026-12-01T00:00:00+24:00")', 16, 'is no time'],
  ['now < timestamp(1)', 6, 'timestamp() takes a text that is written out'],
  ['now < timestamp(request.path)', 6, 'timestamp() takes a text that is written out'],
  ['credential.age < duration("1d")', 26, 'a day is "24h"'],
  ['credential.age < duration("m")', 26, 'a duration is written in'],
  ['credential.age < duration("1.5h")', 26, 'a duration is written in'],
  ['credential.age < duration("")', 26, 'a duration is written in'],
  ['credential.age < duration("999999999h")', 26, 'at most 100 years'],
  ['credential.age < duration(request.path)', 17, 'duration() takes a text that is written out'],
  // grammar
  ['', 0, 'is empty'],
  [' \n ', 0, 'is empty'],
  ['request.method ==', 17, 'Unexpected token: the end'],
  ['(true', 5, 'Expected ")", got the end'],
  ['"a', 0, 'Unterminated string'],
  ['request.?method == "a"', 8, 'Expected a name, got "?"'],
  ['true; true', 4, 'Unexpected character: ;'],
  ['request.method = "GET"', 15, 'Unexpected character: =: write == to compare'],
  ['request.method == "GET" and true', 24, 'write && for and'],
  ['request.method == "GET" OR true', 24, 'write || for or'],
  ['not connection.resumed', 4, 'write ! for not'],
  ['connection.resumed & true', 19, 'write && for and'],
  ['true // always', 5, 'a condition holds no comments'],
  ['request.path == "//" // always', 21, 'a condition holds no comments'],
  ['(request).headers["x-region"] == "a"', 1, 'write the name without brackets around parts of it'],
  ['"x-region" in (request.headers)', 0, 'write the name without brackets around parts of it'],
  // unseen characters
  ['true\u0000', 4, 'U+0000 cannot be seen'],
  ['request.path == "\ud800"', 17, 'U+D800 cannot be seen'],
  ['request.path == "\u202e"', 17, 'U+202E cannot be seen'],
  ['request.path == "\u200b"', 17, 'U+200B cannot be seen'],
  ['request.path == "\\ud800"', 17, 'Invalid Unicode surrogate'],
  ['\ufefftrue', 0, 'U+FEFF cannot be seen'],
];

t.test('what is not listed is refused, with its place and what to do', async (t) => {
  for (const [text, offset, message] of refused) {
    const result = compileCondition(text, READS);
    if (result.ok) {
      t.fail(`compiled: ${text}`);
      continue;
    }
    t.ok(result.error.message.includes(message), `${text}: ${result.error.message}`);
    t.equal(result.error.offset, offset, `${text}: offset`);
    t.ok(result.error.message.length <= 250, 'short enough to read');
  }
});

t.test('size, depth and cost have bounds', async (t) => {
  const big: readonly (readonly [string, string])[] = [
    [`request.path == "${'a'.repeat(2048)}"`, 'is longer than 2048 characters'],
    [`${'('.repeat(1000)}true${')'.repeat(1000)}`, 'is too large'],
    [`${'['.repeat(1000)}1${']'.repeat(1000)} == [1]`, 'is too large'],
    [`${'!'.repeat(2000)}true`, 'is too large'],
    [`${'-'.repeat(2000)}1 == 1`, 'is too large'],
    [`${'!'.repeat(100)}true`, 'is nested more than 64 deep'],
    [`true${' && true'.repeat(250)}`, 'is too large'],
    [`true${' && true'.repeat(100)}`, 'is nested more than 64 deep'],
    [`true${' ? true : true'.repeat(100)}`, 'is too large'],
    [`now${' + duration("1s")'.repeat(17)} > now`, 'at most 16 sums'],
    [
      'request.segments.all(s, s == "a")'.concat(' && request.segments.all(s, s == "a")'.repeat(6)),
      'steps, more than 4000',
    ],
    ['request.segments.all(s, request.segments[size(request.segments)] == s)', 'steps, more than 4000'],
    ['request.segments.all(s, s in request.segments)', 'steps, more than 4000'],
    ['request.segments.all(s, request.path.contains("a"))', 'steps, more than 4000'],
    [
      Array.from({ length: 33 }, (_, i) => `credential.age > duration("${i}s")`).join(' && '),
      'too many of these',
    ],
  ];
  for (const [text, message] of big) {
    const result = compileCondition(text, READS);
    t.ok(
      !result.ok && result.error.message.includes(message),
      `${text.slice(0, 40)}: ${JSON.stringify(result).slice(0, 120)}`,
    );
  }
});

t.test('what is within the bounds is taken', async (t) => {
  const fine = [
    `request.path == "${'a'.repeat(2000)}"`,
    `${'('.repeat(20)}true${')'.repeat(20)}`,
    `true${' && true'.repeat(60)}`,
    `request.method in [${Array.from({ length: 150 }, (_, i) => `"m${i}"`).join(', ')}]`,
    'request.segments.all(s, !s.contains("..") && !s.startsWith("_"))',
    '("x-region" in request.headers) && (request.headers["x-region"]) == "a"',
    'request.path == "http://a//b" && request.path != r"\\//" && request.path != """//"""',
    'request.path == "\\u202e"',
  ];
  for (const text of fine) {
    const result = compileCondition(text, READS);
    t.ok(result.ok, `${text.slice(0, 60)}: ${JSON.stringify(result.ok ? '' : result.error)}`);
  }
});
