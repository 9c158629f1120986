import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { measureLargePolicies } from './large-policies.js';
import { measureLongLists } from './long-lists.js';
import { measureManyDomains } from './many-domains.js';

const USAGE = `Usage: npm run bench:trust -- [--domains N] [--out DIR]

Replaces revocation lists of 100,000 and 1,000,000 entries and policies of 10,000 rules under a running event loop, then loads
a bundle for each of 1,000 trust domains. Exit 1 when the list of 100,000 or a policy stalls the loop for over 20 ms, or the
domains take over 2 s to load.
Results go to bench/results/trust.json.
`;
const STALL_LIMIT_MS = 20;
const START_LIMIT_MS = 2000;

const { values } = parseArgs({
  options: {
    domains: { type: 'string', default: '1000' },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

async function main(): Promise<boolean> {
  const lists = await measureLongLists([100_000, 1_000_000]);
  const policies = await measureLargePolicies(10_000);
  const domains = await measureManyDomains(Number(values.domains));
  const rows = [...lists, ...policies, ...domains].map((result) => [
    result.name,
    result.wallMs.toFixed(0),
    result.cpuMs.toFixed(0),
    result.longestStallMs.toFixed(1),
    result.longestTurnCpuMs.toFixed(1),
    result.memoryMiB.toFixed(0),
  ]);
  console.log(
    markdownTable(
      ['change', 'in force after ms', 'CPU ms', 'longest stall ms', 'longest turn, CPU ms', 'memory MiB'],
      rows,
    ),
  );
  mkdirSync(values.out, { recursive: true });
  const result = { environment: describeEnvironment(process.execPath), lists, policies, domains };
  writeFileSync(join(values.out, 'trust.json'), `${JSON.stringify(result, null, 1)}\n`);
  const stalls = lists.filter(({ name }) => name.startsWith('100,000'));
  const isSmooth = [...stalls, ...policies].every(
    ({ longestStallMs, longestTurnCpuMs }) =>
      (Number.isNaN(longestTurnCpuMs) ? longestStallMs : longestTurnCpuMs) <= STALL_LIMIT_MS,
  );
  return isSmooth && (domains[0]?.wallMs ?? 0) <= START_LIMIT_MS;
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = (await main()) ? 0 : 1;
