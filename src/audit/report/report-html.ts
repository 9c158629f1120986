import { createHash } from 'node:crypto';
import { html } from './html-text.js';
import { lifetimeChart, refusalChart, volumeChart } from './report-html-charts.js';
import { accessMatrix } from './report-html-matrix.js';
import { SCRIPT } from './report-html-script.js';
import { STYLE } from './report-html-style.js';
import type { Finding, Report, Severity } from './report-model.js';
import { type ReportSection, reportSections } from './report-sections.js';
import type { ReportCell, ReportTable } from './report-table.js';
import { countText, durationText, numberText, shareText, timeText } from './report-wording.js';

/** Rows of a table in the page; JSON has them all. */
const MAX_ROWS = 500;

/** As the style has it for print. */
const PRINTED_ROWS = 60;

const hashOf = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;

/** Should a name ever get past the escaping: nothing runs or is fetched but what these hashes name. */
const POLICY = `default-src 'none'; style-src ${hashOf(STYLE)}; script-src ${hashOf(SCRIPT)}; base-uri 'none'; form-action 'none'`;

/** The report as one page that needs nothing else: no font, picture or script from elsewhere. */
export function reportAsHtml(report: Report): string {
  const sections = reportSections(report);
  const links = [
    ['attention', 'Attention'],
    ['volume', 'Over time'],
    ['access', 'Access graph'],
    ...sections.map(({ id, title }) => [id, title] as const),
  ];
  const nav = links.map(([id, title]) => `<li><a href="#${id}">${html(title!)}</a></li>`).join('');
  return `<!doctype html>
<html lang="en" dir="ltr">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>${html(`Access report, ${periodText(report)}`)}</title>
<style>${STYLE}</style>
</head>
<body>
${head(report)}
<nav aria-label="Contents"><ol>${nav}</ol></nav>
<main>
${tiles(report)}
${attention(report)}
<section id="volume"><h2>Requests over time</h2>${volumeChart(report)}</section>
<section id="access" class="wide"><h2>Access graph</h2><p class="note">Requests of each identity to each destination. Identities are grouped by owner, and destinations stand near the owners who use them most: what lies apart from the others is worth a look.</p>${accessMatrix(report)}</section>
${sections.map((section) => sectionHtml(section, report)).join('\n')}
</main>
<footer>${footer(report)}</footer>
<script>${SCRIPT}</script>
</body>
</html>
`;
}

function periodText({ reading: { first, last } }: Report): string {
  if (first === '') return 'no record counts';
  const [from, to] = [timeText(first), timeText(last)];
  return from.slice(0, 10) === to.slice(0, 10) ? `${from} to ${to.slice(11)} UTC` : `${from} to ${to} UTC`;
}

