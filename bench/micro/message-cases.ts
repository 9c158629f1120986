import { compileForwardPlan } from '../../src/message/forward-policy.js';
import { buildIdentityHeaders } from '../../src/message/identity-headers.js';
import { parseRequestHead } from '../../src/message/request-head.js';
import { rewriteRequest } from '../../src/message/rewrite-request.js';
import { CALLER, must } from '../support/bench-rules.js';
import type { MicroCase } from './harness.js';

const small = ['Host', 'billing.internal', 'User-Agent', 'bench/1', 'Accept', 'application/json'];
const browser = [
  ...small,
  ...['Accept-Encoding', 'gzip, br', 'Accept-Language', 'de,en;q=0.7', 'Cache-Control', 'no-cache'],
  ...['Connection', 'keep-alive, x-trace-me', 'Cookie', 'session=0123456789abcdef; theme=dark'],
  ...['Referer', 'https://billing.internal/invoices', 'X-Forwarded-For', '203.0.113.7', 'X-Trace-Me', '1'],
  ...['traceparent', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', 'tracestate', 'a=b'],
  ...['X-Spiffe-Id', 'spiffe://example.org/forged', 'X-Client-Version', '4.11.0', 'DNT', '1'],
];

/** Reading a request's head and writing the one that goes on. */
export function messageCases(): MicroCase[] {
  const plan = compileForwardPlan(
    { xfcc: 'sanitize_set', spiffeId: true, clientCert: false, headers: [] },
    { spiffeId: 'spiffe://example.org/ns/prod/sa/sidecar', pseudonym: 'countersign-bench' },
  );
  const identity = buildIdentityHeaders(plan, {
    id: CALLER,
    trustDomain: 'example.org',
    path: '/ns/prod/sa/web',
    leafDer: Buffer.alloc(500),
    chainDer: [],
    sha256: 'ab'.repeat(32),
    serial: '0a1b2c',
    subject: 'O=Bench,CN=web',
    issuer: 'CN=root',
    dnsSans: [],
    notAfterMs: 0,
  });
  const context = {
    plan,
    identity,
    peerTrusted: false,
    peerAddress: '127.0.0.1',
    requestId: '01J0000000000000000000000',
    newTraceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    newSpanId: '00f067aa0ba902b7',
  };
  const cases = [
    ['3 headers', small],
    [`${browser.length / 2} headers`, browser],
  ] as const;
  return cases.flatMap(([size, headers]) => {
    const parse = () => must(parseRequestHead('GET', '/invoices/7?page=2', '1.1', headers, plan.pseudonym));
    const head = parse();
    return [
      { name: `parse a request head, ${size}`, run: parse },
      { name: `rewrite request headers, ${size}`, run: () => rewriteRequest(head, context) },
    ];
  });
}
