import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { DemoScreen } from '../../src/dev/demo-screen.js';
import { readRecord } from '../support/record-check.js';

const main = fileURLToPath(new URL('../../src/main.js', import.meta.url));

interface Run {
  readonly code: number | null;
  readonly out: string;
  readonly err: string;
}

interface LifecycleRecord {
  readonly event: string;
  readonly source?: string;
}

async function runDemo(folder: string, args: readonly string[] = []): Promise<Run> {
  const child = spawn(process.execPath, [main, 'demo', ...args], {
    env: { ...process.env, TMPDIR: folder },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    out += chunk;
  });
  let err = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    err += chunk;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, out, err };
}

/** As somebody would who copies them from the screen. */
function tryAuditCommands(t: Test, out: string): void {
  const commands = out.slice(out.indexOf('\nTo try\n')).match(/^ {2}node \S+ audit .*$/gm) ?? [];
  t.equal(commands.length, 4);
  for (const command of commands) {
    const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
    t.equal(status, 0, `${command}\n${stderr}`);
  }
}

t.test('the demo shows what it promises, ends by itself, and its records say the same', async (t) => {
  const folder = t.testdir();
  const { code, out } = await runDemo(folder);
  t.equal(code, 0, out);
  const summary = out.slice(out.indexOf('Summary'));
  t.match(summary, /✓ web reads an invoice +200 web-reads-invoices/);
  t.match(summary, /✓ web deletes an invoice +403 default/);
  t.match(summary, /✓ impostor: web's name, partner's CA +403 chain_untrusted/);
  t.match(summary, /✓ calls that failed during the rotation +0 of \d{2,}/);
  t.match(summary, /✓ batch's open connection +ended after \d+ ms/);
  t.match(summary, /✓ batch's next call, on a new connection +403 svid_revoked/);
  t.match(summary, /✓ audit verify +PROVEN: \d{3,} records under \d+ seals?,.* 1 head looked for\n/);
  t.match(summary, /✓ the same, one "deny" made an "allow" +altered\.ndjson:\d+: record \d+ is altered/);
  t.notMatch(summary, /✗/);
  t.notMatch(out, /\u001b/, 'no colours where there is no terminal');
  const [made = ''] = readdirSync(folder);
  const records = readFileSync(join(folder, made, 'audit.ndjson'), 'utf8')
    .trim()
    .split('\n');
  const events = records.map((line) => readRecord(line).event);
  t.equal(events[0], 'process.started');
  t.same(events.slice(-2), ['process.stopped', 'audit.seal']);
  tryAuditCommands(t, out);
  for (const event of ['trust.changed', 'svid.rotated', 'revocation.changed', 'connection.terminated'])
    t.ok(events.includes(event), event);
});

t.test(
  'with --workload-api SVID and bundles come from an agent, and all the rest is seen as well',
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'cs-')); // short: a socket's path has 107 bytes
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const { code, out } = await runDemo(folder, ['--workload-api']);
    t.equal(code, 0, out);
    const summary = out.slice(out.indexOf('Summary'));
    t.match(summary, /✓ what brought bundle, SVID, bundle +workload-api, workload-api, workload-api/);
    t.match(summary, /✓ calls that failed during the rotation +0 of \d{2,}/);
    t.match(summary, /✓ an SVID of the removed root +403 chain_untrusted/);
    t.match(summary, /✓ batch's open connection +ended after \d+ ms/);
    t.match(summary, /✓ audit verify +PROVEN/);
    t.notMatch(summary, /✗/);
    tryAuditCommands(t, out);
    const [made = ''] = readdirSync(folder);
    const config = readFileSync(join(folder, made, 'countersign.yaml'), 'utf8');
    t.match(config, `workloadApi: { socket: "unix://${join(folder, made, 'agent.sock')}" }`);
    t.notMatch(config, /\.pem/, 'no file brings trust');
    const records = readFileSync(join(folder, made, 'audit.ndjson'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => readRecord<LifecycleRecord>(line));
    const changes = records.filter(({ event }) => event === 'trust.changed' || event === 'svid.rotated');
    t.same(new Set(changes.map(({ source }) => source)), new Set(['workload-api']));
  },
);

t.test('a folder too deep for a socket is refused with what to do, and nothing is left of it', async (t) => {
  const folder = t.testdir({ ['deep'.repeat(30)]: {} });
  const deep = join(folder, 'deep'.repeat(30));
  const { code, out, err } = await runDemo(deep, ['--workload-api']);
  t.equal(code, 78);
  t.equal(out, '');
  t.match(err, /is longer than the 107 bytes .*: set TMPDIR to another folder/);
  t.same(readdirSync(deep), []);
});

t.test('with --every-record each request has its own line', async (t) => {
  const folder = t.testdir();
  const { code, out } = await runDemo(folder, ['--every-record']);
  t.equal(code, 0, out);
  const [made = ''] = readdirSync(folder);
  const records = readFileSync(join(folder, made, 'audit.ndjson'), 'utf8').split('\n');
  const access = records.filter((line) => line.includes('"event":"access"'));
  const shown = out.split('\n').filter((line) => / {2}\d{3}$/.test(line));
  t.ok(access.length > 100);
  t.equal(shown.length, access.length);
  t.notMatch(out, /more like it/);
});

t.test('an unknown option of the demo is wrong usage and starts nothing', async (t) => {
  const folder = t.testdir();
  const { code } = await runDemo(folder, ['--no-such-option']);
  t.equal(code, 64);
  t.same(readdirSync(folder), []);
});

t.test('one promise that was not seen is marked, says what was expected, and fails the whole', async (t) => {
  let out = '';
  const screen = new DemoScreen(
    (text) => {
      out += text;
    },
    { colour: true, everyRecord: false },
  );
  screen.expect('seen', '200', '200');
  screen.expect('not seen', '403', '200');
  t.equal(screen.summary(), false);
  t.match(out, /\u001b\[31m✗\u001b\[0m not seen +200 {2}\(expected: 403\)/);
  t.match(out, /\u001b\[32m✓\u001b\[0m seen +200\n/);
});
