import { html } from './html-text.js';
import type { Report, Volume } from './report-model.js';
import { countText, durationText, numberText, shareText, timeText } from './report-wording.js';

type Span = Volume['spans'][number];

/** Requests over time, and beneath it, on a scale of its own, those that were refused or failed: they are few, and matter most. */
export function volumeChart({ volume, totals }: Report): string {
  const { spans, spanMs } = volume;
  if (spans.length === 0) return '<p class="none">No requests.</p>';
  const each = `each bar ${durationText(spanMs)}`;
  const most = Math.max(...spans.map(({ allowed, refused }) => allowed + refused));
  const worst = Math.max(...spans.map(({ refused, failed }) => refused + failed));
  const all = panel(spans, most, ({ allowed, refused }) => [
    ['allow', allowed],
    ['refuse', refused],
  ]);
  const bad = panel(spans, worst, ({ refused, failed }) => [
    ['refuse', refused],
    ['fail', failed],
  ]);
  const label = `${countText(totals.requests, 'request')} over time, ${each}; the most in one ${numberText(most)}`;
  const badLabel = `${numberText(totals.refused)} refused and ${numberText(totals.failed)} not answered whole over time; the most in one ${numberText(worst)}`;
  return `<figure class="chart">
<div class="panel"><div class="top"><span><b>Requests</b>, ${each}</span><span>up to ${numberText(most)}</span></div>
<svg viewBox="0 0 ${spans.length} 100" preserveAspectRatio="none" role="img" aria-label="${html(label)}">${all}</svg></div>
<div class="panel small"><div class="top"><span><b>Enlarged:</b> <i class="swatch refuse"></i>refused, below <i class="swatch fail"></i>not answered whole, on top</span><span>up to ${numberText(worst)}</span></div>
<svg viewBox="0 0 ${spans.length} 100" preserveAspectRatio="none" role="img" aria-label="${html(badLabel)}">${bad}</svg></div>
<p class="ticks">${ticks(volume)}</p>
<details><summary>The figures</summary>${figures(spans)}</details>
</figure>`;
}

function panel(
  spans: readonly Span[],
  most: number,
  partsOf: (span: Span) => readonly (readonly [string, number])[],
): string {
  const scale = most === 0 ? 0 : 100 / most;
  return spans
    .map((span, n) => {
      let base = 100;
      const bars = partsOf(span).map(([name, count]) => {
        const height = count * scale;
        base -= height;
        return count === 0
          ? ''
          : `<rect class="${name}" x="${n + 0.08}" width="0.84" y="${short(base)}" height="${short(height)}"/>`;
      });
      const { from, allowed, refused, failed } = span;
      const told = `${timeText(from)}: ${numberText(allowed)} allowed, ${numberText(refused)} refused, ${numberText(failed)} not answered whole`;
      return `<g><title>${html(told)}</title>${bars.join('')}</g>`;
    })
    .join('');
}

const short = (number: number): string => String(Number(number.toFixed(3)));

const DAY_MS = 24 * 3_600_000;

/** Times of the first bar, the last, and some between. */
function ticks({ spans, spanMs }: Volume): string {
  const count = Math.min(7, spans.length);
  const isLong = spans.length * spanMs > 2 * DAY_MS;
  const places = Array.from({ length: count }, (_, n) =>
    Math.round((n * (spans.length - 1)) / Math.max(1, count - 1)),
  );
  const text = (from: string): string => (isLong ? from.slice(0, 10) : from.slice(11, 16));
  return places.map((place) => `<span>${html(text(spans[place]!.from))}</span>`).join('');
}

function figures(spans: readonly Span[]): string {
  const rows = spans.map(
    ({ from, allowed, refused, failed }) =>
      `<tr><td class="time">${html(timeText(from))}</td><td class="number">${numberText(allowed)}</td><td class="number">${numberText(refused)}</td><td class="number">${numberText(failed)}</td></tr>`,
  );
  const head =
    '<th class="time">From</th><th class="number">Allowed</th><th class="number">Refused</th><th class="number">Not whole</th>';
  return `<div class="table" tabindex="0" role="region" aria-label="Requests over time"><table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table></div>`;
}

interface Bar {
  readonly label: string;
  readonly count: number;
  readonly told: string;
}

function bars(list: readonly Bar[], kind: string, label: string): string {
  const most = Math.max(1, ...list.map(({ count }) => count));
  const rows = list.map(
    ({ label: name, count, told }) =>
      `<div>${html(name)}</div><svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect class="${kind}" width="${short((count / most) * 100)}" height="1"/></svg><div class="v">${numberText(count)} <small>${html(told)}</small></div>`,
  );
  return `<figure class="chart" aria-label="${html(label)}"><div class="bars">${rows.join('')}</div></figure>`;
}

/** How long the credentials live that were used. */
export function lifetimeChart({ credentials: { lifetimes, known } }: Report): string {
  if (known === 0) return '';
  const list = lifetimes.map(({ upToMs, credentials }, n) => {
    const above = lifetimes[n - 1]?.upToMs;
    const label = upToMs === undefined ? `over ${durationText(above)}` : `up to ${durationText(upToMs)}`;
    return { label, count: credentials, told: shareText(credentials, known) };
  });
  return `<h3>Lifetimes</h3><p class="note">Credentials that were used, by how long they live.</p>${bars(list, 'allow', 'Credentials by lifetime')}`;
}

const SHOWN_REASONS = 8;

/** Why requests and connections were refused. */
export function refusalChart({ refusals: { byReason } }: Report): string {
  if (byReason.length === 0) return '';
  const all = byReason.reduce((sum, { requests, connections }) => sum + requests + connections, 0);
  const list = byReason.slice(0, SHOWN_REASONS).map(({ reason, requests, connections }) => {
    const count = requests + connections;
    return { label: reason, count, told: shareText(count, all) };
  });
  return bars(list, 'refuse', 'Refusals by reason');
}
