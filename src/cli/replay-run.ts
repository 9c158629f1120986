import type { FileLine } from '../audit/line-cutter.js';
import { parseRecordLine, type RecordLine } from '../audit/record-line.js';
import { parseRecordedRequest } from '../audit/recorded-request.js';
import { ok, type Result } from '../reasons.js';
import { bytesOf } from './file-sizes.js';
import type { CliIo } from './io.js';
import { ProgressLine } from './progress-line.js';
import { readRecordLines } from './record-reader.js';
import type { ReplayJudge } from './replay-judge.js';
import { ReplayTally } from './replay-tally.js';

/** Which records count, Unix milliseconds: `sinceMs` <= time < `untilMs`. */
export interface Period {
  readonly sinceMs: number | undefined;
  readonly untilMs: number | undefined;
}

/** Places of lines that are shown; there may be as many as there are lines. */
const MAX_PLACES = 10;

/** What was read: every line is counted as one thing. */
export interface ReadCounts {
  lines: number;
  /** Access records within the period. */
  requests: number;
  /** The second record of one upgraded connection. */
  ends: number;
  /** Handshakes, and changes of what decides. */
  otherEvents: number;
  outsidePeriod: number;
  blank: number;
  /** No records, or not as we write them: FILE:LINE of the first. */
  broken: number;
  readonly brokenAt: string[];
  /** Files that end in the middle of a line: it may be being written. */
  readonly cut: string[];
}

export interface Replay {
  readonly read: ReadCounts;
  readonly tally: ReplayTally;
}

/** Judges every request of these files again. The error is for a person: a file that cannot be read to its end. */
export async function replayFiles(
  files: readonly string[],
  judge: ReplayJudge,
  options: Period & { readonly all: boolean },
  io: CliIo,
): Promise<Result<Replay, string>> {
  const replay = new Replaying(judge, options, new ReplayTally(options.all));
  const progress = new ProgressLine(io, await bytesOf(files));
  try {
    for (const file of files) {
      const onBytes = (bytes: number): void => progress.add(bytes, replay.read.lines);
      const source = { file, stdin: io.stdin, onBytes };
      const read = await readRecordLines(source, (line) => replay.take(line, file));
      if (!read.ok) return read;
    }
    return ok(replay);
  } finally {
    progress.clear();
  }
}

class Replaying implements Replay {
  readonly read: ReadCounts = {
    lines: 0,
    requests: 0,
    ends: 0,
    otherEvents: 0,
    outsidePeriod: 0,
    blank: 0,
    broken: 0,
    brokenAt: [],
    cut: [],
  };

  constructor(
    readonly judge: ReplayJudge,
    readonly period: Period,
    readonly tally: ReplayTally,
  ) {}

  take({ number, text, state }: FileLine, file: string): void {
    const { read } = this;
    read.lines++;
    if (state !== 'too_long' && text.trim() === '') {
      read.blank++;
      return;
    }
    const record = state === 'too_long' ? undefined : parseRecordLine(text);
    if (record !== undefined && this.#takeRecord(record)) return;
    if (state === 'cut') {
      read.cut.push(file);
      return;
    }
    read.broken++;
    if (read.brokenAt.length < MAX_PLACES) read.brokenAt.push(`${file}:${number}`);
  }

  /** False for one that is not as we write them. */
  #takeRecord(record: RecordLine): boolean {
    const { read, tally, judge } = this;
    if (record.event !== 'access') {
      read.otherEvents++;
      return true;
    }
    const request = parseRecordedRequest(record);
    if (request === undefined) return false;
    if (!this.#isWithin(record.timeMs)) read.outsidePeriod++;
    else if (record.fields.phase === 'end') read.ends++;
    else {
      read.requests++;
      tally.take(request, judge.judge(request));
    }
    return true;
  }

  #isWithin(timeMs: number): boolean {
    const { sinceMs, untilMs } = this.period;
    return (sinceMs === undefined || timeMs >= sinceMs) && (untilMs === undefined || timeMs < untilMs);
  }
}
