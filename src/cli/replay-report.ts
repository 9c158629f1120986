import { isAbsolute, relative } from 'node:path';
import type { Policy } from '../policy/policy.js';
import { printable } from './printable.js';
import type { Answer } from './replay-judge.js';
import type { Period, Replay } from './replay-run.js';
import { CHANGES, type Change, type ChangeGroup } from './replay-tally.js';

export interface ReplayReport extends Replay {
  readonly policy: Policy;
  readonly options: Period & {
    readonly config: string;
    readonly atMs: number | undefined;
    readonly all: boolean;
  };
  readonly isGood: boolean;
}

/** Groups of each kind that the text shows; JSON has all that were kept. */
const SHOWN_GROUPS = 50;

const TITLES: Readonly<Record<Change, string>> = {
  deny_to_allow: 'refused then, allowed now',
  allow_to_deny: 'allowed then, refused now',
  same_effect: 'the same answer for another reason',
  undecidable: 'cannot be told',
};

/** For people: what changes, by kind and size, then what was read and what was left alone. */
export function reportAsText(report: ReplayReport, cwd: string): string {
  const { tally, policy, options } = report;
  const when = options.atMs === undefined ? '' : `, as if asked at ${iso(options.atMs)}`;
  const lines = [`${options.config}, policy ${policy.revision}${when}`];
  for (const change of CHANGES) lines.push(...sectionOf(change, report));
  lines.push('', ...sumOf(report), ...readingOf(report, cwd));
  if (tally.judged === 0) lines.push('no request was there to be judged, which says nothing');
  return `${lines.join('\n')}\n`;
}

function sectionOf(change: Change, { tally, policy }: ReplayReport): string[] {
  const groups = tally.groups.filter((group) => group.change === change);
  if (groups.length === 0) return [];
  const lines = ['', `${TITLES[change]}: ${requests(tally.changed[change])}`];
  for (const group of groups.slice(0, SHOWN_GROUPS)) lines.push(...groupText(group, policy));
  const rest = groups.slice(SHOWN_GROUPS).reduce((sum, group) => sum + group.requests, 0);
  const more = rest + tally.ungrouped[change];
  if (more > 0) lines.push(`  and ${requests(more)} in further groups`);
  return lines;
}

function groupText(group: ChangeGroup, policy: Policy): string[] {
  const { identity, listener, was, now, unknown, example, requests: count } = group;
  const where = now?.destination ?? was.destination;
  const to = where === undefined ? `listener ${listener}` : where;
  const outcome = now === undefined ? `${unknown} is not in the record` : `now ${answerText(now)}`;
  const lines = [
    `  ${identity ?? 'an unknown caller'} to ${to}, ${requests(count)}`,
    `      then ${answerText(was)}; ${outcome}`,
    `      such as ${example.method} ${example.host ?? ''}${example.path} at ${example.time}${span(group)}`,
  ];
  if (isGoneException(was, policy))
    lines.push(`      exception ${was.exception} is not in the new configuration`);
  return lines.map(printable);
}

const span = ({ requests: count, firstSeen, lastSeen }: ChangeGroup): string =>
  count === 1 ? '' : `; first ${firstSeen}, last ${lastSeen}`;

function answerText({ effect, reason, rule, destination, detail }: Answer): string {
  const by = rule === undefined ? '' : `, rule ${rule}`;
  const at = destination === undefined ? '' : `, destination ${destination}`;
  return `${effect} (${reason}${by}${at}${detail === undefined || detail === '' ? '' : `: ${detail}`})`;
}

const isGoneException = ({ exception }: Answer, { exceptions }: Policy): boolean =>
  exception !== undefined && exceptions.every(({ id }) => id !== exception);

function sumOf({ tally, options }: ReplayReport): string[] {
  const { judged, unchanged, changed, leftAlone } = tally;
  const lines = [`${requests(judged)} judged`, `  ${unchanged} as before`];
  for (const change of CHANGES) if (changed[change] > 0) lines.push(`  ${changed[change]} ${TITLES[change]}`);
  if (tally.redacted > 0)
    lines.push(`  of them ${tally.redacted} because their path was redacted (audit.pathTemplates)`);
  if (changed.same_effect > 0 && !options.all) lines.push('  --all lists those with the same answer');
  const reasons = [...leftAlone].sort((a, b) => b[1] - a[1]);
  const left = reasons.reduce((sum, [, count]) => sum + count, 0);
  const named = reasons.map(([reason, count]) => printable(`${reason} ${count}`)).join(', ');
  if (left > 0) lines.push(`${requests(left)} not decided by routes or policy, left alone: ${named}`);
  return lines;
}

function readingOf({ read }: ReplayReport, cwd: string): string[] {
  const lines = [];
  if (read.outsidePeriod > 0) lines.push(`${requests(read.outsidePeriod)} outside the period`);
  if (read.broken > 0) {
    const places = read.brokenAt.map((place) => shortened(place, cwd)).join(', ');
    const more = read.broken > read.brokenAt.length ? ', …' : '';
    lines.push(`${count(read.broken, 'line')} could be anybody's request, being no record: ${places}${more}`);
  }
  for (const file of read.cut)
    lines.push(`${shortened(file, cwd)} ends in the middle of a line, which was left out`);
  return lines;
}

/** For programs: the same, with every group that was kept. */
export function reportAsJson({ read, tally, policy, options, isGood }: ReplayReport): object {
  const { ends, otherEvents, outsidePeriod, broken, brokenAt, cut, lines, requests: taken } = read;
  return {
    ok: isGood,
    config: options.config,
    policyRevision: policy.revision,
    since: isoOf(options.sinceMs),
    until: isoOf(options.untilMs),
    at: isoOf(options.atMs),
    lines,
    requests: taken,
    judged: tally.judged,
    unchanged: tally.unchanged,
    changed: tally.changed,
    redacted: tally.redacted,
    leftAlone: Object.fromEntries(tally.leftAlone),
    outsidePeriod,
    otherRecords: otherEvents + ends,
    brokenLines: broken,
    brokenAt,
    cutFiles: cut,
    groups: tally.groups.map((group) => ({
      ...group,
      ...(isGoneException(group.was, policy) ? { exceptionGone: true } : {}),
    })),
    ungrouped: tally.ungrouped,
  };
}

const iso = (ms: number): string => new Date(ms).toISOString();
const isoOf = (ms: number | undefined): string | undefined => (ms === undefined ? undefined : iso(ms));
const requests = (number: number): string => count(number, 'request');
const count = (number: number, noun: string): string => `${number} ${noun}${number === 1 ? '' : 's'}`;

function shortened(place: string, cwd: string): string {
  if (!isAbsolute(place)) return printable(place); // standard input
  const short = relative(cwd, place);
  return printable(short.startsWith('..') || isAbsolute(short) ? place : short);
}
