import t from 'tap';
import { parseHttp2Head } from '../../../src/message/http2-head.js';
import { parseRequestHead } from '../../../src/message/request-head.js';

const XFCC = 'By=spiffe://a.test/p;URI=spiffe://a.test/alice';

function read(...lines: string[]) {
  const head = parseRequestHead('GET', '/', '1.1', ['Host', 'svc.test', ...lines]);
  if (!head.ok) throw new Error(head.error.detail);
  return head.value;
}

t.test('what a peer says of others is kept line by line, and never crosses', (t) => {
  const { received, endToEnd } = read('X-Identity-Assertion', 'a.b.c', 'x-identity-assertion', 'd.e.f');
  t.same(received.saysOfOthers.assertion, ['a.b.c', 'd.e.f']);
  t.equal(received.saysOfOthers.clientCertificate, undefined);
  t.same(endToEnd, []);
  t.equal(read().received.saysOfOthers.assertion, undefined);
  const http2 = parseHttp2Head(
    [
      ...[':method', 'GET', ':scheme', 'https', ':path', '/', ':authority', 'svc.test'],
      ...['x-identity-assertion', 'a.b.c', 'x-forwarded-client-cert', XFCC],
    ],
    { scheme: 'https', endsStream: true },
  );
  t.match(http2, {
    ok: true,
    value: { received: { saysOfOthers: { assertion: ['a.b.c'], clientCertificate: [XFCC] } }, endToEnd: [] },
  });
  t.end();
});

t.test('Connection cannot make it vanish: a call for another would look like the caller’s own', (t) => {
  const lines = ['X-Identity-Assertion', 'a.b.c', 'X-Forwarded-Client-Cert', XFCC];
  const { received, endToEnd } = read(
    'Connection',
    'x-identity-assertion, x-forwarded-client-cert',
    ...lines,
  );
  t.match(received.saysOfOthers, { assertion: ['a.b.c'], clientCertificate: [XFCC] });
  t.equal(received.clientCertificate, undefined, 'it goes no further all the same');
  t.same(endToEnd, []);
  t.end();
});

t.test('another spelling is no claim, and does not cross either', (t) => {
  for (const name of ['X_Identity_Assertion', 'x-identity_assertion', 'X.Identity.Assertion']) {
    const { received, endToEnd } = read(name, 'a.b.c');
    t.equal(received.saysOfOthers.assertion, undefined, name);
    t.same(endToEnd, [], name);
  }
  t.end();
});
