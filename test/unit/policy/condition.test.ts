import t from 'tap';
import { compileCondition } from '../../../src/policy/condition.js';
import { describeRead } from '../../../src/policy/condition-reads.js';
import { ConditionFault, UnknownFact } from '../../../src/policy/facts.js';
import { answer, conditionOf, inputOf, must, NOW_MS, noFacts, READS } from '../../support/condition-input.js';

t.test('every field has its value', async (t) => {
  const facts: readonly string[] = [
    'request.method == "GET"',
    'request.host == "billing.internal"',
    'request.path == "/prod/invoices/7"',
    'request.segments == ["prod", "invoices", "7"]',
    'request.route == "invoices" && request.destination == "billing"',
    'principal.id == "spiffe://example.org/ns/prod/sa/web"',
    'principal.trustDomain == "example.org"',
    'principal.segments == ["ns", "prod", "sa", "web"]',
    'principal.owner == "team-payments" && principal.environment == "prod" && principal.registered',
    'credential.kind == "x509" && credential.issuer == "CN=test"',
    'credential.age == duration("20m") && credential.remaining == duration("40m")',
    'credential.lifetime == duration("1h")',
    'credential.notBefore == timestamp("2026-11-21T10:10:15.250Z")',
    'credential.notAfter == timestamp("2026-11-21T12:10:15.250+01:00")',
    'connection.listener == "inbound" && connection.tlsVersion == "TLSv1.3" && !connection.resumed',
    'now == timestamp("2026-11-21T10:30:15.250Z")',
    'now - duration("15s") + duration("1m") == timestamp("2026-11-21T10:31:00.250Z")',
    'now + credential.remaining == credential.notAfter',
  ];
  for (const text of facts) t.equal(answer(text), true, text);
});

t.test('who is not registered has neither owner nor environment', async (t) => {
  const text = '!principal.registered && principal.owner == "" && principal.environment == ""';
  t.equal(answer(text, { registered: undefined }), true);
});

t.test('the path that is judged counts, not the one of the request', async (t) => {
  const input = { ...inputOf(), path: '/other' };
  t.equal(conditionOf('request.path == "/other" && request.segments == ["other"]').evaluate(input), true);
});

t.test('a trailing slash is one empty segment at the end', async (t) => {
  t.equal(answer('request.segments == ["a", ""]', { path: '/a/' }), true);
  t.equal(answer('size(request.segments) == 1', { path: '/' }), true);
});

t.test('the clock is read in UTC, whatever the time zone of the machine', async (t) => {
  const before = process.env.TZ;
  t.teardown(() => {
    if (before === undefined) delete process.env.TZ;
    else process.env.TZ = before;
  });
  const clock = [
    'now.getFullYear() == 2026 && now.getMonth() == 10 && now.getDate() == 21 && now.getDayOfMonth() == 20',
    'now.getDayOfWeek() == 6 && now.getHours() == 10 && now.getMinutes() == 30 && now.getSeconds() == 15',
    'now.getMilliseconds() == 250 && now > timestamp("2026-11-21T10:30:00Z")',
  ].join(' && ');
  for (const zone of ['Pacific/Kiritimati', 'America/St_Johns', 'UTC']) {
    process.env.TZ = zone;
    t.not(zone !== 'UTC' && new Date(NOW_MS).getHours() === 10, true, `${zone} is in force`);
    t.equal(answer(clock), true, zone);
  }
});

t.test('parts of durations are the whole of them, also below zero', async (t) => {
  t.equal(answer('duration("90m").getMinutes() == 90 && duration("90m").getHours() == 1'), true);
  t.equal(answer('duration("-500ms") + duration("1s") == duration("500ms")'), true);
  t.equal(answer('duration("1s") - duration("1500ms") == duration("-500ms")'), true);
  t.equal(answer('credential.remaining < duration("0s")', { facts: expired() }), true);
});

const expired = () => ({
  credential: { kind: 'x509', issuer: '', notBeforeMs: 0, notAfterMs: NOW_MS - 1 } as const,
});

t.test('presence is asked without a fault, and a value of nothing is there', async (t) => {
  const asked = '"x-region" in request.headers';
  t.equal(answer(asked), false);
  t.equal(answer(asked, { headers: { 'x-region': '' } }), true);
  t.equal(answer('has(request.query.dry_run)'), false);
  t.equal(answer('has(request.query.dry_run)', { query: { dry_run: '1' } }), true);
  t.equal(answer('request.query.dry_run == "1"', { query: { dry_run: '1' } }), true);
});

