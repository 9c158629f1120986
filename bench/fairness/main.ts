import { fork } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { LoadClient, type LoadResult } from '../load/load-protocol.js';
import { type BenchPki, mintBenchPki } from '../support/bench-pki.js';
import { startCountersign } from '../support/countersign-program.js';
import { describeEnvironment } from '../support/environment.js';
import { freePort, untilListening } from '../support/free-port.js';
import { markdownTable } from '../support/markdown-table.js';
import { clientContext, getRequest, type PemIdentity, RawConnection } from '../support/raw-connection.js';
import { quantile, round } from '../support/statistics.js';
import { WorkFolder } from '../support/work-folder.js';

const USAGE = `Usage: npm run bench:fairness -- [options]

One workload floods over 100 connections, each asking again as soon as it is answered; another asks 50 times a second over one
connection. Reports what the quiet one waits, and what of it is refused. Results go to bench/results/fairness.json.

  --seconds N   of each case (4)
  --out DIR     where results go (bench/results)
`;

const FLOOD_CONNECTIONS = 100;
/** The first moments tell of the compiler. */
const WARM_MS = 2000;
const QUIET_EVERY_MS = 20;
const QUIET_ID = 'spiffe://example.org/ns/crowd/sa/quiet';
const LIMITS = 'requestsPerPrincipal: { rate: 100/s, burst: 200 }, concurrentPerPrincipal: 8';
/** Sixteen at once, 20 ms each: 800 requests a second are all that the service can do. */
const SLOW = { delayMs: 20, maxConnections: 16 };
const FAST = { delayMs: 0, maxConnections: 256 };

interface Case {
  readonly name: string;
  readonly service: typeof SLOW;
  readonly flood: boolean;
  readonly limits: string;
  /** The quiet calls come under the flood's own ID: they queue with it, as if callers did not take turns. */
  readonly sameId?: true;
}

const cases: readonly Case[] = [
  { name: 'slow service: quiet alone', service: SLOW, flood: false, limits: '' },
  { name: 'slow service: flood, one queue for both', service: SLOW, flood: true, limits: '', sameId: true },
  { name: 'slow service: flood, callers take turns', service: SLOW, flood: true, limits: '' },
  { name: 'slow service: flood, with limits', service: SLOW, flood: true, limits: LIMITS },
  { name: 'fast service: quiet alone', service: FAST, flood: false, limits: '' },
  { name: 'fast service: flood, no limits', service: FAST, flood: true, limits: '' },
  { name: 'fast service: flood, with limits', service: FAST, flood: true, limits: LIMITS },
];

interface Quiet {
  readonly asked: number;
  readonly refused: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** Asks at a steady pace; one that is late does not put off those after it. */
async function askQuietly(port: number, identity: PemIdentity, seconds: number): Promise<Quiet> {
  const request = getRequest('/invoices/7');
  const connection = await RawConnection.open(port, clientContext(identity));
  const latenciesMs: number[] = [];
  let refused = 0;
  const startedMs = performance.now();
  for (let dueMs = startedMs; dueMs < startedMs + seconds * 1000; dueMs += QUIET_EVERY_MS) {
    await sleep(Math.max(0, dueMs - performance.now()));
    const sentMs = performance.now();
    if ((await connection.ask(request)) !== 200) refused++;
    latenciesMs.push(performance.now() - sentMs);
  }
  connection.destroy();
  return {
    asked: latenciesMs.length,
    refused,
    p50Ms: round(quantile(latenciesMs, 0.5)),
    p99Ms: round(quantile(latenciesMs, 0.99)),
    maxMs: round(Math.max(...latenciesMs)),
  };
}

async function measure(
  of: Case,
  folder: WorkFolder,
  pki: BenchPki,
  identities: { readonly flood: string; readonly quiet: PemIdentity },
  seconds: number,
): Promise<{ readonly quiet: Quiet; readonly flood: LoadResult | undefined }> {
  const originPort = await freePort();
  const script = fileURLToPath(new URL('./service.js', import.meta.url));
  const service = fork(script, [String(originPort), String(of.service.delayMs)]);
  const client = new LoadClient();
  try {
    await untilListening(originPort, () => service.exitCode !== null);
    const { program, port } = await startCountersign(folder, pki, originPort, process.execPath, {
      crowd: 10_000,
      limits: of.limits,
      maxConnections: of.service.maxConnections,
    });
    try {
      const quietId = of.sameId ? pki.caller : identities.quiet;
      await askQuietly(port, quietId, 1); // warm
      if (!of.flood) return { quiet: await askQuietly(port, quietId, seconds), flood: undefined };
      await client.open({
        kind: 'keep-alive',
        port,
        connections: FLOOD_CONNECTIONS,
        request: getRequest('/invoices/7').toString('latin1'),
        identities: { file: identities.flood, from: 0, count: 1 },
        once: false,
      });
      const flood = client.run(seconds + (WARM_MS * 2) / 1000);
      await sleep(WARM_MS);
      const quiet = await askQuietly(port, quietId, seconds);
      const result = await flood;
      await client.close();
      return { quiet, flood: result };
    } finally {
      await program.stop();
    }
  } finally {
    client.stop();
    if (service.connected) service.disconnect();
  }
}

async function main(): Promise<void> {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    options: { seconds: text, out: text, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const seconds = Number(values.seconds ?? 4);
  if (!(seconds > 0)) throw new TypeError(`"${values.seconds}" is not a number above zero`);
  const out = values.out ?? join('bench', 'results');
  const folder = new WorkFolder();
  try {
    const pki = await mintBenchPki(folder);
    const identities = {
      flood: folder.write('flood.json', JSON.stringify([pki.caller])),
      quiet: await pki.mint(QUIET_ID),
    };
    const results = [];
    for (const of of cases) {
      const { quiet, flood } = await measure(of, folder, pki, identities, seconds);
      const perSecond = flood && {
        served: Math.round(flood.completed / flood.seconds),
        refused: Math.round(flood.failed / flood.seconds),
      };
      results.push({ case: of.name, limits: of.limits, quiet, floodPerSecond: perSecond });
    }
    mkdirSync(out, { recursive: true });
    const environment = describeEnvironment(process.execPath, {});
    writeFileSync(
      join(out, 'fairness.json'),
      `${JSON.stringify({ environment, seconds, results }, null, 1)}\n`,
    );
    const rows = results.map(({ case: name, quiet, floodPerSecond: flood }) => [
      name,
      `${quiet.asked - quiet.refused} of ${quiet.asked}`,
      String(quiet.p50Ms),
      String(quiet.p99Ms),
      String(quiet.maxMs),
      flood === undefined ? '–' : `${flood.served} / ${flood.refused}`,
    ]);
    console.log(
      markdownTable(
        ['case', 'quiet served', 'p50 ms', 'p99 ms', 'max ms', 'flood served / refused, a second'],
        rows,
      ),
    );
  } finally {
    folder.remove();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof TypeError ? `${error.message}\n\n${USAGE}` : error);
  process.exitCode = 1;
});
