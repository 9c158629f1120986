import { markdownTable } from '../support/markdown-table.js';
import type { CpuTime } from '../support/running-program.js';
import { median, round } from '../support/statistics.js';
import type { LoadResult } from './load-protocol.js';
import type { Scenario } from './scenarios.js';
import type { SubjectName } from './subjects.js';

/** One subject's turn in one round, as measured. The CPU time is that of all the subject's processes while it was loaded. */
export interface Turn extends LoadResult, CpuTime {
  readonly subject: SubjectName;
  readonly round: number;
}

export interface Summary {
  readonly subject: SubjectName;
  /** Medians over the rounds. */
  readonly cpuMicros: number;
  /** Of it in the kernel: sockets, and waking whoever waits at their other ends. */
  readonly systemMicros: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly failed: number;
  readonly timesNginx: number | undefined;
  readonly timesBare: number | undefined;
}

export function summarise(turns: readonly Turn[]): Summary[] {
  const subjects = [...new Set(turns.map((turn) => turn.subject))];
  const cpu = new Map(subjects.map((name) => [name, medianOf(turns, name, microsOf)]));
  const ratio = (name: SubjectName, to: SubjectName): number | undefined => {
    const [mine, other] = [cpu.get(name), cpu.get(to)];
    return mine === undefined || other === undefined ? undefined : round(mine / other);
  };
  return subjects.map((subject) => ({
    subject,
    cpuMicros: round(cpu.get(subject) ?? Number.NaN, 1),
    systemMicros: round(medianOf(turns, subject, systemMicrosOf), 1),
    perSecond: round(
      medianOf(turns, subject, (turn) => turn.completed / turn.seconds),
      1,
    ),
    p50Ms: round(
      medianOf(turns, subject, (turn) => turn.p50Ms),
      3,
    ),
    p99Ms: round(
      medianOf(turns, subject, (turn) => turn.p99Ms),
      3,
    ),
    failed: turns.reduce((sum, turn) => sum + (turn.subject === subject ? turn.failed : 0), 0),
    timesNginx: ratio(subject, 'nginx'),
    timesBare: ratio(subject, 'bare'),
  }));
}

const microsOf = (turn: Turn): number => ((turn.userSeconds + turn.systemSeconds) * 1e6) / turn.completed;
const systemMicrosOf = (turn: Turn): number => (turn.systemSeconds * 1e6) / turn.completed;

const medianOf = (turns: readonly Turn[], subject: SubjectName, value: (turn: Turn) => number): number =>
  median(turns.filter((turn) => turn.subject === subject).map(value));

export function formatSummary(scenario: Scenario, summaries: readonly Summary[]): string {
  const moves = scenario.payloadBytes > 0;
  const head = [
    'subject',
    `CPU µs/${scenario.unit}`,
    'of it system',
    '× nginx',
    '× bare',
    `${scenario.unit}s/s`,
  ];
  const rows = summaries.map((summary) => [
    summary.subject,
    summary.cpuMicros.toFixed(1),
    summary.systemMicros.toFixed(1),
    summary.timesNginx?.toFixed(2) ?? '–',
    summary.timesBare?.toFixed(2) ?? '–',
    summary.perSecond.toFixed(0),
    ...(moves ? [((summary.perSecond * scenario.payloadBytes) / 1e6).toFixed(0)] : []),
    summary.p50Ms.toFixed(2),
    summary.p99Ms.toFixed(2),
    String(summary.failed),
  ]);
  return markdownTable([...head, ...(moves ? ['MB/s'] : []), 'p50 ms', 'p99 ms', 'failed'], rows);
}
