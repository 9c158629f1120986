import { RecordScanner } from '../../src/audit/record-scanner.js';
import { buildReport } from '../../src/audit/report/report-build.js';
import type { Report } from '../../src/audit/report/report-model.js';
import { ReportTally } from '../../src/audit/report/report-tally.js';
import { timeSpan } from '../../src/audit/report/time-span.js';

/** The report of these lines, as if they were one file. */
export function reportOf(
  lines: Iterable<string>,
  shown: { readonly file?: string; readonly identity?: string; readonly destination?: string } = {},
): Report {
  const tally = new ReportTally({
    ...timeSpan(undefined, undefined),
    isIdentity: undefined,
    destination: undefined,
  });
  const scanner = new RecordScanner();
  let [bytes, count, brokenLines] = [0, 0, 0];
  for (const line of lines) {
    const text = Buffer.from(line);
    const record = scanner.scan(text, 0, text.length);
    if (record === undefined || !tally.take(record)) brokenLines++;
    bytes += text.length;
    count++;
  }
  const { file = 'a.ndjson', identity, destination } = shown;
  return buildReport(tally, {
    generatedAt: '2026-11-23T08:00:00.000Z',
    files: [file],
    bytes,
    lines: count,
    brokenLines,
    brokenAt: [],
    cutFiles: [],
    filter: { since: undefined, until: undefined, identity, destination },
  });
}
