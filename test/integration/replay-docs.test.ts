import { readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { runReplay } from '../../src/cli/replay.js';
import { type RecordChanges, recordText } from '../support/records.js';
import { toldIo } from '../support/told-io.js';

const PAGE = readFileSync('docs/replay.md', 'utf8');

const block = (pattern: RegExp): string => {
  const found = pattern.exec(PAGE)?.[1];
  if (found === undefined) throw new Error(`the page has no ${pattern}`);
  return found;
};

/** What the page says was recorded: by a policy that let `web` do everything. */
const request = (name: string, method: string, minute: number, changes: RecordChanges = {}): string =>
  recordText({
    time: `2026-11-21T10:0${minute}:00.000Z`,
    principal: { id: `spiffe://example.org/ns/prod/sa/${name}` },
    decision: { rule: 'web', ...changes.decision },
    tls: { serverName: 'billing.internal' },
    request: {
      route: 'all',
      destination: 'billing',
      method,
      host: 'billing.internal',
      path: method === 'POST' ? '/invoices' : '/invoices/7',
    },
  });

const denied = (reason: string, rule?: string): RecordChanges => ({
  decision: { effect: 'deny', reason, rule },
});

async function ask(cwd: string, ...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  const io = toldIo(cwd);
  return { code: await runReplay(argv, io), out: io.out, err: io.err };
}

t.test('the page shows what replay says', async (t) => {
  const older = [request('web', 'GET', 0), request('batch', 'GET', 1, denied('no_rule_matched', 'default'))];
  const newer = [
    request('web', 'DELETE', 2),
    request('web', 'DELETE', 3),
    request('web', 'POST', 4),
    request('web', 'GET', 5),
    request('web', 'GET', 6, denied('svid_expired')),
  ];
  const cwd = t.testdir({
    'audit.ndjson': `${newer.join('\n')}\n{"stream":{"id":"vm"`,
    'audit.ndjson.1.gz': gzipSync(`${older.join('\n')}\n`),
    new: {
      'policy.yaml': block(/^```yaml\n# new\/policy\.yaml\n(.*?)^```$/ms),
      'countersign.yaml': `version: 1
identity: { files: { certificate: own.pem, key: key.pem } }
trust: [{ trustDomain: example.org, bundle: { file: bundle.pem } }]
listeners: [{ name: inbound, address: "127.0.0.1:0", routes: [{ name: all, path: "/**", upstream: billing }] }]
upstreams: { billing: { url: "http://127.0.0.1:8080" } }
policy: policy.yaml
`,
    },
  });
  const [, command = '', expected] = /^\$ countersign replay (.*?)\n(.*?)^```$/ms.exec(PAGE) ?? [];
  const { code, out, err } = await ask(cwd, ...command.split(' '));
  t.equal(err, '');
  const withoutRevision = (text = ''): string => text.replace(/policy [0-9a-f]{16}$/m, 'policy …');
  t.equal(withoutRevision(out), withoutRevision(expected));
  t.equal(code, 1);
});

t.test('the page has every option and exit code', async (t) => {
  const { out } = await ask('.', '--help');
  for (const [, option] of out.matchAll(/^ {2,6}(?:-\w, )?(--[a-z-]+)/gm)) {
    if (option !== '--help' && option !== '--config') t.ok(PAGE.includes(`\`${option}`), `${option}`);
  }
  const codes = [...PAGE.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => code);
  t.same(codes, ['0', '1', '64', '78']);
});