t.test('what is absent, too long, too many or divided by nothing is a fault that names it', async (t) => {
  const faults: readonly [string, string, Parameters<typeof answer>[1]?][] = [
    ['request.headers["x-region"] == "eu"', 'request.headers["x-region"] is absent'],
    ['request.query["dry_run"] != "eu"', 'request.query["dry_run"] is absent'],
    ['request.segments[3] == "a"', 'request.segments[3] is absent'],
    ['principal.segments[4] == "a"', 'principal.segments[4] is absent'],
    [
      'request.segments[size(request.segments)] == "a"',
      'request.segments[size(request.segments)]: there is no such element',
    ],
    ['now.getHours() / 0 == 1', 'now.getHours() / 0: division by zero'],
    [
      '9223372036854775807 + now.getHours() > 0',
      '9223372036854775807 + now.getHours(): the number is too large',
    ],
    [
      'request.headers["x-region"] == "eu"',
      'request.headers["x-region"] is longer than 4096 characters',
      { headers: { 'x-region': 'e'.repeat(4097) } },
    ],
    ['request.path == "/"', 'request.path is longer than 4096 characters', { path: `/${'a'.repeat(4096)}` }],
    [
      'request.segments[0] == ""',
      'request.segments has more than 128 segments',
      { path: `/${'a/'.repeat(128)}` },
    ],
    [
      'credential.notAfter > now',
      'a time is not known',
      { facts: { credential: { kind: 'x509', issuer: '', notBeforeMs: 0, notAfterMs: Number.NaN } } },
    ],
  ];
  for (const [text, message, sample] of faults) {
    t.throws(() => answer(text, sample), new ConditionFault(message), text);
  }
});

t.test('no fault holds a value of the request', async (t) => {
  const secret = 'secret-value';
  const sample = {
    headers: { 'x-region': secret, 'x-tier': secret },
    path: `/${secret}`,
    query: { dry_run: secret },
  };
  const texts = [
    'request.segments[size(request.segments)] == ""',
    'request.headers["x-region"] == request.headers["x-tier"] && 1 / 0 == 1',
    'request.query["dry_run"] == "" || request.segments[7] == ""',
  ];
  for (const text of texts) {
    try {
      answer(text, sample);
      t.fail(text);
    } catch (error) {
      t.ok(error instanceof ConditionFault, text);
      t.notMatch((error as Error).message, secret);
    }
  }
});

t.test('a fault that the facts throw comes through as it is', async (t) => {
  const facts = {
    query: () => {
      throw new ConditionFault('dry_run is there twice');
    },
  };
  t.throws(() => answer('request.query["dry_run"] == ""', { facts }), { message: 'dry_run is there twice' });
  t.equal(answer('request.query["dry_run"] == "" || request.method == "GET"', { facts }), true);
});

t.test('a fact that nobody wrote down stays unknown wherever the answer hangs on it', async (t) => {
  const facts = noFacts;
  const unknown = 'request.headers["x-region"] == "eu"';
  const fault = 'request.segments[9] == ""';
  const hang = [
    unknown,
    `!(${unknown})`,
    `${unknown} && true`,
    `${unknown} || false`,
    `${unknown} || ${fault}`,
    `${fault} || ${unknown}`,
    `${unknown} && ${fault}`,
    `${unknown} ? true : false`,
    `request.segments.exists(s, ${unknown})`,
    'credential.remaining > duration("1s")',
    'connection.resumed',
    'has(request.query.dry_run)',
    '"x-region" in request.headers',
  ];
  for (const text of hang) t.throws(() => answer(text, { facts }), { name: 'UnknownFact' }, text);
  t.equal(answer(`${unknown} || true`, { facts }), true);
  t.equal(answer(`${unknown} && false`, { facts }), false);
  t.throws(() => answer(`${fault} || false`, { facts }), { name: 'ConditionFault' });
});

t.test('a condition that met an unknown fact answers the next request', async (t) => {
  const condition = conditionOf('request.headers["x-region"] == "eu" || request.segments[9] == ""');
  t.throws(() => condition.evaluate(inputOf({ facts: noFacts })), { name: 'UnknownFact' });
  t.throws(() => condition.evaluate(inputOf({ headers: { 'x-region': 'us' } })), { name: 'ConditionFault' });
  t.equal(condition.evaluate(inputOf({ headers: { 'x-region': 'eu' } })), true);
  t.throws(
    () => condition.evaluate(inputOf()),
    { name: 'ConditionFault' },
    'nothing is left of the one before',
  );
});

