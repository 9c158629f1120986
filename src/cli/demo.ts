import { appendFileSync, rmSync } from 'node:fs';
import { basename, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { startApp } from '../app/app.js';
import type { App, AppOptions } from '../app/app-face.js';
import { parseEndpointSocket } from '../config/endpoint-socket.js';
import { actCalls, actEvidence, actRevocation, actRotation, type Stage } from '../dev/demo-acts.js';
import { Caller, type ProxyPeer } from '../dev/demo-caller.js';
import { DemoFiles, demoIds } from '../dev/demo-files.js';
import { LegacyService } from '../dev/demo-legacy-service.js';
import { RecordTail } from '../dev/demo-records.js';
import { DemoScreen } from '../dev/demo-screen.js';
import { AgentTrust, type DemoTrust, FileTrust } from '../dev/demo-trust.js';
import { ok, type Result } from '../reasons.js';
import { expectProof, keepHeads, makeSealFiles } from './demo-evidence.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';

const READY_MS = 10_000;

const USAGE = `Usage: countersign demo [--workload-api] [--stay] [--every-record]

Mints a throwaway PKI, starts a legacy HTTP service and the sidecar in front of it, sends real calls, rotates
the CA and revokes a workload while calls go on, shows every record and proves that they are whole.
Exit 1 if it did not see what it promised.

  --workload-api   the sidecar gets its SVID and its bundles from a SPIFFE Workload API, not from files
  --stay           keep both running until Ctrl-C, to try it with curl
  --every-record   a line for every record, also for the hundreds of background calls
`;

/** `countersign demo`: 0 = everything promised was seen, 1 = it was not. */
export async function runDemo(argv: string[], io: CliIo): Promise<number> {
  const flags = readFlags(argv);
  if (typeof flags === 'string') return wrongUsage(io, 'demo', flags);
  if (flags.help) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  const colour = process.stdout.isTTY === true && (io.env.NO_COLOR ?? '') === '';
  const screen = new DemoScreen(io.stdout, { colour, everyRecord: flags['every-record'] === true });
  const files = await DemoFiles.create();
  const trust = flags['workload-api'] === true ? await openAgent(files) : ok(new FileTrust(files));
  if (!trust.ok) {
    rmSync(files.folder, { recursive: true });
    io.stderr(`countersign demo: ${trust.error}: set TMPDIR to another folder\n`);
    return exitCode.config;
  }
  const legacy = await new LegacyService().open();
  try {
    await makeSealFiles(files);
    files.configure(trust.value.config, legacy.url);
    return await perform(files, trust.value, legacy, screen, flags.stay === true);
  } finally {
    await legacy.close();
    trust.value.close();
  }
}

/** A path that no socket can have is said beforehand: libuv would cut it off and listen elsewhere. */
async function openAgent(files: DemoFiles): Promise<Result<DemoTrust, string>> {
  const uri = `unix://${pathToFileURL(files.path('agent.sock')).pathname}`;
  const socket = parseEndpointSocket(uri);
  if (!socket.ok) return socket;
  return ok(await AgentTrust.open(files, uri, files.path('agent.sock')));
}

function readFlags(argv: string[]) {
  try {
    const options = {
      'workload-api': { type: 'boolean' },
      stay: { type: 'boolean' },
      'every-record': { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    } as const;
    return parseArgs({ args: argv, options }).values;
  } catch (error) {
    return (error as Error).message;
  }
}

async function perform(
  files: DemoFiles,
  trust: DemoTrust,
  legacy: LegacyService,
  screen: DemoScreen,
  stay: boolean,
): Promise<number> {
  const app = await startSidecar(files);
  const records = new RecordTail(files.path('audit.ndjson'), (record) => screen.record(record));
  const stage = createStage(app, legacy, files, trust, records, screen);
  try {
    introduce(stage, app);
    await actCalls(stage);
    await actRotation(stage);
    await actRevocation(stage);
    await actEvidence(stage);
    await keepHeads(stage);
    if (!stay) {
      await app.close();
      records.close();
    }
    await expectProof(stage, stay);
    const good = screen.summary();
    suggest(stage, app, stay);
    if (stay) await untilInterrupted();
    return good ? exitCode.yes : exitCode.no;
  } finally {
    for (const caller of Object.values(stage.callers)) caller.close();
    await app.close();
    records.close();
  }
}

/** Serving: with a Workload API nothing listens before its first message. */
async function startSidecar(files: DemoFiles): Promise<App> {
  const app = await startApp({
    configFile: files.path('countersign.yaml'),
    env: {},
    diagnostics: fileDiagnostics(files.path('sidecar.log')),
  });
  const tooLate = delay(READY_MS, false, { ref: false });
  if (await Promise.race([app.ready.then(() => true), tooLate])) return app;
  await app.close();
  throw new Error(`the sidecar was not ready within ${READY_MS} ms: see ${files.path('sidecar.log')}`);
}

function createStage(
  app: App,
  legacy: LegacyService,
  files: DemoFiles,
  trust: DemoTrust,
  records: RecordTail,
  screen: DemoScreen,
): Stage {
  const port = Number(app.addresses.get('inbound')?.split(':').at(-1));
  const proxy: ProxyPeer = { port, spiffeId: demoIds.sidecar, bundlePem: files.root.certPem, answered: 0 };
  const callers = {
    web: new Caller(proxy, files.svids.web),
    batch: new Caller(proxy, files.svids.batch),
    buyer: new Caller(proxy, files.svids.buyer),
  };
  const adminUrl = `http://${app.addresses.get('admin')}`;
  return { files, trust, legacy, proxy, adminUrl, records, screen, callers };
}

function introduce({ files, trust, legacy, screen }: Stage, app: App): void {
  screen.act('Countersign demo: a legacy service, the sidecar in front of it, and callers');
  screen.say(`legacy service  ${legacy.url}, plain HTTP, believes X-Remote-User`);
  screen.say(`sidecar         https://${app.addresses.get('inbound')} as ${demoIds.sidecar}`);
  screen.say(`its SVID, trust ${trust.described}`);
  screen.say(
    `files           ${files.folder} (throwaway PKI, countersign.yaml, policy.yaml, revoked.yaml, seal.jwk)`,
  );
  screen.say(`records         ${files.path('audit.ndjson')}`);
}

function suggest({ files, trust, screen, adminUrl, proxy }: Stage, app: App, stay: boolean): void {
  const countersign = programName();
  const config = `-c ${files.path('countersign.yaml')}`;
  const url = `https://localhost:${proxy.port}/invoices/7`;
  const as = (name: string): string =>
    `curl --cacert ${files.path('bundle.pem')} --cert ${files.path(`${name}.pem`)} --key ${files.path(`${name}-key.pem`)}`;
  screen.act('To try');
  screen.say(`${countersign} check ${config}`);
  screen.say(`${countersign} explain ${config} --as ${demoIds.web} --method DELETE --url /invoices/7`);
  screen.say(`${countersign} pki show ${files.path('web.pem')}`);
  for (const line of evidenceCommands(files, stay)) screen.say(`${countersign} audit ${line}`);
  if (!stay) {
    const again = trust instanceof AgentTrust ? '--workload-api ' : '';
    screen.say('');
    screen.say(`Nothing is running any more. To call it yourself: ${countersign} demo ${again}--stay`);
    screen.say(`To clean up: rm -r ${files.folder}`);
    return;
  }
  screen.say(`${as('web')} ${url}`);
  screen.say(`${as('web')} -X DELETE ${url}   # denied by policy`);
  screen.say(`${as('impostor')} ${url}   # not our CA`);
  screen.say(`${as('batch')} -X POST ${url}   # revoked; edit revoked.yaml and try again`);
  screen.say(`curl ${adminUrl}/snapshot   # also /connections /metrics /readyz, and / in a browser`);
  screen.say('');
  screen.say(`Running at ${app.addresses.get('inbound')} until Ctrl-C; the certificates live for an hour.`);
}

/** Of `audit`: what the records of the demo prove and answer. */
function evidenceCommands(files: DemoFiles, isOpen: boolean): readonly string[] {
  const [records, report] = [files.path('audit.ndjson'), files.path('report.html')];
  const keys = `--keys ${files.path('seal-keys.json')} --expect-head ${files.path('heads.json')}`;
  return [
    `verify ${keys}${isOpen ? ' --allow-open-tail' : ''} ${records}`,
    `query --identity ${demoIds.batch} --by destination,method,effect,reason ${records}`,
    `query --event 'revocation.*' --event connection.terminated ${records}`,
    `report -c ${files.path('countersign.yaml')} --format html --out ${report} ${records}   # a page for the browser`,
  ];
}

/** As this user started it. */
function programName(): string {
  const file = process.argv[1] ?? '';
  return basename(file) === 'main.js' ? `node ${relative(process.cwd(), file)}` : 'npx countersign';
}

/** The sidecar's diagnostics, out of the way of what the demo shows. */
function fileDiagnostics(file: string): AppOptions['diagnostics'] {
  const log = (level: string) => (detail: object, message: string) =>
    appendFileSync(
      file,
      `${JSON.stringify({ time: new Date().toISOString(), level, message, ...detail })}\n`,
    );
  return { info: log('info'), warn: log('warn'), error: log('error') };
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGINT', () => resolve()).once('SIGTERM', () => resolve());
  });
}
