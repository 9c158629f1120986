const UNITS = [
  [24 * 3_600_000, 'd'],
  [3_600_000, 'h'],
  [60_000, 'min'],
  [1000, 's'],
] as const;

/** A duration for people: `47 min`, `1 h`, `3.5 d`, `12 ms`. */
export function durationText(ms: number | undefined): string {
  if (ms === undefined) return '–';
  for (const [unitMs, unit] of UNITS) if (ms >= unitMs) return `${rounded(ms / unitMs)} ${unit}`;
  return `${rounded(ms)} ms`;
}

const rounded = (number: number): string =>
  String(number >= 100 ? Math.round(number) : Number(number.toFixed(number >= 10 ? 1 : 2)));

/** 1234567 -> `1,234,567`. */
export const numberText = (number: number): string => String(number).replace(/(\d)(?=(\d{3})+$)/g, '$1,');

/** `1 rule`, `2 rules`, `1,200 identities`. */
export function countText(number: number, one: string, many = `${one}s`): string {
  return `${numberText(number)} ${number === 1 ? one : many}`;
}

/** `2026-11-21 10:00:00`, UTC. */
export const timeText = (time: string): string => time.replace('T', ' ').replace(/(\.\d+)?Z$/, '');

/** Records hold what clients wrote: nothing of it may steer a terminal, hide itself, or turn the line around. */
export const visible = (text: string): string =>
  text.replace(/[\p{C}\p{Zl}\p{Zp}\ufff9-\ufffd]/gu, (char) => {
    const code = char.codePointAt(0)!.toString(16);
    return code.length > 4 ? `\\u{${code}}` : `\\u${code.padStart(4, '0')}`;
  });

/** A part of a whole: `12.3 %`; never 0 or 100 where it is not quite that. */
export function shareText(part: number, whole: number): string {
  if (whole === 0) return '–';
  const share = (part / whole) * 100;
  if (part > 0 && share < 0.1) return '< 0.1 %';
  if (part < whole && share > 99.9) return '> 99.9 %';
  return `${Number(share.toFixed(1))} %`;
}

/** Names, the first few of them. */
export function listText(names: readonly string[], shown = 3): string {
  const rest = names.length - shown;
  return names.slice(0, shown).join(', ') + (rest > 0 ? ` and ${numberText(rest)} more` : '');
}
