import t, { type Test as Tap } from 'tap';
import { parseConnection } from '../../../src/message/hop-by-hop.js';
import { rewriteRequest } from '../../../src/message/rewrite-request.js';
import { rewriteResponseHeaders } from '../../../src/message/rewrite-response.js';
import { meaningOf } from '../../../src/reasons.js';
import {
  contextOf,
  headOf,
  namesOf,
  PSEUDONYM,
  parseLines,
  planOf,
  readVectors,
  valuesOf,
} from './fixtures.js';

interface Input {
  readonly protocol?: string;
  readonly requestLine?: string;
  readonly headerLines?: readonly string[];
  readonly upstreamResponse?: readonly string[];
}
interface Expect {
  readonly outcome: string;
  readonly upstreamAbsent?: readonly string[];
  readonly upstreamAbsentOr?: Readonly<Record<string, string>>;
  readonly upstreamPresent?: Readonly<Record<string, string>>;
  readonly identityHeadersPresent?: boolean;
  readonly connectionIsOwn?: boolean;
  readonly absent?: readonly string[];
  readonly statusAnyOf?: readonly number[];
  readonly allowed?: readonly string[];
  readonly via?: string;
  readonly viaMustNotContain?: string;
  readonly maxForwardsBelow?: string;
}

/** Events of a socket, not of a head: tested where sockets are. */
const NOT_OF_A_HEAD = /early-hints|expect-denied|http2-/;

const context = contextOf({ plan: planOf({ clientCert: true }) });

function judgeForward(t: Tap, id: string, input: Input, expect: Expect): void {
  const head = parseLines(input.requestLine ?? '', input.headerLines ?? []);
  if (!head.ok) {
    t.match(expect.outcome, /or-400/, id);
    t.equal(meaningOf(head.error.reason).status, 400, id);
    return;
  }
  const { headers } = rewriteRequest(head.value, context);
  const names = namesOf(headers);
  for (const name of expect.upstreamAbsent ?? []) t.notOk(names.includes(name), `${id}: ${name}`);
  for (const [name, value] of Object.entries(expect.upstreamAbsentOr ?? {})) {
    t.ok([undefined, value].includes(valuesOf(headers, name)[0]), `${id}: ${name}`);
  }
  if (expect.upstreamPresent?.host !== undefined) {
    t.equal(head.value.target.authority, expect.upstreamPresent.host, id);
  }
  if (expect.identityHeadersPresent === true) {
    for (const name of ['x-spiffe-id', 'x-forwarded-client-cert', 'client-cert']) {
      t.equal(valuesOf(headers, name).length, 1, `${id}: ${name}`);
    }
  }
  t.notOk(names.includes('connection'), `${id}: connection is the upstream client's own`);
  if (expect.via !== undefined) {
    t.same(valuesOf(headers, 'via'), [expect.via.replace('<pseudonym>', PSEUDONYM)], id);
  }
  if (expect.maxForwardsBelow !== undefined) {
    const sent = valuesOf(headers, 'max-forwards')[0] ?? '';
    t.match(sent, /^[0-9]+$/, id);
    t.ok(BigInt(sent) < BigInt(expect.maxForwardsBelow), id);
  }
}

t.test('every hop-by-hop vector that a head decides is judged as the vector says', (t) => {
  let count = 0;
  for (const { id, input, expect } of readVectors<Input, Expect>('hop-by-hop')) {
    if (NOT_OF_A_HEAD.test(id) || input.protocol === 'HTTP/2') continue;
    count++;
    if (input.upstreamResponse !== undefined) {
      const raw = input.upstreamResponse.slice(1).flatMap((line) => line.split(': '));
      const answer = rewriteResponseHeaders(raw, { plan: context.plan });
      t.ok(answer.ok, id);
      for (const name of expect.absent ?? []) {
        t.notOk(answer.ok && namesOf(answer.value.headers).includes(name), `${id}: ${name}`);
      }
    } else if (expect.outcome.startsWith('forward')) {
      judgeForward(t, id, input, expect);
    } else {
      const head = parseLines(input.requestLine ?? '', input.headerLines ?? []);
      // the one head that is answered without a refusal: the listener sees maxForwards 0
      if (head.ok) t.equal(head.value.maxForwards, 0, id);
      else {
        const allowed = expect.statusAnyOf ?? (expect.allowed ?? []).map(Number);
        t.ok(allowed.includes(meaningOf(head.error.reason).status), `${id}: ${head.error.reason}`);
      }
    }
  }
  t.ok(count >= 20, `${count} vectors`);
  t.end();
});

t.test('what Connection names is dropped before anything of ours is set', (t) => {
  const head = headOf([
    'Connection: close, X-Spiffe-Id, X-Forwarded-For, Via, Traceparent, X-Request-Id, X-App, Cookie',
    'X-App: 1',
    'Cookie: a=b',
    'Via: 1.0 fred',
    'X-Keep: 2',
    'traceparent: 00-12345678901234567890123456789012-1234567890123456-01',
  ]);
  const { headers, traceId } = rewriteRequest(head, contextOf());
  t.same(valuesOf(headers, 'x-app'), []);
  t.same(valuesOf(headers, 'cookie'), []);
  t.same(valuesOf(headers, 'x-keep'), ['2']);
  t.same(valuesOf(headers, 'x-spiffe-id'), ['spiffe://a.test/web']);
  t.same(valuesOf(headers, 'x-forwarded-for'), ['192.0.2.7']);
  t.same(valuesOf(headers, 'x-request-id'), ['own-request-id']);
  t.same(valuesOf(headers, 'via'), ['1.0 fred, 1.1 countersign'], 'naming Via does not hide a loop');
  t.equal(traceId, 'a'.repeat(32), 'a trace header meant for this hop is not continued');
  t.end();
});

t.test('a trusted peer that names its own XFCC in Connection has it dropped', (t) => {
  const plan = planOf({ xfcc: 'append_forward' });
  const head = headOf([
    'Connection: x-forwarded-client-cert',
    'X-Forwarded-Client-Cert: URI=spiffe://a.test/u',
  ]);
  const { headers } = rewriteRequest(head, contextOf({ plan, peerTrusted: true }));
  t.notMatch(valuesOf(headers, 'x-forwarded-client-cert')[0], /a\.test\/u/);
  t.end();
});

t.test('framing survives a Connection that names it', (t) => {
  const head = headOf(
    ['Connection: Content-Length, Host, Transfer-Encoding', 'Content-Length: 3'],
    'POST /a HTTP/1.1',
  );
  t.same(head.body, { kind: 'length', length: 3 });
  t.equal(head.target.host, 'svc.test');
  t.end();
});

t.test('every option of every line counts, whatever its case', (t) => {
  t.same(parseConnection(['x-FOO', 'close,\tX-Bar ,']), {
    upgrade: false,
    named: new Set(['x-foo', 'x-bar']),
  });
  t.same(parseConnection(['Upgrade']), { upgrade: true, named: undefined });
  t.equal(parseConnection(['a b']), undefined);
  t.end();
});
