import t from 'tap';
import { RecordGroups } from '../../../src/audit/record-groups.js';
import { RecordScanner } from '../../../src/audit/record-scanner.js';
import { CappedMap, OTHER } from '../../../src/audit/report/capped-map.js';
import { DurationHistogram } from '../../../src/audit/report/duration-histogram.js';
import { EventTally } from '../../../src/audit/report/event-tally.js';
import { volumeOf } from '../../../src/audit/report/report-volume.js';
import { durationText, listText, numberText, shareText } from '../../../src/audit/report/report-wording.js';
import { isWithin, timeSpan } from '../../../src/audit/report/time-span.js';
import { VolumeTally } from '../../../src/audit/report/volume-tally.js';
import { recordText } from '../../support/records.js';
import { reportOf } from '../../support/report-of.js';

t.test('a map holds so many names, and the others share one entry', async (t) => {
  const map = new CappedMap(2, (name) => ({ name, times: 0 }));
  for (const name of ['a', 'b', 'c', 'd', 'a', 'x'.repeat(3000)]) map.at(name).times++;
  t.same(map.values(), [
    { name: 'a', times: 2 },
    { name: 'b', times: 1 },
    { name: OTHER, times: 3 },
  ]);
  t.equal(map.isFull, true);
});

t.test('a percentile is right within a tenth, at any size', async (t) => {
  for (const scale of [0.001, 1, 37, 10_000]) {
    const durations = new DurationHistogram();
    for (let n = 1; n <= 1000; n++) durations.add(n * scale);
    for (const share of [0.5, 0.95, 0.99]) {
      const told = durations.percentile(share) ?? 0;
      t.ok(Math.abs(told / (share * 1000 * scale) - 1) < 0.1, `${share} of ${scale}: ${told}`);
    }
  }
  const none = new DurationHistogram();
  none.add(Number.NaN);
  none.add(-1);
  t.equal(none.percentile(0.5), undefined);
});

t.test('requests over a long time are kept in coarser spans, and none is lost', async (t) => {
  const tally = new VolumeTally();
  const start = Date.parse('2026-01-01T00:00:00.000Z');
  let added = 0;
  for (let n = 0; n < 60 * 24 * 40; n += 3) {
    tally.at(new Date(start + n * 60_000).toISOString()).allowed++;
    added++;
  }
  t.ok(tally.spans.length <= 4001);
  const { spans, spanMs } = volumeOf(tally);
  t.equal(
    spans.reduce((sum, { allowed }) => sum + allowed, 0),
    added,
  );
  t.ok(spans.length > 30 && spans.length <= 100, `${spans.length} spans`);
  for (const [n, { from }] of spans.entries())
    if (n > 0) t.equal(Date.parse(from) - Date.parse(spans[n - 1]?.from ?? ''), spanMs);
});

t.test('identities beyond those that are told apart are counted together', async (t) => {
  const lines = Array.from({ length: 6000 }, (_, n) =>
    recordText({ principal: { id: `spiffe://a.test/w${n}`, sha256: `${n}` } }),
  );
  const report = reportOf(lines);
  t.equal(report.totals.requests, 6000);
  t.equal(report.totals.allowed, 6000);
  t.equal(report.identities.length, 5001);
  t.match(report.identities[0], { id: OTHER, requests: 1000 });
  t.equal(report.reading.isCapped, true);
  t.ok(report.findings.some(({ id }) => id === 'capped'));
});

t.test('a file of ever new names does not fill the memory', async (t) => {
  const before = process.memoryUsage().heapUsed;
  function* flood(): Generator<string> {
    for (let n = 0; n < 30_000; n++) {
      const name = `${n}-${'x'.repeat(300)}`;
      yield recordText({
        principal: { id: name, sha256: name, keySha256: name, authority: name },
        decision: { rule: name, reason: name, policyRevision: name, trustRevision: name },
        request: { destination: name, route: name, secrets: [name] },
      });
    }
  }
  const report = reportOf(flood());
  const grownMb = (process.memoryUsage().heapUsed - before) / 1e6;
  t.equal(report.totals.requests, 30_000);
  t.equal(report.reading.isCapped, true);
  t.ok(grownMb < 250, `${Math.round(grownMb)} MB`);
});

t.test('times of other forms are within a period as their moment says', async (t) => {
  const span = timeSpan(Date.parse('2026-11-21T10:00:00Z'), Date.parse('2026-11-21T11:00:00Z'));
  for (const time of ['2026-11-21T10:00:00.000Z', '2026-11-21T10:00:00Z', '2026-11-21T10:59:59.999999Z'])
    t.equal(isWithin(span, time), true, time);
  for (const time of ['2026-11-21T09:59:59.999Z', '2026-11-21T11:00:00.000Z', '2026-11-21T11:00:00Z'])
    t.equal(isWithin(span, time), false, time);
});

t.test('numbers are written for people', async (t) => {
  t.same([1, 1234, 1234567].map(numberText), ['1', '1,234', '1,234,567']);
  t.same([0.4, 12, 1500, 90_000, 3_600_000, 90 * 24 * 3_600_000, undefined].map(durationText), [
    '0.4 ms',
    '12 ms',
    '1.5 s',
    '1.5 min',
    '1 h',
    '90 d',
    '–',
  ]);
  t.same(
    [shareText(0, 10), shareText(1, 5000), shareText(4999, 5000), shareText(1, 3), shareText(0, 0)],
    ['0 %', '< 0.1 %', '> 99.9 %', '33.3 %', '–'],
  );
  t.equal(listText(['a', 'b', 'c', 'd', 'e']), 'a, b, c and 2 more');
});

t.test('events of any name and size are counted, and told only as far as memory allows', async (t) => {
  const tally = new EventTally();
  const caller = { identity: undefined, claim: undefined, credential: undefined };
  const stream = { id: '', boot: '', worker: 0, records: 0, seals: 0, from: 0, to: 0, first: '', last: '' };
  const time = '2026-11-21T10:00:00.000Z';
  const large = 'x'.repeat(15_000);
  for (let n = 0; n < 4000; n++) tally.takeEvent(`made.up.${n % 900}`, caller, stream, time, { large });
  const told = tally.toldEvents.flatMap((event) => tally.told(event));
  t.ok(told.length * large.length <= 25 * 1024 * 1024, `${told.length} are kept`);
  t.equal(told.length + tally.untold, 4000);
});

t.test('groups are counted up to so many, and up to so many characters', async (t) => {
  const scanner = new RecordScanner();
  const add = (groups: RecordGroups, path: string): void => {
    const bytes = Buffer.from(recordText({ request: { path } }));
    const record = scanner.scan(bytes, 0, bytes.length);
    if (record !== undefined) groups.add(record);
  };
  const groups = new RecordGroups(['path'], 100, 10_000);
  for (let n = 0; n < 5; n++) for (const name of ['a', 'b', 'c']) add(groups, `/${name.repeat(4000)}`);
  t.same(
    groups.all.map(({ records }) => records),
    [5, 5],
  );
  t.equal(groups.ungrouped, 5);
});
