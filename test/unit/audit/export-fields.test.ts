import t from 'tap';
import { exportFieldsOf } from '../../../src/audit/export-fields.js';
import { recordText } from '../../support/records.js';

const TRACE = '16a2f4f95d3ad2ba9914de17f5bf9c40';

t.test('an identity that nobody verified is not indexed as one', async (t) => {
  const principal = { id: 'spiffe://a.test/admin', kind: 'none' };
  const { attributes } = exportFieldsOf(recordText({ principal, decision: { effect: 'deny' } }));
  t.equal(attributes['countersign.principal.id'], undefined);
  t.equal(attributes['countersign.principal.claimed'], 'spiffe://a.test/admin');
});

t.test('what is refused, broken off or missing is a warning', async (t) => {
  const isWarning = (line: object) => exportFieldsOf(JSON.stringify(line)).isWarning;
  t.equal(
    isWarning({ event: 'access', decision: { effect: 'allow' }, response: { outcome: 'complete' } }),
    false,
  );
  t.equal(
    isWarning({ event: 'access', decision: { effect: 'deny' }, response: { outcome: 'refused' } }),
    true,
  );
  t.equal(
    isWarning({ event: 'access', decision: { effect: 'allow' }, response: { outcome: 'upstream_failed' } }),
    true,
  );
  t.equal(isWarning({ event: 'policy.refused' }), true);
  t.equal(isWarning({ event: 'audit.gap' }), true);
  t.equal(isWarning({ event: 'process.started' }), false);
  t.equal(isWarning({ event: 'audit.seal' }), false);
});

t.test('a seal has a stream and no number', async (t) => {
  const stream = { id: 'vm', boot: '0123456789abcdef', worker: 2 };
  const fields = exportFieldsOf(
    JSON.stringify({ stream, time: '2026-11-21T10:00:00.000Z', event: 'audit.seal' }),
  );
  t.match(fields, { stream, seq: undefined, event: 'audit.seal', timeMs: Date.UTC(2026, 10, 21, 10) });
});

t.test('a trace is one that OpenTelemetry takes, or none', async (t) => {
  const traceOf = (traceId: string) => exportFieldsOf(recordText({ request: { traceId } })).traceId;
  t.equal(traceOf(TRACE), TRACE);
  for (const wrong of ['', '0'.repeat(32), TRACE.toUpperCase(), `${TRACE}0`, 'x'.repeat(32)])
    t.equal(traceOf(wrong), undefined, wrong);
});

t.test('whatever a line is, it is read without harm', async (t) => {
  for (const line of [
    '',
    'x',
    'null',
    '1',
    '[]',
    '{',
    '"a"',
    '{"stream":1,"request":[],"decision":null,"seq":"1"}',
  ]) {
    const { stream, seq, event, timeMs } = exportFieldsOf(line);
    t.same([stream, seq, event, timeMs], [undefined, undefined, undefined, undefined], line);
  }
  const hostile = exportFieldsOf('{"__proto__":{"event":"x"},"request":{"__proto__":{"destination":"y"}}}');
  t.same(hostile.attributes, {});
});
