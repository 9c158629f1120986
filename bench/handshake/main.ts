import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { LoadClient, type LoadJob } from '../load/load-protocol.js';
import { mintBenchPki, mintFrom } from '../support/bench-pki.js';
import { CALLER } from '../support/bench-rules.js';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { cpuBetween, problemOfCpuAccounting, type RunningProgram } from '../support/running-program.js';
import { median, round } from '../support/statistics.js';
import { WorkFolder } from '../support/work-folder.js';
import { type Shown, startTlsServer, whatIsShown } from './tls-server.js';

const USAGE = `Usage: npm run bench:handshake -- [--seconds N] [--rounds N] [--node PATH] [--out DIR]

What resumption would save: CPU of a bare Node https server for each TLS 1.3 handshake with a client certificate (ECDSA P-256, an
intermediate), full and resumed, in turns. Results go to bench/results/resumption-nodeN.json.
`;

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '5' },
    node: { type: 'string', default: process.execPath },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

const WARM_UP_SECONDS = 1.5;
const LANES = 4;

interface Subject {
  readonly name: string;
  readonly program: RunningProgram;
  readonly job: LoadJob;
}

interface Turn {
  readonly subject: string;
  readonly cpuMicros: number;
  readonly perSecond: number;
  readonly failed: number;
}

async function takeTurn(client: LoadClient, subject: Subject, seconds: number): Promise<Turn> {
  await client.open(subject.job);
  const before = subject.program.cpuTime();
  const { completed, failed, seconds: took } = await client.run(seconds);
  const { userSeconds, systemSeconds } = cpuBetween(before, subject.program.cpuTime());
  await client.close();
  const cpuMicros = ((userSeconds + systemSeconds) * 1e6) / completed;
  return { subject: subject.name, cpuMicros, perSecond: completed / took, failed };
}

async function measure(folder: WorkFolder, client: LoadClient): Promise<Measured> {
  const pki = await mintBenchPki(folder);
  const caller = await mintFrom(await pki.root.intermediate(), CALLER);
  const identities = { file: folder.write('caller.json', JSON.stringify([caller])), from: 0, count: 1 };
  const [off, on] = [
    await startTlsServer(folder, pki, values.node, 'off'),
    await startTlsServer(folder, pki, values.node, 'on'),
  ];
  try {
    const jobOf = (kind: LoadJob['kind'], port: number): LoadJob => ({
      kind,
      port,
      connections: LANES,
      request: '',
      identities,
      once: false,
    });
    const subjects: Subject[] = [
      { name: 'full, resumption off', program: off.program, job: jobOf('handshake', off.port) },
      { name: 'full, resumption on', program: on.program, job: jobOf('handshake', on.port) },
      { name: 'resumed', program: on.program, job: jobOf('resumed', on.port) },
    ];
    for (const subject of subjects) await takeTurn(client, subject, WARM_UP_SECONDS);
    const turns: Turn[] = [];
    for (let round = 0; round < Number(values.rounds); round++)
      for (const subject of subjects) turns.push(await takeTurn(client, subject, Number(values.seconds)));
    return { turns, shown: await whatIsShown(on.port, caller) };
  } finally {
    await Promise.all([off.program.stop(), on.program.stop()]);
  }
}

interface Measured {
  readonly turns: readonly Turn[];
  readonly shown: { readonly full: Shown; readonly resumed: Shown };
}

function publish({ turns, shown }: Measured): boolean {
  const names = [...new Set(turns.map(({ subject }) => subject))];
  const of = (name: string, value: (turn: Turn) => number): number =>
    median(turns.filter(({ subject }) => subject === name).map(value));
  const fullMicros = of(names[0]!, ({ cpuMicros }) => cpuMicros);
  const summary = names.map((name) => {
    const cpuMicros = of(name, (turn) => turn.cpuMicros);
    return {
      subject: name,
      cpuMicros: round(cpuMicros, 0),
      timesFull: round(cpuMicros / fullMicros),
      savedMicros: round(fullMicros - cpuMicros, 0),
      perSecond: round(
        of(name, (turn) => turn.perSecond),
        0,
      ),
      failed: turns.reduce((sum, turn) => sum + (turn.subject === name ? turn.failed : 0), 0),
    };
  });
  const environment = describeEnvironment(values.node);
  const rows = summary.map((one) => Object.values(one).map(String));
  console.log(
    `Node ${environment.node}, OpenSSL ${environment.openssl}\n\n${markdownTable(
      ['handshake', 'CPU µs', '× full', 'saved µs', 'per second', 'failed'],
      rows,
    )}`,
  );
  console.log(
    `\nOf the client's 2 certificates a full handshake shows ${shown.full.certificates}, a resumed one ${shown.resumed.certificates}.`,
  );
  mkdirSync(values.out, { recursive: true });
  const version = environment.node.replace(/^v(\d+).*/, '$1');
  writeFileSync(
    join(values.out, `resumption-node${version}.json`),
    `${JSON.stringify({ environment, summary, shown, turns }, null, 1)}\n`,
  );
  return summary.every(({ failed }) => failed === 0);
}

async function main(): Promise<boolean> {
  const problem = problemOfCpuAccounting();
  if (problem !== undefined) throw new Error(problem);
  const folder = new WorkFolder();
  const client = new LoadClient();
  try {
    return publish(await measure(folder, client));
  } finally {
    client.stop();
    folder.remove();
  }
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = (await main()) ? 0 : 1;
