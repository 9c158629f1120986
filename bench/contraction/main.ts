import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { withSite } from '../support/bench-site.js';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { type ContractionResult, contractions, measureContraction } from './contractions.js';
import { type ReloadsResult, reloadUnderLoad } from './reloads.js';
import { measureRevokeOne } from './revoke-one.js';
import { measureRotation, type RotationResult } from './rotation.js';

const USAGE = `Usage: npm run bench:contraction -- [--reloads N] [--connections N] [--crowd N] [--rotation] [--node PATH] [--out DIR]

Reloads under 50 busy connections (20 in 20 s): no request may fail. Then, with 1,000 open connections of one workload, takes
its access away and measures how long that takes to bite. Exit 1 when a request failed or a bite took over 100 ms.
Then revokes one
workload that holds 100 of 10,000 open connections (--crowd): ended within 50 ms, the others' p99 at most 5 ms more.
Results go to bench/results/contraction.json.
With --rotation only this: a CA is rotated (old, both, new) under the calls of 200 clients that renew in between, with one worker and
with two; exit 1 when a request failed. Results go to bench/results/rotation.json.
`;
const BITE_LIMIT_MS = 100;
const ONE_LIMIT_MS = 50;
const P99_LIMIT_MS = 5;

const { values } = parseArgs({
  options: {
    reloads: { type: 'string', default: '20' },
    connections: { type: 'string', default: '1000' },
    crowd: { type: 'string', default: '10000' },
    rotation: { type: 'boolean', default: false },
    node: { type: 'string', default: process.execPath },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

function show(reloads: ReloadsResult, results: readonly ContractionResult[]): void {
  const { adopted, completed, failed, perSecond } = reloads;
  console.log(
    `${reloads.reloads} reloads (${adopted} adopted) under load: ${completed} requests, ${failed} failed, ${perSecond}/s\n`,
  );
  const rows = results.map((result) => [
    result.name,
    String(result.connections),
    Number.isNaN(result.firstMs) ? '–' : result.firstMs.toFixed(1),
    result.biteMs.toFixed(1),
    String(result.cpuMs),
    String(result.closed),
    String(result.refused),
    String(result.stillAnswered),
    String(result.recordedMs),
  ]);
  console.log(
    markdownTable(
      [
        'change',
        'connections',
        'first after ms',
        'last after ms',
        'CPU ms',
        'closed',
        'refused',
        'still answered',
        'recorded ms',
      ],
      rows,
    ),
  );
}

async function main(): Promise<boolean> {
  const reloads = await withSite(values.node, (site) => reloadUnderLoad(site, Number(values.reloads)));
  const results: ContractionResult[] = [];
  for (const contraction of contractions) {
    results.push(await measureContraction(values.node, contraction, Number(values.connections)));
  }
  const one = await measureRevokeOne(values.node, Number(values.crowd));
  show(reloads, results);
  console.log(`\nOne workload revoked:\n${JSON.stringify(one, null, 1)}`);
  mkdirSync(values.out, { recursive: true });
  const result = {
    environment: describeEnvironment(values.node),
    reloads,
    contractions: results,
    revokeOne: one,
  };
  writeFileSync(join(values.out, 'contraction.json'), `${JSON.stringify(result, null, 1)}\n`);
  const bites = results.every((one) => one.biteMs <= BITE_LIMIT_MS && one.stillAnswered === 0);
  const isOneFast =
    one.ended === one.revoked &&
    one.failed === 0 &&
    one.lastMs <= ONE_LIMIT_MS &&
    one.p99AfterMs - one.p99BeforeMs <= P99_LIMIT_MS;
  return isOneFast && reloads.failed === 0 && reloads.adopted >= reloads.reloads && bites;
}

async function rotate(): Promise<boolean> {
  const results: RotationResult[] = [];
  for (const workers of [1, 2]) results.push(await measureRotation(values.node, workers));
  const columns = Object.keys(results[0] ?? {});
  const rows = results.map((result) => Object.values(result).map(String));
  console.log(markdownTable(columns, rows));
  mkdirSync(values.out, { recursive: true });
  const result = { environment: describeEnvironment(values.node), rotations: results };
  writeFileSync(join(values.out, 'rotation.json'), `${JSON.stringify(result, null, 1)}\n`);
  return results.every((one) => one.failed === 0 && one.terminated === one.stayed);
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = (await (values.rotation ? rotate() : main())) ? 0 : 1;