function head(report: Report): string {
  const { files, filter, records, brokenLines, outsideFilter, generatedAt, cutFiles } = report.reading;
  const asked = Object.entries(filter).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name} ${value}`],
  );
  const facts: [string, string][] = [
    ['Records', `${numberText(records)} in ${countText(files.length, 'file')}`],
    [
      'Files',
      files.length > 4 ? `${files.slice(0, 4).join(', ')} and ${files.length - 4} more` : files.join(', '),
    ],
  ];
  if (asked.length > 0)
    facts.push(['Only', `${asked.join(', ')} (${numberText(outsideFilter)} records left out)`]);
  if (brokenLines > 0) facts.push(['No records', countText(brokenLines, 'line')]);
  if (cutFiles.length > 0) facts.push(['Cut in the last line', cutFiles.join(', ')]);
  facts.push(['Made', `${timeText(generatedAt)} UTC`]);
  const list = facts
    .map(([name, value]) => `<div><dt>${html(name)}</dt><dd>${html(value)}</dd></div>`)
    .join('');
  return `<header class="head"><p class="brand">Countersign</p><h1>Access report</h1><p class="period">${html(periodText(report))}</p><dl class="facts">${list}</dl></header>`;
}

function tiles({ totals, evidence, leastPrivilege, exceptions }: Report): string {
  const { requests, allowed, refused, failed, identities, destinations, paths, rulesUsed, durationMs } =
    totals;
  const lost = evidence.gaps.reduce((sum, gap) => sum + (gap.records ?? 0), evidence.undeclared);
  const unused = leastPrivilege.isKnown
    ? `${numberText(leastPrivilege.neverUsed.length)} never used`
    : 'give -c to see the unused';
  const list: [string, string, string, boolean?][] = [
    ['Requests', numberText(requests), `${shareText(allowed, requests)} allowed`],
    [
      'Refused',
      numberText(refused),
      `${shareText(refused, requests)} of requests; ${countText(totals.refusedConnections, 'connection')}`,
    ],
    ['Not whole', numberText(failed), `${shareText(failed, allowed)} of those allowed`],
    [
      'Identities',
      numberText(identities),
      `on ${countText(paths, 'path')} to ${countText(destinations, 'destination')}`,
    ],
    ['Rules that let in', numberText(rulesUsed), unused],
    [
      'Exceptions used',
      numberText(exceptions.filter(({ requests }) => requests > 0).length),
      `${numberText(exceptions.filter(({ state }) => state === 'soon').length)} to expire within a week`,
    ],
    ['Median answer', durationText(durationMs.p50), `99 % within ${durationText(durationMs.p99)}`],
    [
      'Records lost',
      numberText(lost),
      evidence.seals === 0 ? 'nothing sealed' : `${countText(evidence.seals, 'seal')}, to be verified`,
      lost > 0,
    ],
  ];
  const cells = list.map(
    ([name, value, sub, isBad]) =>
      `<div class="tile"><dt>${html(name)}</dt><dd class="big${isBad === true ? ' bad' : ''}">${html(value)}</dd><dd class="sub">${html(sub)}</dd></div>`,
  );
  return `<dl class="tiles">${cells.join('')}</dl>`;
}

const SEVERITIES: Readonly<Record<Severity, string>> = {
  high: '▲ Act now',
  medium: '◆ Look into',
  low: '● Know',
};

function attention({ findings }: Report): string {
  const items = findings.map(finding).join('');
  const list =
    items === ''
      ? '<p class="none">Nothing that this report looks for.</p>'
      : `<ol class="findings">${items}</ol>`;
  return `<section id="attention"><h2>What needs attention</h2>${list}</section>`;
}

const finding = ({ severity, title, detail, action, section }: Finding): string =>
  `<li><span class="mark ${severity}">${SEVERITIES[severity]}</span><div><p class="what">${html(title)}</p><p class="seen">${html(detail)}</p><p class="do">${html(action)} <a href="#${section}">Show</a></p></div></li>`;

function sectionHtml({ id, title, tables }: ReportSection, report: Report): string {
  const chart = id === 'credentials' ? lifetimeChart(report) : id === 'refusals' ? refusalChart(report) : '';
  return `<section id="${id}"><h2>${html(title)}</h2>${chart}${tables.map(tableHtml).join('')}</section>`;
}

function tableHtml({ title, note, columns, rows }: ReportTable): string {
  const heading = `<h3>${html(title)} <span class="n">${rows.length === 0 ? '' : numberText(rows.length)}</span></h3><p class="note">${html(note)}</p>`;
  if (rows.length === 0) return `${heading}<p class="none">None.</p>`;
  const head = columns.map(
    (column) =>
      `<th scope="col" class="${column.kind}"><button type="button">${html(column.title)}</button></th>`,
  );
  const body = rows
    .slice(0, MAX_ROWS)
    .map((row) => `<tr>${row.map((cell, n) => cellHtml(cell, columns[n]!.kind)).join('')}</tr>`);
  const more = rows.length - MAX_ROWS;
  const rest =
    more > 0 ? `<p class="note">And ${numberText(more)} more: --format json has them all.</p>` : '';
  const printed =
    rows.length > PRINTED_ROWS
      ? `<p class="printed">The first ${PRINTED_ROWS} of ${numberText(rows.length)} are printed; the page on a screen has more.</p>`
      : '';
  return `${heading}<div class="table" tabindex="0" role="region" aria-label="${html(title)}"><table><thead><tr>${head.join('')}</tr></thead><tbody class="rows">${body.join('')}</tbody></table></div>${rest}${printed}`;
}

function cellHtml({ text, order }: ReportCell, kind: string): string {
  const by = order === undefined ? '' : ` data-o="${html(String(order))}"`;
  // Names break after a slash, where they must.
  const shown = kind === 'name' ? html(text).replace(/\//g, '/<wbr>') : html(text);
  return `<td class="${kind}"${by}>${shown}</td>`;
}

function footer({ reading, evidence }: Report): string {
  const seals =
    evidence.seals === 0
      ? 'Nothing in these files is sealed: nobody can prove that they are whole.'
      : `${countText(evidence.seals, 'seal')} were counted, not checked: countersign audit verify proves the files.`;
  const capped = reading.isCapped
    ? ' There were more names than are told apart: what found no place is counted as (other).'
    : '';
  return html(
    `Made from records alone. Soon and past are told from the newest record, ${timeText(reading.last)}. All times are UTC. ${seals}${capped}`,
  );
}
