import { spawnSync } from 'node:child_process';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Program, run } from '../support/program.js';
import { readRecord } from '../support/record-check.js';
import { recordText } from '../support/records.js';
import { MAIN } from '../support/run-process.js';

const CONFIG = `version: 1
identity:
  files: { certificate: pki/sidecar.pem, key: pki/sidecar-key.pem }
trust:
  - trustDomain: example.org
    bundle: { file: pki/bundle.pem }
listeners:
  - name: inbound
    address: 127.0.0.1:0
    routes:
      - { name: all, path: /**, upstream: billing }
upstreams:
  billing: { url: "http://127.0.0.1:9" }
policy: policy.yaml
health: { address: 127.0.0.1:0 }
drain: { delay: 0s, deadline: 5s }
`;

/** A folder that a user of the quick start would have. */
async function preparedFolder(t: Test, config = CONFIG): Promise<string> {
  const folder = t.testdir({
    'countersign.yaml': config,
    'policy.yaml': 'version: 1\ndefault: deny\nrules: []\n',
  });
  t.equal((await run(['pki', 'init', '--dir', 'pki', '--trust-domain', 'example.org'], folder)).code, 0);
  const issue = ['pki', 'issue', '--dir', 'pki', '--id', 'spiffe://example.org/sidecar'];
  t.equal((await run(issue, folder)).code, 0);
  return folder;
}

t.test('--version prints the version of the package', async (t) => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  for (const flag of ['--version', '-v']) {
    const { code, stdout } = await run([flag]);
    t.equal(code, 0);
    t.equal(stdout, `${version}\n`);
  }
});

t.test('help names every verb; without a verb it is wrong usage', async (t) => {
  for (const args of [['help'], ['--help'], ['-h']]) {
    const { code, stdout, stderr } = await run(args);
    t.equal(code, 0);
    t.equal(stderr, '');
    for (const verb of ['run', 'check', 'explain', 'policy', 'pki', 'demo', 'health'])
      t.match(stdout, new RegExp(`^  ${verb} +\\S`, 'm'));
  }
  const { code, stdout, stderr } = await run([]);
  t.equal(code, 64);
  t.equal(stdout, '');
  t.match(stderr, /^Usage: countersign VERB/);
});

t.test('an unknown verb is wrong usage, also one that every object has', async (t) => {
  for (const verb of ['rum', 'constructor', '__proto__']) {
    const { code, stdout, stderr } = await run([verb]);
    t.equal(code, 64, verb);
    t.equal(stdout, '');
    t.match(stderr, `there is no verb "${verb}"`);
  }
});

t.test('each verb explains itself, and refuses an option that it does not have', async (t) => {
  for (const verb of ['run', 'check', 'explain', 'policy', 'pki', 'demo', 'health']) {
    const help = await run([verb, '--help']);
    t.equal(help.code, 0, verb);
    t.match(help.stdout, `Usage: countersign ${verb}`);
    const wrong = await run([verb, '--no-such-option']);
    t.equal(wrong.code, 64, verb);
    t.match(
      wrong.stderr,
      new RegExp(`^countersign ${verb}: .*\\nSee: countersign ${verb} --help\\n$`),
      'no page of help',
    );
    t.notMatch(wrong.stderr, /^ +at /m, 'no stack');
  }
});

t.test('run with a broken configuration lists every problem with line and column and exits 78', async (t) => {
  const broken = CONFIG.replace('127.0.0.1:0', '127.0.0.1').replace('deadline: 5s', 'deadline: 5');
  const folder = await preparedFolder(t, broken);
  const { code, stdout, stderr } = await run(['run', '-c', 'countersign.yaml'], folder);
  t.equal(code, 78);
  t.equal(stdout, '', 'not one record: nothing was opened');
  const lines = stderr.trim().split('\n');
  t.match(lines[0], /countersign\.yaml:9:14 listeners\[0\]\.address: /);
  t.match(lines[1], /countersign\.yaml:16:31 drain\.deadline: /);
  t.equal(lines.length, 2, stderr);
  const checked = await run(['check', '-c', 'countersign.yaml'], folder);
  t.equal(checked.code, 78);
  t.match(checked.stderr, /^countersign\.yaml:9:14 /m, 'check says the same');
});

t.test('run without a file that it needs exits 78 and says which', async (t) => {
  const folder = await preparedFolder(t, CONFIG.replace('pki/bundle.pem', 'pki/gone.pem'));
  const { code, stderr } = await run(['run', '-c', 'countersign.yaml'], folder);
  t.equal(code, 78);
  t.match(stderr, /^countersign\.yaml:6:21 trust\[0\]\.bundle\.file: .*gone\.pem/m);
  const missing = await run(['run', '-c', 'nowhere.yaml'], folder);
  t.equal(missing.code, 78);
  t.match(missing.stderr, /nowhere\.yaml/);
});

