import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startApp } from '../../src/app/app.js';
import { runCheck } from '../../src/cli/check.js';
import { DAY_MS } from '../../src/policy/exception.js';
import { order } from '../support/grants.js';
import { mintRoot } from '../support/pki.js';
import { readRecord } from '../support/record-check.js';

const TEXT = readFileSync('docs/exceptions.md', 'utf8');
const blocks = (language: string): readonly string[] =>
  [...TEXT.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map(([, block = '']) => block);

const [POLICY = '', SETTINGS = '', WRITTEN = ''] = blocks('yaml');
const [GRANT = '', WITHDRAW = ''] = blocks('sh');
const NOW = Date.UTC(2026, 10, 21, 10);

/** A folder with the page's policy and settings in it, and a PKI of its time. */
async function folderOf(t: Test): Promise<string> {
  const times = { notBefore: new Date(NOW - DAY_MS), notAfter: new Date(NOW + 30 * DAY_MS) };
  const root = await mintRoot('example.org', times);
  const own = await root.issue('spiffe://example.org/ns/prod/sa/billing', times);
  return t.testdir({
    'bundle.pem': root.certPem,
    'own.pem': own.chainPem,
    'own-key.pem': own.keyPem,
    'policy.yaml': POLICY,
    'countersign.yaml': `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
trust: [{ trustDomain: example.org, bundle: { file: bundle.pem } }]
listeners:
  - { name: inbound, address: 127.0.0.1:0, routes: [{ name: all, path: /**, upstream: billing }] }
upstreams: { billing: { url: "http://127.0.0.1:9" } }
policy: policy.yaml
audit: { file: audit.ndjson }
admin: { address: 127.0.0.1:0 }
${SETTINGS}`,
  });
}

/** Method, path and body of a curl command of the page. */
function orderOf(command: string): { method: string; path: string; body: object } {
  const [, path = ''] = /http:\/\/127\.0\.0\.1:9901(\S+)/.exec(command) ?? [];
  const [, body = ''] = /-d '(.*)'/s.exec(command) ?? [];
  return { method: command.includes('-X DELETE') ? 'DELETE' : 'POST', path, body: JSON.parse(body) };
}

t.test('the orders of docs/exceptions.md do what the page says', async (t) => {
  const folder = await folderOf(t);
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const configFile = join(folder, 'countersign.yaml');
  const app = await startApp({ configFile, env: {}, diagnostics: silent, nowMs: () => NOW });
  t.teardown(() => app.close());
  const url = `http://${app.addresses.get('admin')}`;
  const [grant, withdraw] = [orderOf(GRANT), orderOf(WITHDRAW)];
  t.equal((await order(url, grant.method, grant.path, grant.body)).status, 200);
  const kept = readFileSync(join(folder, 'grants.yaml'), 'utf8');
  t.equal(kept.replace(/^#.*\n/, ''), WRITTEN, 'the file holds the line of the page');
  const { body } = await order(url, 'GET', '/exceptions');
  t.match(body.exceptions, [
    { id: 'EX-7', source: 'policy', state: 'active' },
    { id: 'INC-4711', source: 'grants', state: 'expiring' },
  ]);
  t.equal((await order(url, withdraw.method, withdraw.path, withdraw.body)).status, 200);
  await app.close();
  const records = readFileSync(join(folder, 'audit.ndjson'), 'utf8').trim().split('\n');
  const [shown = ''] = blocks('json');
  const withdrawn = records.map((line) => readRecord(line));
  t.match(
    withdrawn.find(({ event }) => event === 'exception.withdrawn'),
    JSON.parse(shown),
    'the record is that of the page',
  );
});

t.test('check warns as docs/exceptions.md shows it, and of what does not fit', async (t) => {
  const folder = await folderOf(t);
  const entry = (id: string, more: string): string =>
    `  - { id: ${id}, owner: o, reason: r, by: a, ${more} }\n`;
  const allow = 'allow: { principals: ["spiffe://example.org/x"], destinations: [billing] }';
  writeFileSync(
    join(folder, 'grants.yaml'),
    `version: 1\nexceptions:\n${entry('EX-7', `expires: 2026-12-25T00:00:00Z, ${allow}`)}${entry(
      'OLD',
      `expires: 2026-11-01T00:00:00Z, ${allow.replace('[billing]', '[biling]')}`,
    )}`,
  );
  let said = '';
  const take = (text: string): void => {
    said += text;
  };
  const io = { stdout: take, stderr: take, env: {}, cwd: folder };
  const check = (nowMs: number) => runCheck(['-c', 'countersign.yaml'], io as never, nowMs);
  t.equal(await check(Date.UTC(2026, 10, 29, 12)), 0, said);
  const [shown = ''] = [...TEXT.matchAll(/^policy\.yaml:.*$/gm)].map(([line]) => line);
  t.ok(said.includes(shown), said);
  for (const warning of [
    /grants\.yaml:3:11 exceptions\[0\]\.id: warning: "EX-7" is the id of an exception of the policy/,
    /grants\.yaml:4:\d+ exceptions\[1\]\.allow\.destinations\[0\]: warning: there is no upstream or route "biling"; did you mean "billing"/,
    /grants\.yaml:4:\d+ exceptions\[1\]\.expires: warning: "OLD" of o is dead since 2026-11-01/,
  ])
    t.match(said, warning);
  t.equal(said.match(/warning:/g)?.length, 4, said);

  said = '';
  const far = POLICY.replace('2026-12-01', '2062-12-01').replace(
    '[billing]\n      methods',
    '[ledger]\n      methods',
  );
  writeFileSync(join(folder, 'policy.yaml'), far);
  writeFileSync(join(folder, 'grants.yaml'), 'version: 1\nexceptions: [{}]\n');
  t.equal(await check(NOW), 78);
  for (const problem of [
    /policy\.yaml:10:14 exceptions\[0\]\.expires: is too far ahead: at most 90d/,
    /policy\.yaml:13:22 exceptions\[0\]\.allow\.destinations\[0\]: there is no upstream or route "ledger"/,
    /grants\.yaml:2:14 exceptions\[0\]\.owner: is required/,
  ])
    t.match(said, problem);
});
