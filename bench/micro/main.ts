import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { describeEnvironment } from '../support/environment.js';
import { markdownTable } from '../support/markdown-table.js';
import { assertionCases } from './assertion-cases.js';
import { auditCase } from './audit-cases.js';
import { conditionCases } from './condition-cases.js';
import { crlCases } from './crl-cases.js';
import { type Carried, exchangeCase } from './exchange-case.js';
import { measureAll } from './harness.js';
import { identityCases } from './identity-cases.js';
import { messageCases } from './message-cases.js';
import { plotEvaluation } from './plot.js';
import { policyCases, scalingOf } from './policy-cases.js';
import { sealCase } from './seal-case.js';

const USAGE = `Usage: npm run bench:micro -- [--only TEXT] [--out DIR] [--plot FILE]

Times the hot functions one by one: median ns and bytes allocated for each call. Results go to bench/results/micro.json;
--plot draws how long a decision takes with ever more rules (docs/evaluation.svg).
`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      only: { type: 'string' },
      out: { type: 'string' },
      plot: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return void process.stdout.write(USAGE);
  const audit = auditCase();
  const exchange = await exchangeCase();
  const beside: readonly Carried[] = ['an assertion', 'another header', 'a repeat token'];
  const carrying = await Promise.all(beside.map((carried) => exchangeCase('written', undefined, carried)));
  const cases = [
    ...(await identityCases()),
    ...(await crlCases()),
    ...policyCases(),
    ...conditionCases(),
    ...messageCases(),
    audit.subject,
    sealCase(),
    exchange.subject,
    ...carrying.map(({ subject }) => subject),
    ...assertionCases(),
  ];
  const results = await measureAll(
    cases.filter(({ name }) => values.only === undefined || name.includes(values.only)),
  );
  audit.close();
  await exchange.close();
  for (const one of carrying) await one.close();
  const scaling = scalingOf(results).filter(({ ratio }) => Number.isFinite(ratio));
  const rows = results.map(({ name, nsPerOp, fastestNsPerOp, bytesPerOp }) => [
    name,
    nsPerOp.toFixed(0),
    fastestNsPerOp.toFixed(0),
    String(bytesPerOp),
  ]);
  console.log(markdownTable(['function', 'ns/op (median)', 'fastest', 'bytes/op'], rows));
  for (const { dimension, ratio } of scaling) {
    console.log(`\n10,000 rules of many ${dimension} take ${ratio} × the time of 10`);
  }
  if (values.plot !== undefined) writeFileSync(values.plot, plotEvaluation(results));
  if (values.only !== undefined) return; // a part is no result
  const out = values.out ?? join('bench', 'results');
  mkdirSync(out, { recursive: true });
  const result = { environment: describeEnvironment(process.execPath), results, scaling };
  writeFileSync(join(out, 'micro.json'), `${JSON.stringify(result, null, 1)}\n`);
}

await main();
