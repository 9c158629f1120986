import type { Report } from './report-model.js';
import { reportSections } from './report-sections.js';
import type { ReportCell, ReportTable } from './report-table.js';
import { countText, durationText, numberText, shareText, timeText, visible } from './report-wording.js';

/** Rows of a table that a terminal shows; JSON and HTML have more. */
const SHOWN_ROWS = 20;
const MAX_COLUMN = 72;

/** The report for a terminal or a mail: what needs attention, then every table that says something. */
export function reportAsText(report: Report): string {
  const lines = [...heading(report), ...findings(report)];
  for (const { title, tables } of reportSections(report)) {
    const told = tables.filter(({ rows }) => rows.length > 0);
    lines.push('', title.toUpperCase());
    if (told.length === 0) lines.push('  nothing in these records');
    for (const table of told) lines.push('', ...tableText(table));
  }
  return `${lines.map(visible).join('\n')}\n`;
}

function heading({ reading, totals }: Report): string[] {
  const { first, last, files, filter, lines, brokenLines, outsideFilter } = reading;
  const asked = Object.entries(filter).flatMap(([key, value]) =>
    value === undefined ? [] : [`--${key} ${value}`],
  );
  const { requests, allowed, refused, failed, durationMs } = totals;
  return [
    'Access report',
    first === '' ? 'no record counts' : `${timeText(first)} to ${timeText(last)} UTC`,
    `${countText(files.length, 'file')}, ${countText(lines, 'line')}${outsideFilter === 0 ? '' : `, ${numberText(outsideFilter)} outside of ${asked.join(' ')}`}${brokenLines === 0 ? '' : `, ${numberText(brokenLines)} no record`}`,
    ...(reading.cutFiles.length === 0
      ? []
      : [`cut in the middle of the last line: ${reading.cutFiles.join(', ')}`]),
    '',
    `  ${numberText(requests).padStart(12)} requests: ${numberText(allowed)} allowed, ${numberText(refused)} refused (${shareText(refused, requests)}), ${numberText(failed)} allowed and not answered whole`,
    `  ${numberText(totals.identities).padStart(12)} identities reached ${countText(totals.destinations, 'destination')} on ${countText(totals.paths, 'path')}`,
    `  ${numberText(totals.refusedConnections).padStart(12)} connections refused before a request`,
    `  ${durationText(durationMs.p50).padStart(12)} median answer; 95 % within ${durationText(durationMs.p95)}, 99 % within ${durationText(durationMs.p99)}`,
  ];
}

const MARKS = { high: '!!', medium: ' !', low: ' -' } as const;

function findings({ findings: found }: Report): string[] {
  const lines = ['', 'WHAT NEEDS ATTENTION'];
  if (found.length === 0) lines.push('  nothing that this report looks for');
  for (const { severity, title, detail, action } of found)
    lines.push(`  ${MARKS[severity]} ${title}`, `       ${detail}`, `       ${action}`);
  return lines;
}

function tableText({ title, columns, rows }: ReportTable): string[] {
  const shown = rows.slice(0, SHOWN_ROWS);
  const widths = columns.map((column, n) =>
    Math.min(MAX_COLUMN, Math.max(column.title.length, ...shown.map((row) => visible(row[n]!.text).length))),
  );
  const line = (cells: readonly ReportCell[]): string =>
    cells
      .map(({ text }, n) => {
        const cut = shortened(visible(text));
        return columns[n]!.kind === 'number' ? cut.padStart(widths[n]!) : cut.padEnd(widths[n]!);
      })
      .join('  ')
      .trimEnd();
  const more = rows.length - shown.length;
  return [
    `  ${title}`,
    `    ${line(columns.map((column) => ({ text: column.title })))}`,
    ...shown.map((row) => `    ${line(row)}`),
    ...(more > 0 ? [`    and ${numberText(more)} more`] : []),
  ];
}

const shortened = (text: string): string =>
  text.length <= MAX_COLUMN ? text : `${text.slice(0, MAX_COLUMN - 1)}…`;