t.test(
  'health is 0 while the sidecar is ready and 1 when it is gone; SIGTERM drains and ends with 0',
  async (t) => {
    const folder = await preparedFolder(t);
    t.equal((await run(['check', '-c', 'countersign.yaml'], folder)).code, 0);
    const sidecar = new Program(['run', '-c', 'countersign.yaml'], folder);
    t.teardown(() => sidecar.child.kill('SIGKILL'));
    const { health = '' } = await sidecar.ready();
    const good = await run(['health', '--address', health]);
    t.equal(good.code, 0);
    t.equal(good.stdout, 'ok\n');
    sidecar.child.kill('SIGTERM');
    const ended = await sidecar.end();
    t.equal(ended.code, 0);
    const events = ended.stdout
      .trim()
      .split('\n')
      .map((line) => readRecord(line).event);
    t.same(events, ['process.started', 'process.draining', 'process.stopped'], 'records alone on stdout');
    for (const line of ended.stderr.trim().split('\n')) t.match(JSON.parse(line), { name: 'countersign' });
    const gone = await run(['health', '--address', health]);
    t.equal(gone.code, 1);
    t.match(gone.stderr, /no answer/);
  },
);

t.test('a second SIGTERM ends a drain at once', async (t) => {
  const folder = await preparedFolder(t, CONFIG.replace('delay: 0s', 'delay: 10m'));
  const sidecar = new Program(['run', '-c', 'countersign.yaml'], folder);
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  const { health = '' } = await sidecar.ready();
  sidecar.child.kill('SIGTERM');
  await sidecar.says('draining');
  const draining = await run(['health', '--address', health]);
  t.equal(draining.code, 1);
  t.match(draining.stderr, 'not ready: draining');
  sidecar.child.kill('SIGTERM');
  t.equal((await sidecar.end()).code, 0);
});

t.test('signals that come the moment it says that it is ready are heard', async (t) => {
  const folder = await preparedFolder(t);
  const sidecar = new Program(['run', '-c', 'countersign.yaml'], folder);
  t.teardown(() => sidecar.child.kill('SIGKILL'));
  await sidecar.ready();
  sidecar.child.kill('SIGHUP');
  sidecar.child.kill('SIGTERM');
  const { code, stdout } = await sidecar.end();
  t.equal(code, 0);
  t.match(stdout, '"event":"process.draining"');
});

t.test('an address that is taken ends run with 78, and leaves no socket behind', async (t) => {
  const folder = await preparedFolder(t);
  const first = new Program(['run', '-c', 'countersign.yaml'], folder);
  t.teardown(() => first.child.kill('SIGKILL'));
  const { inbound = '' } = await first.ready();
  const short = mkdtempSync(join(tmpdir(), 'cs-')); // the path of a socket must be
  t.teardown(() => rmSync(short, { recursive: true }));
  const admin = `admin: { address: "unix:${short}/admin.sock" }\nhealth: {`;
  const taken = CONFIG.replace('127.0.0.1:0', inbound).replace('health: {', admin);
  writeFileSync(join(folder, 'second.yaml'), taken);
  const { code, stderr } = await run(['run', '-c', 'second.yaml'], folder);
  t.equal(code, 78);
  t.match(stderr, /EADDRINUSE/);
  t.notOk(existsSync(join(short, 'admin.sock')));
  const long = `admin: { address: "unix:${'x'.repeat(120)}/admin.sock" }\nhealth: {`;
  writeFileSync(join(folder, 'long.yaml'), CONFIG.replace('health: {', long));
  const refused = await run(['check', '-c', 'long.yaml'], folder);
  t.equal(refused.code, 78);
  t.match(refused.stderr, /admin\.address: .*longer than the 107 bytes/);
});

t.test('health refuses an address that is none', async (t) => {
  const { code, stderr } = await run(['health', '--address', 'nonsense']);
  t.equal(code, 64);
  t.match(stderr, /HOST:PORT or unix:/);
});

t.test(
  'an answer that could not be written is no answer: exit 78, and why in one line',
  { skip: !existsSync('/dev/full') && 'no /dev/full here' },
  async (t) => {
    const cwd = t.testdir({ records: `${recordText({})}\n` });
    const full = openSync('/dev/full', 'w');
    for (const verb of ['query', 'report']) {
      const stdio = ['ignore', full, 'pipe'] as const;
      const ran = spawnSync(process.execPath, [MAIN, 'audit', verb, 'records'], { cwd, stdio: [...stdio] });
      t.equal(ran.status, 78, verb);
      t.equal(String(ran.stderr), 'countersign: standard output cannot be written (ENOSPC)\n');
    }
    closeSync(full);
  },
);
