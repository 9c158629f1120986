import { readFileSync } from 'node:fs';
import t from 'tap';
import { runCheck } from '../../src/cli/check.js';
import { runExplain } from '../../src/cli/explain.js';
import { EXPLAIN_USAGE } from '../../src/cli/explain-options.js';
import type { CliIo } from '../../src/cli/io.js';
import { runPolicy } from '../../src/cli/policy-test.js';
import { policyTestSchema } from '../../src/config/policy-test.js';
import { mintRoot } from '../support/pki.js';

const PAGE = readFileSync('docs/dry-run.md', 'utf8');

/** A file that the page shows, by the name in its first line, which stays in it. */
function shown(name: string): string {
  const block = new RegExp(`^\`\`\`yaml\\n(# ${name}\\n.*?)^\`\`\`$`, 'ms').exec(PAGE);
  if (block?.[1] === undefined) throw new Error(`the page shows no ${name}`);
  return block[1];
}

const verbs: Readonly<Record<string, (argv: string[], io: CliIo) => Promise<number>>> = {
  explain: runExplain,
  policy: runPolicy,
  check: runCheck,
};
/** The revision of a policy says nothing to a reader. */
const masked = (text: string): string => text.replace(/policy [0-9a-f]{16}/g, 'policy …');

async function folder(t: { testdir(files: Readonly<Record<string, string>>): string }): Promise<string> {
  const root = await mintRoot('example.org');
  const own = await root.issue('spiffe://example.org/ns/prod/sa/billing');
  const config = shown('countersign.yaml');
  const policy = shown('policy.yaml');
  return t.testdir({
    'bundle.pem': root.certPem,
    'sidecar.pem': own.chainPem,
    'sidecar-key.pem': own.keyPem,
    'countersign.yaml': config,
    'policy.yaml': policy,
    'with-one-more.yaml': config.replace('policy: policy.yaml', 'policy: with-one-more-policy.yaml'),
    'with-one-more-policy.yaml': policy + shown('one more').replace('# one more\n', ''),
  });
}

async function run(line: string, cwd: string): Promise<{ code: number; said: string }> {
  const [name = '', ...argv] = line.split(' ');
  const verb = verbs[name];
  if (verb === undefined) throw new Error(`no verb ${name}`);
  let said = '';
  const say = (text: string): void => {
    said += text;
  };
  return { code: await verb(argv, { stdout: say, stderr: say, env: {}, cwd }), said };
}

t.test('the configuration of the page is good: no problem, no warning, no test that fails', async (t) => {
  const { code, said } = await run('check -c countersign.yaml', await folder(t));
  t.equal(said, 'countersign.yaml: good\n');
  t.equal(code, 0);
});

t.test('every command of the page says what the page says that it says', async (t) => {
  const cwd = await folder(t);
  const blocks = [...PAGE.matchAll(/^```\n\$ countersign ([^\n]*)\n(.*?)^```$/gms)];
  t.equal(blocks.length, 4);
  for (const [, line = '', expected = ''] of blocks) {
    const { said } = await run(line, cwd);
    t.equal(masked(said), masked(expected), line);
  }
});

t.test('the page has every option that tells something, and every key of a test', async (t) => {
  const options = [
    ...EXPLAIN_USAGE.matchAll(
      /--(header|behalf-of|by|through|claim|kind|credential|not-before|not-after|issuer|tls|no-resumed|resumed|at)\b/g,
    ),
  ];
  t.ok(options.length >= 9);
  for (const [option] of options) t.ok(PAGE.includes(`\`${option}`), option);
  const rows = [...PAGE.matchAll(/^\| `([a-zA-Z]+)` \| (?:required|–|now|unknown) \|/gm)].map(
    (row) => row[1],
  );
  t.same(rows.sort(), Object.keys(policyTestSchema.shape).sort());
});
