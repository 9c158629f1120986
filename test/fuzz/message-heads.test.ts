import fc from 'fast-check';
import t from 'tap';
import { parseForwarded } from '../../src/message/forwarded.js';
import { parseRequestHead } from '../../src/message/request-head.js';
import { rewriteRequest } from '../../src/message/rewrite-request.js';
import { rewriteResponseHeaders } from '../../src/message/rewrite-response.js';
import { parseTraceparent, parseTracestate } from '../../src/message/trace-context.js';
import { contextOf, identityOf, planOf } from '../unit/message/fixtures.js';

const SEED = 20_261_121;
const SPOOFABLE = [
  'X-Spiffe-Id',
  'X-Forwarded-Client-Cert',
  'Client-Cert',
  'Client-Cert-Chain',
  'X-Remote-User',
  'X-Forwarded-For',
];

/** Any spelling that some server folds into the same variable. */
const spelling = fc
  .tuple(
    fc.constantFrom(...SPOOFABLE),
    fc.array(fc.constantFrom('-', '_', '.', '~', '!'), { minLength: 4, maxLength: 4 }),
    fc.boolean(),
  )
  .map(([name, marks, isUpper]) => {
    let at = 0;
    const text = name.replaceAll('-', () => marks[at++] ?? '-');
    return isUpper ? text.toUpperCase() : text;
  });
const name = fc.oneof(
  spelling,
  fc.constantFrom(
    'Connection',
    'Via',
    'Forwarded',
    'Traceparent',
    'Tracestate',
    'Content-Length',
    'X-App',
    'Cookie',
    '__proto__',
    'Upgrade',
  ),
);
const value = fc.oneof(
  fc.constant('spoof'),
  fc.constantFrom(
    'close, X-Spiffe-Id',
    'x-remote-user, client-cert',
    'chunked',
    '3',
    '1.0 fred',
    'for=a',
    '',
  ),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const lines = fc.array(fc.tuple(name, value), { maxLength: 12 });

t.test('whatever a client sends, the upstream sees one identity, ours, in one spelling', (t) => {
  const plan = planOf({
    clientCert: true,
    xfcc: 'append_forward',
    headers: [{ name: 'X-Remote-User', template: '{id}' }],
  });
  const identity = identityOf(plan);
  const folded = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '_');
  const wanted = new Map([
    ['x_spiffe_id', 'spiffe://a.test/web'],
    ['x_remote_user', 'spiffe://a.test/web'],
    ['client_cert', ':MAMCAQE=:'],
    ['x_forwarded_client_cert', identity.xfccElement],
    ['x_forwarded_for', '192.0.2.7'],
  ]);
  let crossed = 0;
  fc.assert(
    fc.property(lines, (sent) => {
      const head = parseRequestHead('POST', '/a', '1.1', ['Host', 'svc.test', ...sent.flat()], 'countersign');
      if (!head.ok) return true;
      crossed++;
      const { headers } = rewriteRequest(head.value, contextOf({ plan, identity }));
      const seen = new Map<string, string[]>();
      for (let i = 0; i < headers.length; i += 2) {
        const key = folded(headers[i] ?? '');
        seen.set(key, [...(seen.get(key) ?? []), headers[i + 1] ?? '']);
      }
      for (const [key, only] of wanted) {
        if (JSON.stringify(seen.get(key)) !== JSON.stringify([only])) return false;
      }
      if (seen.has('client_cert_chain') || seen.has('connection') || seen.has('content_length')) return false;
      return headers.every((text) => !/[\0-\x08\x0a-\x1f\x7f]|[^\0-\xff]/.test(text));
    }),
    { numRuns: 5_000, seed: SEED },
  );
  t.ok(crossed > 500, `${crossed} heads crossed`);
  t.end();
});

t.test('no input makes a parser of this folder throw', (t) => {
  const plan = planOf();
  const text = fc.string({ unit: 'binary', maxLength: 80 });
  fc.assert(
    fc.property(text, text, fc.array(text, { maxLength: 7 }), (a, b, raw) => {
      parseRequestHead(a, b, '1.1', raw);
      parseRequestHead('GET', '/', '1.1', ['Host', 'a.test', a, b, ...raw], 'countersign');
      rewriteResponseHeaders(raw, { plan });
      parseForwarded(a);
      parseTraceparent(a);
      parseTracestate(b);
    }),
    { numRuns: 5_000, seed: SEED },
  );
  t.end();
});

t.test('a tracestate that is sent on is within its limits and reads the same again', (t) => {
  const member = fc
    .tuple(fc.stringMatching(/^[a-z][a-z0-9_*/-]{0,40}$/), fc.stringMatching(/^[!-+\-.-<>-~]{1,150}$/))
    .map(([key, text]) => `${key}=${text}`);
  fc.assert(
    fc.property(fc.array(member, { maxLength: 36 }), (members) => {
      const state = parseTracestate(members.join(','));
      return state === undefined || (state.length <= 512 && parseTracestate(state) === state);
    }),
    { numRuns: 2_000, seed: SEED },
  );
  t.end();
});
