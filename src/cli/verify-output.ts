import type { StreamName } from '../audit/seal-line.js';
import type { Verification } from '../audit/verify/verifier.js';
import { type Finding, type Note, showPlace } from '../audit/verify/verify-findings.js';
import type { StreamSummary } from '../audit/verify/verify-summary.js';
import { printable } from './printable.js';

export interface VerifyReport {
  readonly verification: Verification;
  /** As shown, in the order in which they were read. */
  readonly files: readonly string[];
  /** Files that could not be read to their end, and why. */
  readonly unreadable: readonly string[];
  readonly allowOpenTail: boolean;
  /** Heads that were looked for. */
  readonly expected: number;
}

/** Shown of each kind of thing, as text. */
const MAX_SHOWN = 20;

/** Every line of every file is covered; but for open tails, where they are allowed. */
export function isProven({ verification, unreadable, allowOpenTail }: VerifyReport): boolean {
  const { findings, cutAt } = verification;
  if (findings.count > 0 || unreadable.length > 0) return false;
  const isOpen = cutAt.length > 0 || openStreams(verification).length > 0;
  // A file in which nothing is sealed proves nothing.
  return provenSeals(verification) > 0 && (!isOpen || allowOpenTail);
}

const openStreams = ({ streams }: Verification): readonly StreamSummary[] =>
  streams.filter(({ open }) => open !== undefined);

const provenSeals = ({ streams }: Verification): number => streams.reduce((sum, { seals }) => sum + seals, 0);

export function verificationAsText(report: VerifyReport): string {
  const { verification, files, unreadable } = report;
  const { findings, streams } = verification;
  const faults = [
    ...findings.kept.slice(0, MAX_SHOWN).map((finding) => findingText(finding, files)),
    ...more(findings.count - Math.min(MAX_SHOWN, findings.kept.length), 'are wrong'),
    ...unreadable,
  ];
  const notes = findings.notes.slice(0, MAX_SHOWN).map((note) => noteText(note, files));
  const lines = [
    ...faults,
    ...openTexts(report),
    ...notes,
    ...more(findings.notesCount - notes.length, 'were noted'),
    verdictText(report),
    ...streams.slice(0, MAX_SHOWN).flatMap(streamTexts),
    ...more(streams.length - MAX_SHOWN, 'streams'),
    ...limitText(report),
  ];
  // Names of files, and of streams that nothing proves, are anybody's.
  return `${lines.map(printable).join('\n')}\n`;
}

const more = (count: number, what: string): string[] => (count > 0 ? [`… and ${count} more ${what}`] : []);

function findingText({ place, stream, what }: Finding, files: readonly string[]): string {
  const where = place === undefined ? '' : `${showPlace(place, files)}: `;
  return `${where}${what}${stream === undefined ? '' : ` (${streamText(stream)})`}`;
}

const noteText = ({ place, what }: Note, files: readonly string[]): string =>
  `${showPlace(place, files)}: note: ${what}`;

const streamText = ({ id, boot, worker }: StreamName): string =>
  `${JSON.stringify(id).slice(1, -1)}, boot ${boot}, worker ${worker}`;

const countText = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;

const rangeText = (what: string, from: number, to: number): string =>
  from === to ? `${what} ${from}` : `${what}s ${from}..${to}`;

function openTexts({ verification, files, allowOpenTail }: VerifyReport): readonly string[] {
  const hint = allowOpenTail
    ? 'allowed'
    : 'the end was cut or its process killed; or it is still being written: then --allow-open-tail';
  const unsealed = 'there is no seal: was it written without audit.seal, or is its first seal still to come?';
  const open = openStreams(verification);
  const tails = open.slice(0, MAX_SHOWN).map(({ name, open: tail, seals }) => {
    const where = tail?.place === undefined ? '' : `${showPlace(tail.place, files)}: `;
    const what = tail?.records ? `${rangeText('record', tail.from, tail.to)}` : 'a torn line';
    return seals === 0
      ? `${where}open tail: ${what} of ${streamText(name)} (${unsealed})`
      : `${where}open tail: ${what} after the newest seal of ${streamText(name)} (${hint})`;
  });
  const cut = verification.cutAt
    .slice(0, MAX_SHOWN)
    .map((place) => `${showPlace(place, files)}: the file ends in the middle of a line (${hint})`);
  return [...tails, ...more(open.length - MAX_SHOWN, 'open tails'), ...cut];
}

