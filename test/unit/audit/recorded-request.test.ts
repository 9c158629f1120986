import t from 'tap';
import { parseRecordLine } from '../../../src/audit/record-line.js';
import { parseRecordedRequest } from '../../../src/audit/recorded-request.js';
import { recordText } from '../../support/records.js';

t.test('a line is a record when it is an object with an event and a time', async (t) => {
  const time = '2026-11-21T10:00:00.250Z';
  const record = parseRecordLine(`{"event":"access","time":"${time}","x":1}`);
  t.match(record, { event: 'access', time, timeMs: Date.parse(time), fields: { x: 1 } });
  for (const text of [
    '',
    'null',
    '[]',
    '"access"',
    '{',
    '{}',
    `{"event":"access"}`,
    `{"time":"${time}"}`,
    `{"event":1,"time":"${time}"}`,
    `{"event":"access","time":1}`,
    `{"event":"access","time":"yesterday"}`,
    `{"event":"access","time":"2026-13-41T10:00:00Z"}`,
    `{"event":"access","time":"2026-11-21"}`,
    `{"event":"access","time":"${time}"}{}`,
  ])
    t.equal(parseRecordLine(text), undefined, text);
});

t.test('an access record is read back with all that its request can be judged by', async (t) => {
  const text = recordText({ request: { headers: { 'x-a': 'b', 'x-c': null }, query: { q: '1' } } });
  const request = parseRecordedRequest(parseRecordLine(text)!);
  t.match(request, {
    identity: 'spiffe://a.test/web',
    listener: 'inbound',
    method: 'GET',
    host: 'svc.test',
    path: '/public/a',
    isTruncated: false,
    isUpgraded: false,
    serverName: 'svc.test',
    credential: {
      kind: 'x509',
      notBeforeMs: Date.parse('2026-11-21T09:00:00.000Z'),
      notAfterMs: Date.parse('2026-11-21T11:00:00.000Z'),
      issuer: 'CN=a',
    },
    connection: { tlsVersion: 'TLSv1.3', resumed: false },
    answer: { effect: 'allow', reason: 'rule_allowed', rule: 'public', destination: 'u' },
  });
  t.same(
    [...request!.headers],
    [
      ['x-a', 'b'],
      ['x-c', null],
    ],
  );
  t.same([...request!.query], [['q', '1']]);
});

t.test('what a record does not say, or says in another form, is not known', async (t) => {
  const read = (changes: Parameters<typeof recordText>[0]) =>
    parseRecordedRequest(parseRecordLine(recordText(changes))!);
  t.equal(read({ principal: { kind: 'none' } })?.identity, undefined, 'a claim is no identity');
  t.equal(read({ principal: { kind: 'none' } })?.credential, undefined);
  t.equal(read({ principal: { notAfter: 'soon' } })?.credential, undefined);
  t.equal(read({ principal: { issuer: undefined } })?.credential, undefined);
  t.equal(read({ tls: { resumed: 'no' } })?.connection, undefined);
  t.equal(read({ tls: { version: undefined } })?.connection, undefined);
  t.equal(read({ request: { host: 7 } })?.host, undefined);
  t.equal(read({ request: { headers: { a: 1, b: [] } } })?.headers.size, 0);
  t.equal(read({ request: { truncated: true } })?.isTruncated, true);
  t.equal(read({ phase: 'start' })?.isUpgraded, true);
});

t.test('a record without a decision is none of ours', async (t) => {
  for (const decision of [{ effect: 'perhaps' }, { effect: undefined }, { reason: undefined }])
    t.equal(parseRecordedRequest(parseRecordLine(recordText({ decision }))!), undefined);
});
