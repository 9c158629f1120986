import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchPki, mintBenchPki } from '../support/bench-pki.js';
import { readCounter } from '../support/countersign-program.js';
import { describeEnvironment } from '../support/environment.js';
import { freePort, untilListening } from '../support/free-port.js';
import type { PemIdentity } from '../support/raw-connection.js';
import { cpuBetween, problemOfCpuAccounting } from '../support/running-program.js';
import { WorkFolder } from '../support/work-folder.js';
import { LoadClient, type LoadJob, Origin } from './load-protocol.js';
import { formatSummary, summarise, type Turn } from './report.js';
import type { Scenario } from './scenarios.js';
import { type Site, type Subject, type SubjectName, startSubject } from './subjects.js';

export interface LoadOptions {
  readonly scenarios: readonly Scenario[];
  readonly subjects: readonly SubjectName[];
  readonly seconds: number;
  readonly rounds: number;
  readonly nodePath: string;
  readonly out: string;
}

const WARM_UP_SECONDS = 1.5;
const WARM_UP_IDENTITIES = 250;
/** Of never-seen certificates, a second: minting more than a round can use only costs time. */
const UNSEEN_PER_SECOND = 150;

interface Run {
  readonly options: LoadOptions;
  readonly site: Site;
  readonly client: LoadClient;
  readonly seenFile: string;
}

async function measureScenario(run: Run, scenario: Scenario): Promise<void> {
  const { options, site } = run;
  const subjects: Subject[] = [];
  try {
    for (const name of options.subjects) {
      const subject = await startSubject(name, site, scenario.mode);
      if (subject === undefined)
        console.log(`${name} is not installed, or not for ${scenario.mode}: skipped`);
      else subjects.push(subject);
    }
    const share = Math.ceil(UNSEEN_PER_SECOND * options.seconds);
    const pool = scenario.unseen
      ? await mintPool(site, WARM_UP_IDENTITIES + share * options.rounds)
      : run.seenFile;
    const jobOf = (subject: Subject, from: number, count: number): LoadJob => ({
      kind: scenario.kind,
      port: subject.port,
      connections: scenario.connections,
      request: scenario.request,
      identities: { file: pool, from, count },
      once: scenario.unseen,
    });
    for (const subject of subjects) {
      await verifyAnswers(run, subject, scenario);
      await takeTurn(run, subject, jobOf(subject, 0, WARM_UP_IDENTITIES), WARM_UP_SECONDS);
    }
    const turns: Turn[] = [];
    for (let round = 0; round < options.rounds; round++) {
      for (const subject of subjects) {
        const job = jobOf(subject, scenario.unseen ? WARM_UP_IDENTITIES + round * share : 0, share);
        const turn = await takeTurn(run, subject, job, options.seconds);
        turns.push({ subject: subject.name, round, ...turn });
      }
    }
    publish(options, scenario, subjects, turns);
  } finally {
    await Promise.all(subjects.map((subject) => subject.program.stop()));
  }
}

type Measured = Omit<Turn, 'subject' | 'round'>;

async function takeTurn(run: Run, subject: Subject, job: LoadJob, seconds: number): Promise<Measured> {
  const { client } = run;
  await client.open(job);
  const acceptedBefore = await acceptedHandshakes(subject);
  const before = subject.program.cpuTime();
  const result = await client.run(seconds);
  const cpu = cpuBetween(before, subject.program.cpuTime());
  const accepted = (await acceptedHandshakes(subject)) - acceptedBefore;
  await client.close();
  if (subject.program.hasEnded) throw new Error(`${subject.name} ended under load`);
  if (job.kind === 'handshake' && subject.adminPort !== undefined && accepted < result.completed) {
    throw new Error(`${result.completed} handshakes seemed good, but only ${accepted} were accepted`);
  }
  return { ...result, ...cpu };
}

async function acceptedHandshakes({ adminPort }: Subject): Promise<number> {
  if (adminPort === undefined) return 0;
  return readCounter(adminPort, 'countersign_handshakes_total', 'result="accepted"');
}

/** A subject that answers an error is quick: make sure of a 200 before anything is measured. */
async function verifyAnswers(run: Run, subject: Subject, scenario: Scenario): Promise<void> {
  const { client, seenFile } = run;
  await client.open({
    kind: 'keep-alive',
    port: subject.port,
    connections: 1,
    request: scenario.request,
    identities: { file: seenFile, from: 0, count: 1 },
    once: false,
  });
  await client.close();
}

async function mintPool({ folder, pki }: Site, count: number): Promise<string> {
  const identities: PemIdentity[] = [];
  for (let i = 0; i < count; i++) identities.push(await pki.mint());
  return folder.write('identities.json', JSON.stringify(identities));
}

function publish(
  options: LoadOptions,
  scenario: Scenario,
  subjects: readonly Subject[],
  turns: Turn[],
): void {
  const versions = Object.fromEntries(subjects.map(({ name, version }) => [name, version]));
  const summary = summarise(turns);
  const { seconds, rounds } = options;
  const { name, does, unit, connections } = scenario;
  const result = {
    scenario: name,
    does,
    unit,
    connections,
    seconds,
    rounds,
    environment: describeEnvironment(options.nodePath, versions),
    summary,
    turns,
  };
  mkdirSync(options.out, { recursive: true });
  writeFileSync(join(options.out, `${name}.json`), `${JSON.stringify(result, null, 1)}\n`);
  console.log(`\n### ${name}: ${does}\n\n${formatSummary(scenario, summary)}`);
}

/** Loads the subjects in turns, scenario by scenario, prints what each costs and writes it to a file of its own. */
export async function measureScenarios(options: LoadOptions): Promise<void> {
  const problem = problemOfCpuAccounting();
  if (problem !== undefined) throw new Error(problem);
  const folder = new WorkFolder();
  const origin = new Origin(await freePort());
  const client = new LoadClient();
  try {
    await untilListening(origin.port, () => false);
    const pki: BenchPki = await mintBenchPki(folder);
    const site = { folder, pki, originPort: origin.port, nodePath: options.nodePath };
    const seenFile = folder.write('seen.json', JSON.stringify([pki.caller]));
    for (const scenario of options.scenarios)
      await measureScenario({ options, site, client, seenFile }, scenario);
  } finally {
    client.stop();
    origin.stop();
    folder.remove();
  }
}