function verdictText(report: VerifyReport): string {
  const { verification, files, expected } = report;
  const sum = (count: (stream: StreamSummary) => number): number =>
    verification.streams.reduce((total, stream) => total + count(stream), 0);
  const covered = sum(({ proven, adopted }) => proven + adopted);
  const uncovered = sum(({ unproven, open }) => unproven + (open?.records ?? 0));
  const counts = [
    `${countText(covered, 'record')} under ${countText(provenSeals(verification), 'seal')}`,
    countText(verification.streams.length, 'stream'),
    countText(files.length, 'file'),
  ].join(', ');
  const rest = uncovered === 0 ? '' : `; ${countText(uncovered, 'record')} not covered`;
  const heads = expected === 0 ? '' : `; ${countText(expected, 'head')} looked for`;
  if (isProven(report)) return `PROVEN: ${counts}${rest}${heads}`;
  const why = provenSeals(verification) === 0 ? ' (no seal is good here)' : '';
  return `NOT PROVEN${why}: covered are ${counts}${rest}${heads}`;
}

/** What seals alone cannot show, so that nobody takes more from PROVEN than it says. */
function limitText(report: VerifyReport): readonly string[] {
  if (!isProven(report) || report.expected > 0) return [];
  return [
    'no head was given: only --expect-head can tell whether the end was cut off after a seal, or a whole stream is missing',
  ];
}

function streamTexts(stream: StreamSummary): readonly string[] {
  const { name, seals, firstSeal, lastSeal, from, to, timeFrom, timeTo, isLast, adopted, lost } = stream;
  const covered =
    from === 0
      ? 'nothing is covered'
      : `${rangeText('record', from, to)}, ${timeFrom}${timeTo === '' ? '' : ` to ${timeTo}`}`;
  const more = [
    seals === 0 ? 'no seal' : rangeText('seal', firstSeal, lastSeal),
    ...(firstSeal > 1 ? [`begins after seal ${firstSeal - 1}`] : []),
    ...(isLast ? ['ended with its last seal'] : []),
    ...(adopted > 0 ? [`${countText(adopted, 'record')} at its end taken over by a later stream`] : []),
    ...(lost > 0 ? [`${countText(lost, 'record')} said to be lost`] : []),
    ...(stream.unproven > 0 ? [`${countText(stream.unproven, 'record')} not proven`] : []),
  ];
  return [`  ${streamText(name)}: ${covered}; ${more.join(', ')}`];
}

export function verificationAsJson(report: VerifyReport): object {
  const { verification, files, unreadable, allowOpenTail, expected } = report;
  const { findings, streams, lines, cutAt } = verification;
  const show = (place: number | undefined): string | undefined =>
    place === undefined ? undefined : showPlace(place, files);
  return {
    ok: isProven(report),
    files,
    lines,
    heads: expected,
    allowOpenTail,
    findings: {
      count: findings.count,
      shown: findings.kept.map(({ kind, place, stream, what }) => ({ kind, at: show(place), stream, what })),
    },
    unreadable,
    cut: cutAt.map(show),
    notes: {
      count: findings.notesCount,
      shown: findings.notes.map(({ place, what }) => ({ at: show(place), what })),
    },
    streams: streams.map(({ name, open, timeFrom, timeTo, ...rest }) => ({
      stream: name,
      ...rest,
      timeFrom: timeFrom || undefined,
      timeTo: timeTo || undefined,
      open: open && { ...open, place: undefined, at: show(open.place) },
    })),
  };
}
