import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { Confirms } from '../../src/telemetry/record-batch.js';
import { RecordFile } from '../../src/telemetry/record-file.js';
import { RecordWriter } from '../../src/telemetry/record-writer.js';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { median, round } from '../support/statistics.js';
import { WorkFolder } from '../support/work-folder.js';

const USAGE = `Usage: npm run bench:durability -- [options]

What a confirmed record costs: 64 connections, each writing its next record when the last is kept. \`one by one\` is the same
program with one record a sync. Results go to bench/results/durability.json. The disk is that of the temporary folder.

  --seconds N   of each turn (2)
  --rounds N    turns of each case, in alternation (3)
  --out DIR     where results go (bench/results)
`;

const CONNECTIONS = 64;
/** As long as a record of a request. */
const LINE = `${'x'.repeat(1100)}\n`;

interface Case {
  readonly name: string;
  readonly confirms: Confirms;
  /** Records that may be under way at once. */
  readonly atOnce: number;
}

const CASES: readonly Case[] = [
  { name: 'written', confirms: 'written', atOnce: CONNECTIONS },
  { name: 'synced', confirms: 'synced', atOnce: CONNECTIONS },
  { name: 'synced, one by one', confirms: 'synced', atOnce: 1 },
];

async function run({ confirms, atOnce }: Case, path: string, seconds: number): Promise<number> {
  const nothing = (): void => undefined;
  const failed = (error: Error): void => {
    throw error;
  };
  const events = {
    failed,
    recovered: nothing,
    written: nothing,
    dropped: nothing,
    truncated: nothing,
    uncertain: nothing,
  };
  const file = new RecordFile(path, { isSynced: confirms === 'synced' });
  const writer = new RecordWriter(file, events, confirms);
  const turns: (() => void)[] = []; // connections that wait for their turn
  let underWay = 0;
  let kept = 0;
  const fromMs = performance.now();
  const untilMs = fromMs + seconds * 1000;
  const connection = async (): Promise<void> => {
    while (performance.now() < untilMs) {
      while (underWay >= atOnce) await new Promise<void>((resolve) => turns.push(resolve));
      underWay++;
      const isKept = await new Promise<boolean>((resolve) => writer.write(LINE, resolve));
      if (isKept) kept++;
      underWay--;
      turns.shift()?.();
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS }, connection));
  const took = performance.now() - fromMs;
  await writer.close();
  return (kept / took) * 1000;
}

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    out: { type: 'string', default: 'bench/results' },
    help: { type: 'boolean' },
  },
});
if (values.help === true) process.stdout.write(USAGE);
else {
  const folder = new WorkFolder();
  const rates = new Map(CASES.map(({ name }) => [name, [] as number[]]));
  for (let round = 0; round < Number(values.rounds); round++) {
    for (const subject of CASES) {
      const path = folder.log(`${round}.ndjson`);
      rates.get(subject.name)!.push(await run(subject, path, Number(values.seconds)));
    }
  }
  const results = CASES.map(({ name }) => ({ name, perSecond: round(median(rates.get(name)!), 0) }));
  const [, synced, alone] = results;
  const gain = round(synced!.perSecond / alone!.perSecond, 1);
  const environment = describeEnvironment(process.execPath);
  const report = { environment, connections: CONNECTIONS, results, groupCommitGain: gain };
  writeFileSync(join(values.out, 'durability.json'), `${JSON.stringify(report, undefined, 2)}\n`);
  const rows = results.map(({ name, perSecond }) => [name, String(perSecond)]);
  process.stdout.write(`${markdownTable(['records', 'kept a second'], rows)}\ngroup commit: ${gain} times\n`);
}
