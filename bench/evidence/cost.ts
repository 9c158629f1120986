import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { exchangeCase, type Recording } from '../micro/exchange-case.js';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { median, round } from '../support/statistics.js';
import { WorkFolder } from '../support/work-folder.js';

const USAGE = `Usage: npm run bench:evidence-cost -- [--rounds N] [--out DIR]

What records and seals cost a request: CPU of the whole process (its threads too) for one request from its head to its record,
without records, with records in a file, and with seals over them; in turns within one process. Results go to
bench/results/evidence-cost.json.
`;
/** As under load: so many requests within the time that records wait to be written together. */
const BURST = 60;
const BURSTS = 250;
const PAUSE_MS = 12;
const RECORDINGS: readonly Recording[] = ['none', 'written', 'sealed'];

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '9' },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

type Subject = Awaited<ReturnType<typeof exchangeCase>>['subject'];

/** @returns microseconds of CPU a request */
async function roundOf({ run, settle }: Subject): Promise<number> {
  const before = process.cpuUsage();
  for (let burst = 0; burst < BURSTS; burst++) {
    for (let i = 0; i < BURST; i++) run();
    await pause(PAUSE_MS);
  }
  await settle?.();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (BURST * BURSTS);
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(USAGE);
  const folder = new WorkFolder();
  const cases = await Promise.all(
    RECORDINGS.map(async (recording) => ({
      recording,
      times: [] as number[],
      ...(await exchangeCase(recording, folder.file(`${recording}.ndjson`))),
    })),
  );
  for (const { subject } of cases) await roundOf(subject); // until all of it is compiled
  for (let i = 0; i < Number(values.rounds); i++)
    for (const { subject, times } of cases) times.push(await roundOf(subject));
  const [none = 0] = cases.map(({ times }) => median(times));
  const rows = cases.map(({ recording, times }) => ({
    recording,
    cpuUs: round(median(times), 2),
    more: round(median(times) - none, 2),
  }));
  console.log(
    markdownTable(
      ['records', 'CPU a request (µs)', 'more than none (µs)'],
      rows.map(({ recording, cpuUs, more }) => [recording, String(cpuUs), String(more)]),
    ),
  );
  mkdirSync(values.out, { recursive: true });
  const result = {
    environment: describeEnvironment(process.execPath),
    rounds: cases.map(({ recording, times }) => ({ recording, times })),
    rows,
  };
  writeFileSync(join(values.out, 'evidence-cost.json'), `${JSON.stringify(result, null, 2)}\n`);
  for (const { close } of cases) await close();
  folder.remove();
}

await main();