t.test('facts are asked for only when they are read, and once in an evaluation', async (t) => {
  const asked: string[] = [];
  const facts = {
    header: (name: string) => {
      asked.push(name);
      return 'prod';
    },
    get credential(): never {
      throw new UnknownFact('credential');
    },
    get connection(): never {
      throw new UnknownFact('connection');
    },
  };
  t.equal(answer('request.method == "GET" || request.headers["x-region"] == "a"', { facts }), true);
  t.same(asked, []);
  const text =
    'request.segments.exists_one(s, s == request.headers["x-region"]) && "x-region" in request.headers';
  t.equal(answer(text, { facts }), true);
  t.same(asked, ['x-region']);
});

t.test('names that every object inherits are names like others', async (t) => {
  t.equal(answer('"__proto__" in request.query'), false);
  const query = JSON.parse('{"__proto__": "a"}') as Record<string, string>;
  t.equal(answer('request.query["__proto__"] == "a"', { query }), true);
  t.equal(compileCondition('request.headers["constructor"] == "a"', READS).ok, false);
});

t.test('what a condition reads is known, and whether the clock alone can change it', async (t) => {
  const bound = [
    'now > timestamp("2026-01-01T00:00:00Z")',
    'credential.age < duration("1h")',
    'credential.remaining > duration("1m")',
  ];
  for (const text of bound) t.equal(conditionOf(text).isTimeBound, true, text);
  const free = [
    'credential.lifetime < duration("1h")',
    'request.method == "now"',
    'credential.notAfter > timestamp("2026-01-01T00:00:00Z")',
  ];
  for (const text of free) t.equal(conditionOf(text).isTimeBound, false, text);
  const condition = conditionOf(
    'request.headers["x-region"] == "a" || "x-tier" in request.headers || has(request.query.dry_run) || now > credential.notAfter',
  );
  t.same(condition.headers, ['x-region', 'x-tier']);
  t.same(condition.query, ['dry_run']);
  t.same(
    condition.reads.map(({ name }) => name),
    [
      'request.headers["x-region"]',
      'request.headers["x-tier"]',
      'request.query["dry_run"]',
      'now',
      'credential.notAfter',
    ],
  );
});

t.test('what a condition read is told to people, and never throws', async (t) => {
  const text =
    'request.headers["x-region"] == "eu" && credential.remaining > duration("5m") && now < credential.notAfter && "a" in request.segments && principal.registered && has(request.query.dry_run)';
  t.same(describeRead(conditionOf(text), inputOf({ headers: { 'x-region': 'eu' } })), [
    { name: 'request.headers["x-region"]', value: '"eu"' },
    { name: 'credential.remaining', value: '40m' },
    { name: 'now', value: '2026-11-21T10:30:15.250Z' },
    { name: 'credential.notAfter', value: '2026-11-21T11:10:15.250Z' },
    { name: 'request.segments', value: '["prod","invoices","7"]' },
    { name: 'principal.registered', value: 'true' },
    { name: 'request.query["dry_run"]', value: 'absent' },
  ]);
  const unknown = describeRead(conditionOf(text), inputOf({ facts: noFacts }));
  t.equal(unknown[0]?.value, 'not known');
  t.equal(unknown[1]?.value, 'not known');
  const long = describeRead(conditionOf('request.path == "/"'), inputOf({ path: `/${'a'.repeat(5000)}` }));
  t.same(long, [{ name: 'request.path', value: 'request.path is longer than 4096 characters' }]);
  const shown = (ms: number): string | undefined =>
    describeRead(
      conditionOf('credential.lifetime > duration("1s")'),
      inputOf({ facts: { credential: { kind: 'x509', issuer: '', notBeforeMs: 0, notAfterMs: ms } } }),
    )[0]?.value;
  t.same([250_000, 90_061_000, 12, -61_000].map(shown), ['4m10s', '25h1m1s', '12ms', '-1m1s']);
});

t.test('two conditions of one text know nothing of each other', async (t) => {
  const [one, two] = [conditionOf('request.method == "GET"'), conditionOf('request.method == "GET"')];
  t.not(one, two);
  t.equal(one.evaluate(inputOf()), true);
  t.equal(two.evaluate(inputOf({ method: 'PUT' })), false);
  t.equal(must(compileCondition('request.method\n== "GET"', READS)).evaluate(inputOf()), true);
});
