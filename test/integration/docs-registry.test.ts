import { readFileSync } from 'node:fs';
import t from 'tap';
import { runCheck } from '../../src/cli/check.js';
import { readRegistryFile } from '../../src/config/registry-file.js';
import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import { compileRegistry } from '../../src/policy/registry.js';
import { mintRoot } from '../support/pki.js';

const PAGE = readFileSync('docs/registry.md', 'utf8');
/** A file that the page shows, by the name in its first line. */
const shown = (name: string): string => {
  const block = new RegExp(`^\`\`\`yaml\\n# ${name}\\n(.*?)^\`\`\`$`, 'ms').exec(PAGE);
  if (block?.[1] === undefined) throw new Error(`the page shows no ${name}`);
  return block[1];
};

t.test('the registry of the page is good, and its table says who owns what by it', async (t) => {
  const { input, problems } = readRegistryFile(shown('registry.yaml'), 'registry.yaml');
  t.same(problems, []);
  const registry = input && compileRegistry(input);
  const rows = [...PAGE.matchAll(/^\| `(spiffe:[^`]+)` \| (\S+) \|$/gm)];
  t.equal(rows.length, 6);
  for (const [, uri, owner] of rows) {
    const id = parseSpiffeId(uri);
    t.equal(id.ok && (registry?.find(id.value)?.owner ?? 'nobody'), owner, `${uri}`);
  }
});

t.test('check says what the page says that it says', async (t) => {
  const root = await mintRoot('example.org');
  const partner = await mintRoot('partner.example');
  const own = await root.issue('spiffe://example.org/ns/prod/sa/billing');
  const cwd = t.testdir({
    'bundle.pem': root.certPem,
    'partner.pem': partner.certPem,
    'own.pem': own.chainPem,
    'key.pem': own.keyPem,
    'tired.yaml': `# tired.yaml\n${shown('tired.yaml')}`,
    'policy.yaml': `# policy.yaml\n${shown('policy.yaml')}`,
    'countersign.yaml': `version: 1
identity: { files: { certificate: own.pem, key: key.pem } }
trust:
  - { trustDomain: example.org, bundle: { file: bundle.pem } }
  - { trustDomain: partner.example, bundle: { file: partner.pem } }
listeners: [{ name: inbound, address: "127.0.0.1:0", routes: [{ name: all, path: "/**", upstream: billing }] }]
upstreams: { billing: { url: "http://127.0.0.1:8080" } }
policy: policy.yaml
registry: tired.yaml
`,
  });
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  t.equal(await runCheck(['-c', 'countersign.yaml'], { stdout: say, stderr: say, env: {}, cwd }), 0);
  const expected = /^\$ countersign check -c countersign\.yaml\n(.*?)^```$/ms.exec(PAGE)?.[1];
  t.equal(said.join(''), expected);
});
