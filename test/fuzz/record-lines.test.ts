import assert from 'node:assert/strict';
import fc from 'fast-check';
import t from 'tap';
import type { AuditRecord, TlsFields } from '../../src/audit/record.js';
import { RecordLog } from '../../src/telemetry/record-log.js';
import type { RecordWriter } from '../../src/telemetry/record-writer.js';

/** Keeps the lines that the log writes. */
function capture(): { readonly log: RecordLog; readonly lines: string[] } {
  const lines: string[] = [];
  const writer = {
    available: true,
    isFull: false,
    confirms: 'never',
    write: (line: string) => void lines.push(line),
  } as unknown as RecordWriter;
  const options = {
    onFailure: 'deny',
    boot: '0123456789abcdef',
    nowMs: () => 0,
    unconfirmed: () => undefined,
  } as const;
  return { log: new RecordLog(writer, options), lines };
}

/** What a peer can bring in: ends of lines of every reader, escapes, JSON, controls, what turns text round, halves of characters. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        '\n',
        '\r\n',
        '\r',
        '\u0000',
        '\u0007',
        '\u000b',
        '\u000c',
        '\u001b[2J',
        '\u007f',
        '\u0085',
        '\u009b31m',
        '\u00ad',
        '\u2028',
        '\u2029',
        '\u200b',
        '\u202e',
        '\u2066',
        '\ufeff',
        '\ud800',
        '\udc00',
        '\u{e0041}',
        '"',
        '\\',
        '\\u000a',
        '"}\n{"event":"access"',
        ',"seq":1',
        '</script>',
        '%0a',
        '𝒜',
        'é',
        ' ',
      ),
      { maxLength: 6 },
    )
    .map((parts) => parts.join('')),
);
const maybe = fc.option(hostile, { nil: undefined });
const values = fc.option(fc.dictionary(hostile, fc.option(hostile)), { nil: undefined });

const principal = fc.record({
  id: hostile,
  kind: fc.constantFrom('workload' as const, 'none' as const),
  trustDomain: hostile,
  serial: hostile,
  sha256: hostile,
  keySha256: hostile,
  issuer: hostile,
  authority: maybe,
  notBefore: hostile,
  notAfter: hostile,
  owner: maybe,
});
const decision = fc.record({
  effect: fc.constant('deny' as const),
  reason: fc.constant('chain_untrusted' as const),
  rule: maybe,
  exception: maybe,
  conditionErrors: fc.option(fc.array(fc.record({ rule: hostile, error: hostile })), { nil: undefined }),
  policyRevision: maybe,
  trustRevision: maybe,
  detail: maybe,
});
const tls = fc.record({ version: maybe, cipher: maybe, resumed: fc.boolean(), serverName: maybe });
const peer = fc.record({ address: hostile });
const time = fc.constant('2026-11-21T10:00:00.000Z');

const access = fc.record({
  time,
  event: fc.constantFrom('access' as const, 'access.corrected' as const),
  id: hostile,
  phase: fc.constant(undefined),
  principal,
  decision,
  request: fc.record({
    listener: hostile,
    route: maybe,
    destination: maybe,
    method: maybe,
    host: maybe,
    path: maybe,
    protocol: maybe,
    bytes: fc.nat(),
    traceId: maybe,
    headers: values,
    query: values,
    redacted: fc.constantFrom(true as const, undefined),
    truncated: fc.constantFrom(true as const, undefined),
  }),
  response: fc.constant({ status: 403, bytes: 0, outcome: 'refused' as const, reason: undefined }),
  timing: fc.constant({ totalMs: 1, upstreamMs: undefined }),
  tls: tls as fc.Arbitrary<TlsFields>,
  peer,
});
const handshake = fc.record({
  time,
  event: fc.constant('handshake' as const),
  id: hostile,
  principal,
  decision,
  request: fc.record({ listener: hostile }),
  tls: tls as fc.Arbitrary<TlsFields>,
  peer,
});
const lifecycle = fc.record({
  time,
  event: fc.constant('revocation.changed' as const),
  source: maybe,
  policyRevision: maybe,
  trustRevision: maybe,
  detail: maybe,
  principal,
  exception: fc.record({ id: hostile, owner: hostile, expires: hostile }),
});

/** Everything that some reader takes for the end of a line, a control, or does not show. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u;
const plain = (value: unknown): Record<string, unknown> =>
  JSON.parse(JSON.stringify(value)) as Record<string, unknown>;

t.test('whatever peers write, every kind of record is one line that says exactly that', async () => {
  fc.assert(
    fc.property(fc.oneof(access, handshake, lifecycle), (record) => {
      const { log, lines } = capture();
      log.write(record as AuditRecord);
      assert.equal(lines.length, 1);
      const [line = ''] = lines;
      assert.ok(line.endsWith('}\n'));
      assert.doesNotMatch(line.slice(0, -1), UNSEEN);
      const { stream, seq, ...rest } = JSON.parse(line) as Record<string, unknown>;
      assert.deepEqual(rest, plain(record));
      assert.equal(seq, 1);
      assert.ok(typeof stream === 'object');
      assert.equal(Buffer.from(line).toString('utf8'), line, 'and UTF-8');
    }),
    { numRuns: 600, seed: 20261125 },
  );
});

t.test('no value of one record shows in the next one of its connection', async () => {
  fc.assert(
    fc.property(access, hostile, (record, path) => {
      const { log, lines } = capture();
      log.write(record as AuditRecord);
      const next = { ...record, id: 'next', request: { ...record.request, path } };
      log.write(next as AuditRecord);
      const { seq, stream: _, ...rest } = JSON.parse(lines[1] ?? '') as Record<string, unknown>;
      assert.deepEqual(rest, plain(next));
      assert.equal(seq, 2);
    }),
    { numRuns: 200, seed: 20261126 },
  );
});
