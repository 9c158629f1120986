import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { mintRoot } from '../../src/dev/pki.js';
import { readAuditLines } from '../support/audit-lines.js';
import { policyYaml, rulesUnderLoad } from '../support/bench-rules.js';
import { type BenchSite, pause, withSite } from '../support/bench-site.js';
import { readCounter } from '../support/countersign-program.js';
import { describeEnvironment } from '../support/environment.js';
import { balance } from './books.js';
import { MixedLoad } from './mixed-load.js';
import { growthOf, Sampler } from './samples.js';

const USAGE = `Usage: npm run bench:soak -- [--minutes N] [--rate N] [--reload-every SECONDS] [--node PATH] [--out DIR]

A mixed load for minutes (3), 200 requests a second, a reload each 30 s, 5 % of the clients gone in mid-answer, 1 % with a bad
certificate. Then the books: clients, upstream, metrics and audit records must agree one by one; exit 1 when they do not.
Prints how memory and descriptors grow. Results go to bench/results/soak.json.
`;
const FLUSH_MS = 500;

const { values } = parseArgs({
  options: {
    minutes: { type: 'string', default: '3' },
    rate: { type: 'string', default: '200' },
    'reload-every': { type: 'string', default: '30' },
    node: { type: 'string', default: process.execPath },
    out: { type: 'string', default: join('bench', 'results') },
    help: { type: 'boolean', short: 'h' },
  },
});

/** Changes that mean nothing to any caller, each kind in turn: a bundle, the policy, and a signal. */
async function startReloads({ folder, pki, countersign }: BenchSite, everyMs: number): Promise<() => number> {
  const spare = await mintRoot('example.org', { subject: 'O=Bench,CN=next root' });
  const rules = policyYaml(rulesUnderLoad(100));
  let reloads = 0;
  const timer = setInterval(() => {
    const kind = reloads % 3;
    const isOdd = Math.floor(reloads / 3) % 2 === 0;
    if (kind === 0) folder.replace('bundle.pem', isOdd ? pki.root.certPem + spare.certPem : pki.root.certPem);
    else if (kind === 1)
      folder.replace('policy.yaml', isOdd ? rules.replace('owner: bench', 'owner: soak') : rules);
    else countersign.program.child.kill('SIGHUP');
    reloads++;
  }, everyMs);
  return () => {
    clearInterval(timer);
    return reloads;
  };
}

async function soak(site: BenchSite): Promise<boolean> {
  const { countersign, origin } = site;
  const seconds = Number(values.minutes) * 60;
  origin.keepIds();
  const load = await MixedLoad.prepare(site);
  const refusedBefore = await refusals(countersign.adminPort);
  const sampler = new Sampler(countersign.program.pid);
  const stopReloads = await startReloads(site, Number(values['reload-every']) * 1000);
  await load.run(Number(values.rate), seconds);
  const reloads = stopReloads();
  await pause(FLUSH_MS);
  sampler.stop();
  const upstream = await origin.report();
  const counted = await readCounter(countersign.adminPort, 'countersign_requests_total');
  if ((await refusals(countersign.adminPort)) > refusedBefore) {
    load.books.surprises.push('a reload was refused');
  }
  await countersign.program.stop();
  const records = readAuditLines(countersign.auditFile);
  const problems = balance(load.books, upstream, records, counted);
  const growth = growthOf(sampler.samples);
  const { completed, aborted, bad } = load.books;
  const clients = { completed, aborted, bad };
  console.log(
    `${seconds} s: ${completed} answered, ${aborted} given up, ${bad} with a bad certificate, ${reloads} reloads`,
  );
  console.log(`${records.length} audit records, ${upstream.requests} requests at the upstream`);
  console.log(
    `memory ${growth.lastRssKiB} KiB, ${growth.rssKiBPerMinute} KiB a minute; descriptors ${growth.lastFds}, ${growth.fdsPerMinute} a minute`,
  );
  for (const problem of summed(problems)) console.log(`the books do not balance: ${problem}`);
  if (problems.length === 0) console.log('the books balance');
  const environment = describeEnvironment(values.node);
  const result = {
    environment,
    seconds,
    clients,
    reloads,
    upstream: upstream.requests,
    records: records.length,
  };
  mkdirSync(values.out, { recursive: true });
  const text = JSON.stringify(
    { ...result, growth, problems: summed(problems), samples: sampler.samples },
    null,
    1,
  );
  writeFileSync(join(values.out, 'soak.json'), `${text}\n`);
  return problems.length === 0;
}

const refusals = (adminPort: number): Promise<number> =>
  readCounter(adminPort, 'countersign_reloads_total', 'result="refused"');

/** The same words once, with how often. */
function summed(problems: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const problem of problems) counts.set(problem, (counts.get(problem) ?? 0) + 1);
  return [...counts].map(([problem, count]) => (count === 1 ? problem : `${problem} (${count} times)`));
}

if (values.help) process.stdout.write(USAGE);
else process.exitCode = (await withSite(values.node, soak)) ? 0 : 1;
