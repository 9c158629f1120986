import t from 'tap';
import { parseHttp2Head } from '../../../src/message/http2-head.js';
import { parseRequestHead } from '../../../src/message/request-head.js';

const FORM = { scheme: 'https', endsStream: true } as const;
const START = [':method', 'GET', ':scheme', 'https', ':authority', 'svc.test', ':path', '/p?q'];

function reasonOf(raw: readonly string[], form: Parameters<typeof parseHttp2Head>[1] = FORM): string {
  const head = parseHttp2Head(raw, form);
  return head.ok ? 'ok' : head.error.reason;
}

t.test('a head is the value that HTTP/1.1 gives, but for its version', (t) => {
  const head = parseHttp2Head(
    [...START, 'x-a', '1', 'cookie', 'a=1', 'cookie', 'b=2', 'accept', '*/*'],
    FORM,
  );
  const same = parseRequestHead('GET', '/p?q', '1.1', [
    ...['Host', 'svc.test', 'x-a', '1', 'accept', '*/*', 'cookie', 'a=1; b=2'],
  ]);
  if (!head.ok || !same.ok) return t.fail('both are heads');
  t.same(head.value.target, same.value.target);
  t.same(head.value.endToEnd, same.value.endToEnd);
  t.same(head.value.body, same.value.body);
  t.equal(head.value.httpVersion, '2');
  t.end();
});

t.test('what no HTTP/2 head may have is refused, each with its reason', (t) => {
  const without = (name: string): string[] => {
    const at = START.indexOf(name);
    return [...START.slice(0, at), ...START.slice(at + 2)];
  };
  for (const [raw, reason] of [
    [START, 'ok'],
    [without(':method'), 'request_malformed'],
    [without(':path'), 'target_malformed'],
    [without(':scheme'), 'target_malformed'],
    [without(':authority'), 'host_missing'],
    [[...without(':authority'), 'host', 'svc.test'], 'ok'],
    [[...START, ':path', '/admin'], 'header_malformed'],
    [[...without(':path'), 'x-a', 'b', ':path', '/p'], 'header_malformed'],
    [[...without(':path'), 'cookie', 'b', ':path', '/p'], 'header_malformed'],
    [[...START.slice(0, 6), ':path', 'p'], 'target_malformed'],
    [[...START.slice(0, 6), ':path', ''], 'target_malformed'],
    [[...START, ':protocol', 'websocket'], 'header_malformed'],
    [[':method', 'CONNECT', ':authority', 'svc.test:80'], 'method_not_allowed'],
    [[...START, 'connection', 'close'], 'header_malformed'],
    [[...START, 'transfer-encoding', 'chunked'], 'header_malformed'],
    [[...START, 'upgrade', 'h2c'], 'header_malformed'],
    [[...START, 'te', 'gzip'], 'header_malformed'],
    [[...START, 'te', 'trailers'], 'ok'],
    [[...START, 'X-A', 'b'], 'header_malformed'],
    [[...START, 'host', 'svc.test'], 'ok'],
    [[...START, 'host', 'locked.test'], 'host_malformed'],
    [[...START, 'host', 'svc.test', 'host', 'locked.test'], 'host_malformed'],
    [[...START, 'content-length', '0'], 'ok'],
    [[...START, 'content-length', '5'], 'framing_ambiguous'],
  ] as const)
    t.equal(reasonOf(raw), reason, JSON.stringify(raw.slice(-2)));
  t.equal(reasonOf(START, { scheme: 'http', endsStream: true }), 'target_malformed', 'another scheme');
  t.end();
});

t.test('where the stream goes on there is a body, as long as is said or as it is', (t) => {
  const form = { scheme: 'https', endsStream: false } as const;
  const bodyOf = (raw: readonly string[]): unknown => {
    const head = parseHttp2Head(raw, form);
    return head.ok ? head.value.body : head.error.reason;
  };
  t.same(bodyOf(START), { kind: 'chunked' });
  t.same(bodyOf([...START, 'content-length', '5']), { kind: 'length', length: 5 });
  t.end();
});
