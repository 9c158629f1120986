import assert from 'node:assert/strict';
import fc from 'fast-check';
import { pino } from 'pino';
import t from 'tap';
import { formatAccessFields, formatConnectionFields } from '../../../src/audit/access-line.js';
import { escapeUnseen } from '../../../src/audit/line-text.js';
import type { AccessRecord } from '../../../src/audit/record.js';

const stream = { id: 'host-1', boot: '0123456789abcdef', worker: 0 };

const line = (seq: number, record: AccessRecord): string =>
  `{"stream":${JSON.stringify(stream)}${formatConnectionFields(record)}${formatAccessFields(seq, record)}`;

/** The same record as pino writes it, which is how these lines were written first. */
function pinoLine(seq: number, record: AccessRecord): string {
  let written = '';
  const log = pino(
    { base: null, timestamp: false, formatters: { level: () => ({ stream }) } },
    {
      write(text) {
        written += text;
      },
    },
  );
  const { principal, tls, peer, time, event, id, phase, behalfOf, token, decision, request, ...rest } =
    record;
  const { response, upstream, timing } = rest;
  const child = log.child(principal === undefined ? { tls, peer } : { principal, tls, peer });
  child.info({ seq, time, event, id, phase, behalfOf, token, decision, request, response, upstream, timing });
  return escapeUnseen(written);
}

/** Everything that a client can bring into a record: quotes, controls, other scripts, half a surrogate pair. */
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.constantFrom(
    '',
    '"',
    '\\',
    '\u0000',
    '\u001f',
    '\u007f',
    '\u2028',
    '\u0085',
    '\u202e',
    '\ufeff',
    '\ud800',
    'ä',
    '%22',
    '</script>',
  ),
);
const maybe = fc.option(text, { nil: undefined });
const values = fc.option(fc.dictionary(text, fc.option(text)), { nil: undefined });
const ms = fc.integer({ min: 0, max: 1e9 }).map((micros) => micros / 1000);
const count = fc.nat({ max: Number.MAX_SAFE_INTEGER });

const records: fc.Arbitrary<AccessRecord> = fc.record({
  time: fc.date({ noInvalidDate: true, min: new Date(0), max: new Date(4e12) }).map((at) => at.toISOString()),
  event: fc.constant('access' as const),
  /** Ours: never what a client sent. */
  id: fc.stringMatching(/^[0-9a-f]{16}-[0-9a-z]{7,}$/),
  phase: fc.constantFrom('start' as const, 'end' as const, undefined),
  principal: fc.option(
    fc.record({
      id: text,
      kind: fc.constantFrom('workload' as const, 'none' as const),
      trustDomain: text,
      serial: text,
      sha256: text,
      keySha256: text,
      issuer: text,
      authority: maybe,
      notBefore: text,
      notAfter: text,
    }),
    { nil: undefined },
  ),
  decision: fc.record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    reason: fc.constantFrom('rule_allowed' as const, 'policy_denied' as const, 'svid_expired' as const),
    rule: maybe,
    policyRevision: maybe,
    trustRevision: maybe,
    external: fc.option(
      fc.record({
        result: fc.constantFrom('allow' as const, 'deny' as const, 'unavailable' as const),
        id: maybe,
        cached: fc.constantFrom(true as const, undefined),
        durationMs: fc.nat(),
      }),
      { nil: undefined },
    ),
    detail: maybe,
  }),
  request: fc.record({
    listener: text,
    route: maybe,
    destination: maybe,
    method: maybe,
    host: maybe,
    path: maybe,
    protocol: fc.constantFrom('http/1.1' as const, 'http/2' as const, 'tcp' as const, undefined),
    direction: fc.constantFrom('outbound' as const, undefined),
    bytes: count,
    traceId: maybe,
    requestId: maybe,
    headers: values,
    query: values,
    secrets: fc.constantFrom(['basic'] as const, ['api_key', 'query'] as const, undefined),
    redacted: fc.constantFrom(true as const, undefined),
    truncated: fc.constantFrom(true as const, undefined),
  }),
  response: fc.record({
    status: fc.integer({ min: 0, max: 599 }),
    bytes: count,
    outcome: fc.constantFrom('complete' as const, 'refused' as const, 'client_aborted' as const),
    reason: fc.constantFrom('client_aborted' as const, 'upstream_timeout' as const, undefined),
    grpcStatus: fc.option(fc.nat({ max: 16 }), { nil: undefined }),
  }),
  upstream: fc.option(fc.record({ target: maybe, attempts: fc.option(fc.nat(), { nil: undefined }) }), {
    nil: undefined,
  }),
  timing: fc.record({ totalMs: ms, upstreamMs: fc.option(ms, { nil: undefined }) }),
  tls: fc.record({ version: maybe, cipher: maybe, resumed: fc.boolean(), serverName: maybe }),
  peer: fc.record({ address: text }),
});

t.test('an access record is written byte for byte as pino and JSON.stringify would write it', async () => {
  fc.assert(
    fc.property(records, fc.nat(), (record, seq) => {
      const { principal, tls, peer, time, event, id, phase, decision, request, ...rest } = record;
      const { response, upstream, timing } = rest;
      const fields = { stream, principal, tls, peer, seq, time, event, id, phase, decision, request };
      const written = line(seq, record);
      assert.equal(written, `${escapeUnseen(JSON.stringify({ ...fields, response, upstream, timing }))}\n`);
      assert.equal(written, pinoLine(seq, record));
    }),
    { numRuns: 300, seed: 20261122 },
  );
});

/** What some reader takes for the end of a line, a control, or nothing at all. */
const NOT_SEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** As JSON can hold it: nothing is undefined. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

t.test('whatever a client sends, a record is one line and holds it unchanged', async () => {
  fc.assert(
    fc.property(records, (record) => {
      const written = line(7, record);
      assert.equal(written.indexOf('\n'), written.length - 1);
      assert.doesNotMatch(written.slice(0, -1), NOT_SEEN);
      assert.deepEqual(JSON.parse(written), plain({ stream, seq: 7, ...record }));
    }),
    { numRuns: 300, seed: 20261123 },
  );
});
