import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { WorkFolder } from '../support/work-folder.js';
import { type GeneratedFile, generateRecords } from './record-stream.js';

const USAGE = `Usage: npm run bench:evidence -- [--mb N] [--node PATH] [--out DIR]

Writes a file of sealed access records to the temporary folder (2048 MB), reads it with each verb in a process of its own and
measures MB a second of CPU time and the most memory it had. Exit 1 below 150 MB/s or above 200 MB. The file is removed after.
Results go to bench/results/evidence.json.
`;
const MIN_MB_PER_SECOND = 150;
const MAX_RSS_MB = 200;
const MB = 1_000_000;
const MAIN = fileURLToPath(new URL('../../src/main.js', import.meta.url));
/** Prints what the process used when it ends. */
const METER = `process.once('exit', () => { const { user, system } = process.cpuUsage(); require('node:fs').writeFileSync(process.env.METER_FILE, JSON.stringify({ cpuMs: (user + system) / 1000, rssMb: process.resourceUsage().maxRSS / 1000 })); });`;

/** Each verb that reads a whole file: its arguments, the file last. */
const verbs: Readonly<Record<string, (file: GeneratedFile, jwks: string) => readonly string[]>> = {
  'audit verify': ({ file }, jwks) => ['audit', 'verify', '--keys', jwks, file],
  'audit report, JSON': ({ file }) => ['audit', 'report', '--format', 'json', '--out', `${file}.json`, file],
  'audit report, HTML': ({ file }) => ['audit', 'report', '--format', 'html', '--out', `${file}.html`, file],
};

const { values } = parseArgs({
  options: {
    mb: { type: 'string', default: '2048' },
    node: { type: 'string', default: process.execPath },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

interface Reading {
  readonly verb: string;
  readonly mb: number;
  readonly records: number;
  readonly cpuMs: number;
  readonly wallMs: number;
  readonly mbPerCpuSecond: number;
  readonly rssMb: number;
}

function read(verb: string, args: readonly string[], generated: GeneratedFile, folder: WorkFolder): Reading {
  const meterFile = folder.file('meter.json');
  const meter = folder.write('meter.cjs', METER);
  const startMs = performance.now();
  const { status, stderr } = spawnSync(values.node, ['--require', meter, MAIN, ...args], {
    encoding: 'utf8',
    env: { ...process.env, METER_FILE: meterFile },
  });
  const wallMs = performance.now() - startMs;
  if (status !== 0) throw new Error(`${verb} ended with ${status}: ${stderr}`);
  const { cpuMs, rssMb } = JSON.parse(readFileSync(meterFile, 'utf8')) as { cpuMs: number; rssMb: number };
  const mb = generated.bytes / MB;
  return { verb, mb, records: generated.records, cpuMs, wallMs, mbPerCpuSecond: mb / (cpuMs / 1000), rssMb };
}

function main(): boolean {
  const folder = new WorkFolder();
  try {
    const generated = generateRecords(folder.file('audit.ndjson'), Number(values.mb) * MB);
    const jwks = folder.write('jwks.json', generated.jwks);
    const readings = Object.entries(verbs).map(([verb, argsOf]) =>
      read(verb, argsOf(generated, jwks), generated, folder),
    );
    const rows = readings.map(({ verb, mb, records, cpuMs, wallMs, mbPerCpuSecond, rssMb }) => [
      verb,
      ...[mb, records, cpuMs, wallMs, mbPerCpuSecond, rssMb].map((value) => value.toFixed(0)),
    ]);
    console.log(markdownTable(['verb', 'MB', 'records', 'CPU ms', 'ms', 'MB per CPU s', 'most MB'], rows));
    mkdirSync(values.out, { recursive: true });
    const result = { environment: describeEnvironment(values.node), readings };
    writeFileSync(join(values.out, 'evidence.json'), `${JSON.stringify(result, undefined, 2)}\n`);
    return readings.every(
      ({ mbPerCpuSecond, rssMb }) => mbPerCpuSecond >= MIN_MB_PER_SECOND && rssMb <= MAX_RSS_MB,
    );
  } finally {
    folder.remove();
  }
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = main() ? 0 : 1;
