import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type LoadOptions, measureScenarios } from './measure.js';
import { scenarios } from './scenarios.js';
import { subjectNames } from './subjects.js';

const USAGE = `Usage: npm run bench:load -- [options]

Loads Countersign and, where installed, nginx, HAProxy and Caddy, each set up for the same work, in turns; reports the CPU
time that the operating system charges to each for one request. Results go to bench/results/SCENARIO.json.

  --scenario NAMES   of ${scenarios.map(({ name }) => name).join(', ')} (all)
  --subjects NAMES   of ${subjectNames.join(', ')} (all)
  --seconds N        of one turn (3)
  --rounds N         turns of each subject (3)
  --node PATH        another Node binary for countersign and bare
  --out DIR          where results go (bench/results)
`;

function readOptions(argv: string[]): LoadOptions | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: argv,
    options: {
      scenario: text,
      subjects: text,
      seconds: text,
      rounds: text,
      node: text,
      out: text,
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help) return undefined;
  const list = (given: string | undefined, known: readonly string[]): string[] => {
    const names = given === undefined ? [...known] : given.split(',');
    const odd = names.find((name) => !known.includes(name));
    if (odd !== undefined) throw new TypeError(`"${odd}" is none of ${known.join(', ')}`);
    return names;
  };
  const chosen = list(
    values.scenario,
    scenarios.map(({ name }) => name),
  );
  const subjects = list(values.subjects, subjectNames);
  return {
    scenarios: scenarios.filter(({ name }) => chosen.includes(name)),
    subjects: subjectNames.filter((name) => subjects.includes(name)),
    seconds: positive(values.seconds, 3),
    rounds: positive(values.rounds, 3),
    nodePath: values.node ?? process.execPath,
    out: values.out ?? join('bench', 'results'),
  };
}

function positive(text: string | undefined, otherwise: number): number {
  const value = text === undefined ? otherwise : Number(text);
  if (!(value > 0)) throw new TypeError(`"${text}" is not a number above zero`);
  return value;
}

async function main(): Promise<void> {
  const options = readOptions(process.argv.slice(2));
  if (options === undefined) return void process.stdout.write(USAGE);
  await measureScenarios(options);
}

main().catch((error: unknown) => {
  console.error(error instanceof TypeError ? `${error.message}\n\n${USAGE}` : error);
  process.exitCode = 1;
});
