import { html } from './html-text.js';
import { groupBy } from './report-access.js';
import type { IdentityRow, PathRow, Report } from './report-model.js';
import { countText, numberText } from './report-wording.js';

/** What can be taken in at a glance, and still be printed; the table of paths has all of them. */
const MAX_ROWS = 120;
const MAX_COLUMNS = 40;
const SHADES = 6;

/** The access graph as a matrix: identities by owner, and each column near the owners who use it most. */
export function accessMatrix(report: Report): string {
  const identities = report.identities.slice(0, MAX_ROWS);
  if (identities.length === 0) return '<p class="none">No verified caller.</p>';
  const shown = new Set(identities.map(({ id }) => id));
  const paths = report.paths.filter(({ identity, destination }) => shown.has(identity) && destination !== '');
  const groups = [...groupBy(identities, ownerOf)].sort(([a], [b]) => (a < b ? -1 : 1));
  const kept = new Set(report.destinations.slice(0, MAX_COLUMNS).map(({ name }) => name));
  const columns = columnsOf(paths, groups).filter((name) => kept.has(name));
  const most = Math.max(1, ...paths.map(({ allowed }) => allowed));
  const byIdentity = groupBy(paths, ({ identity }) => identity);
  const domain = commonDomain(identities);
  const body = groups.map(([owner, rows]) => {
    const title = `<tr class="group"><th scope="rowgroup">${html(owner)}</th>${'<td></td>'.repeat(columns.length)}</tr>`;
    const lines = rows.map((row) => line(row, byIdentity.get(row.id) ?? [], columns, most, domain));
    return `<tbody>${title}${lines.join('')}</tbody>`;
  });
  const head = columns.map((name) => `<th scope="col" title="${html(name)}"><span>${html(name)}</span></th>`);
  const left = report.identities.length - identities.length;
  const leftColumns = report.destinations.length - columns.length;
  const rest =
    left + leftColumns > 0
      ? `<p class="note">Not shown for want of room: ${countText(left, 'identity', 'identities')} and ${countText(leftColumns, 'destination')} with fewest requests. The table below has them.</p>`
      : '';
  return `${key(most)}${rest}<div class="table matrix" tabindex="0" role="region" aria-label="Requests of each identity to each destination">
<table><thead><tr><th scope="col">${html(domain === '' ? 'Identity' : `Identity in ${domain}`)}</th>${head.join('')}</tr></thead>${body.join('')}</table></div>`;
}

const ownerOf = ({ owner, registered }: IdentityRow): string =>
  registered === false ? 'unregistered' : (owner ?? 'no owner known');

/** Each destination beside those that the same owners use: what belongs together then stands together. */
function columnsOf(
  paths: readonly PathRow[],
  groups: readonly (readonly [string, readonly IdentityRow[]])[],
): string[] {
  const placeOf = new Map(groups.flatMap(([, rows], n) => rows.map(({ id }) => [id, n] as const)));
  const centres = [...groupBy(paths, ({ destination }) => destination)].map(([name, of]) => {
    const weights = of.map(({ identity, allowed }) => [placeOf.get(identity) ?? 0, allowed + 0.001] as const);
    const whole = weights.reduce((sum, [, weight]) => sum + weight, 0);
    return { name, centre: weights.reduce((sum, [place, weight]) => sum + place * weight, 0) / whole };
  });
  return centres.sort((a, b) => a.centre - b.centre || (a.name < b.name ? -1 : 1)).map(({ name }) => name);
}

function line(
  { id }: IdentityRow,
  paths: readonly PathRow[],
  columns: readonly string[],
  most: number,
  domain: string,
): string {
  const to = new Map(paths.map((path) => [path.destination, path]));
  const cells = columns.map((name) => cell(to.get(name), most));
  return `<tr><th scope="row" title="${html(id)}">${html(shortName(id, domain))}</th>${cells.join('')}</tr>`;
}

function cell(path: PathRow | undefined, most: number): string {
  if (path === undefined) return '<td></td>';
  const { identity, destination, allowed, refused } = path;
  const told = `${identity} to ${destination}: ${numberText(allowed)} allowed, ${numberText(refused)} refused`;
  if (allowed === 0) return `<td class="no" title="${html(told)}">✕${compact(refused)}</td>`;
  const shade = `h${shadeOf(allowed, most)}${refused > 0 ? ' some' : ''}`;
  return `<td class="${shade}" title="${html(told)}">${compact(allowed)}</td>`;
}

/** By its logarithm, from 1. */
const shadeOf = (count: number, most: number): number =>
  Math.min(SHADES, 1 + Math.floor((Math.log(count) / Math.log(most + 1)) * SHADES));

/** 1234 -> `1.2k`: at most four characters. */
function compact(count: number): string {
  if (count < 1000) return String(count);
  const [size, unit] =
    count < 999_500 ? [1000, 'k'] : count < 999_500_000 ? [1_000_000, 'M'] : [1_000_000_000, 'G'];
  const value = count / size;
  return `${value < 9.95 ? value.toFixed(1) : Math.round(value)}${unit}`;
}

const domainOf = (id: string): string => /^spiffe:\/\/([^/]*)\//.exec(id)?.[1] ?? '';

function commonDomain(identities: readonly IdentityRow[]): string {
  const domains = [...groupBy(identities, ({ id }) => domainOf(id))];
  return domains.reduce((best, next) => (next[1].length > best[1].length ? next : best))[0];
}

/** Without what nearly all names begin with. */
function shortName(id: string, domain: string): string {
  const prefix = `spiffe://${domain}/`;
  return domain !== '' && id.startsWith(prefix) ? id.slice(prefix.length) : id.replace(/^spiffe:\/\//, '');
}

function key(most: number): string {
  const least = (shade: number): number => Math.max(1, Math.ceil((most + 1) ** ((shade - 1) / SHADES)));
  const shades = Array.from({ length: SHADES }, (_, n) => n + 1)
    .filter((shade) => least(shade) <= most)
    .map((shade) => `<i class="h${shade}">${compact(least(shade))}</i>`);
  return `<p class="key"><span>${shades.join('')} requests allowed, or more</span><span><i class="h2 some">12</i> some were refused</span><span><i class="no">✕3</i> all were refused</span><span class="screen">Point at a cell for its numbers.</span></p>`;
}
