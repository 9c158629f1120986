import t from 'tap';
import { formatForwardedElement, parseForwarded } from '../../../src/message/forwarded.js';
import { rewriteRequest } from '../../../src/message/rewrite-request.js';
import { contextOf, headOf, readVectors, valuesOf } from './fixtures.js';

interface Emit {
  readonly emit: { readonly for?: string; readonly host?: string; readonly proto?: string };
  readonly existing: string | null;
  readonly peerTrusted?: boolean;
}
interface Expect {
  readonly outcome: string;
  readonly elements?: readonly Readonly<Record<string, string>>[];
  readonly header?: string;
}

t.test('every forwarded vector is read and written as the vector says', (t) => {
  for (const { id, input, expect } of readVectors<string | Emit, Expect>('forwarded')) {
    if (typeof input === 'string') {
      const parsed = parseForwarded(input);
      t.equal(parsed.ok, expect.outcome === 'accept', id);
      if (parsed.ok) t.same(parsed.value, expect.elements, id);
      continue;
    }
    const own = formatForwardedElement(input.emit);
    const isKept = input.existing !== null && input.peerTrusted !== false;
    t.equal(isKept ? `${input.existing}, ${own}` : own, expect.header, id);
  }
  t.end();
});

t.test('the header that is sent extends a trusted list and replaces any other', (t) => {
  const sent = (peerTrusted: boolean, lines: readonly string[]): string[] =>
    valuesOf(rewriteRequest(headOf(lines), contextOf({ peerTrusted })).headers, 'forwarded');
  const own = 'for=192.0.2.7;host=svc.test;proto=https';
  t.same(sent(true, ['Forwarded: for=192.0.2.43']), [`for=192.0.2.43, ${own}`]);
  t.same(sent(false, ['Forwarded: for=192.0.2.43']), [own]);
  t.same(sent(true, ['Forwarded: for=a', 'Forwarded: for=b']), [`for=a, for=b, ${own}`]);
  for (const bad of ['for=1;for=2', 'for=1:2', 'for', '=a', 'for="a', 'for=a b', 'for=a; proto=b']) {
    t.same(sent(true, [`Forwarded: ${bad}`]), [own], bad);
  }
  t.end();
});

t.test('what RFC 7239 does not allow is an error', (t) => {
  const bad: readonly (readonly [string, string])[] = [
    ['', 'empty'],
    [', ,', 'empty'],
    ['for=a;For=b', 'parameter twice in an element'],
    ['for=2001:db8::1', 'text after a value'],
    ['for="2001:db8::1"', 'IPv6 address without brackets'],
    ['for=""', 'IPv6 address without brackets'],
    ['for=', 'bad value'],
    ['for="a\u0000b"', 'bad value'],
    ['for="a\\', 'bad value'],
    ['for =a', 'expected name=value'],
    ['for= a', 'bad value'],
    ['for=a proto=b', 'expected a comma'],
    ['for="a"b', 'text after a value'],
  ];
  for (const [text, why] of bad) {
    const parsed = parseForwarded(text);
    t.equal(parsed.ok ? 'ok' : parsed.error, why, text);
  }
  t.same(parseForwarded('for="[2001:db8::1]:4711";by=_x;ext="a\\"b\\\\"').ok, true);
  t.same(parseForwarded(Array(65).fill('for=a').join(',')), { ok: false, error: 'too many elements' });
  t.end();
});

t.test('a parameter named like an object member stays a parameter', (t) => {
  const parsed = parseForwarded('__proto__=x;for=a');
  t.ok(parsed.ok && Object.hasOwn(parsed.value[0] ?? {}, '__proto__'));
  t.end();
});
