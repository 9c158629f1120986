import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { parseAllDocuments } from 'yaml';
import { createAdminEndpoint } from '../../src/admin/admin-endpoint.js';
import type { AdminView } from '../../src/admin/ports.js';
import { runExplain } from '../../src/cli/explain.js';
import { loadAll } from '../../src/config/load.js';
import { readPolicyFile } from '../../src/config/policy-file.js';
import { formatProblem } from '../../src/config/problem.js';
import { allReasons, meaningOf } from '../../src/reasons.js';
import { ExportMetrics } from '../../src/telemetry/export-metrics.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { SupervisorMetrics } from '../../src/telemetry/supervisor-metrics.js';
import { mintRoot } from '../support/pki.js';

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema | boolean;
  readonly anyOf?: readonly Schema[];
  readonly required?: readonly string[];
  readonly default?: unknown;
}

interface Key {
  readonly path: string;
  readonly required: boolean;
  readonly default: unknown;
}

const rows = (file: string): string[][] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.slice(2, -2).split(' | '));

/** Keys that hold a value: what lies between is shown by them. */
function leaves(schema: Schema, path: string, required: boolean): Key[] {
  const { items, additionalProperties: named } = schema;
  // `false` or a mapping: the row of one of its keys says what `false` does.
  const { properties } = schema.anyOf?.find((one) => one.properties !== undefined) ?? schema;
  const join = (key: string): string => (path === '' ? key : `${path}.${key}`);
  if (properties !== undefined) {
    return Object.entries(properties).flatMap(([key, value]) =>
      leaves(value, join(key), schema.required?.includes(key) === true),
    );
  }
  if (items?.properties !== undefined) return leaves(items, `${path}[]`, false);
  if (typeof named === 'object' && named.properties !== undefined)
    return leaves(named, `${path}.NAME`, false);
  return [{ path, required, default: schema.default }];
}

t.test('docs/configuration.md has every key of the schema with its default, and no other', async (t) => {
  const schema = JSON.parse(readFileSync('config/countersign.schema.json', 'utf8')) as Schema;
  const keys = leaves(schema, '', true);
  t.ok(keys.length > 50);
  const table = new Map(rows('docs/configuration.md').map((row) => [row[0]!.replaceAll('`', ''), row]));
  for (const key of keys) {
    const said = table.get(key.path)?.[2];
    const plain = typeof key.default === 'string' ? key.default : JSON.stringify(key.default);
    t.equal(said, key.required ? 'required' : key.default === undefined ? '–' : `\`${plain}\``, key.path);
  }
  const known = new Set(keys.map(({ path }) => path));
  const headers = /^(x-|client-cert|via|traceparent|names of)/;
  for (const path of table.keys()) {
    const isGroup = keys.some((key) => key.path.startsWith(`${path}[]`));
    t.ok(known.has(path) || isGroup || headers.test(path), `${path} is a key`);
  }
});

t.test('docs/records.md has every reason with its status, and no other', async (t) => {
  const table = rows('docs/records.md').filter(([, status]) => /^(\d{3}|–)/.test(status ?? ''));
  t.same(
    table.map(([reason]) => reason?.replaceAll('`', '')),
    allReasons,
  );
  for (const [reason, status] of table) {
    const meaning = meaningOf(reason?.replaceAll('`', '') as (typeof allReasons)[number]);
    t.equal(status, `${meaning.status || '–'}${meaning.credential ? ', closes' : ''}`, String(reason));
  }
});

t.test('docs/operations.md has every metric with its labels, and no other', async (t) => {
  const registries = [new Metrics().registry, new SupervisorMetrics(() => 0).registry];
  new ExportMetrics(registries[0]!, () => 0);
  const metrics = registries.flatMap((registry) => registry.getMetricsAsArray()) as unknown as {
    name: string;
    labelNames: string[];
  }[];
  const named = new Map(metrics.map((metric) => [metric.name, metric])); // the supervisor counts records as well
  const ours = [...named.values()].filter(({ name }) => name.startsWith('countersign_'));
  const table = new Map(
    rows('docs/operations.md')
      .filter(([name]) => name?.startsWith('`countersign_'))
      .map(([name, labels]) => [name?.replaceAll('`', ''), labels ?? '']),
  );
  t.same([...table.keys()].sort(), ours.map(({ name }) => name).sort());
  for (const { name, labelNames } of ours) {
    const said = [...(table.get(name) ?? '').matchAll(/`([a-z_]+)`/g)].map((match) => match[1]);
    t.same(said, [...labelNames], name);
  }
});

t.test('every link between the documents leads somewhere', async (t) => {
  const files = [
    'README.md',
    'SECURITY.md',
    'CHANGELOG.md',
    ...readdirSync('docs')
      .filter((name) => name.endsWith('.md'))
      .map((name) => join('docs', name)),
  ];
  for (const file of files) {
    const text = readFileSync(file, 'utf8');
    for (const [, link = ''] of text.matchAll(/\]\(([^)]+)\)/g)) {
      if (link.startsWith('https:')) continue;
      const [path = '', anchor] = link.split('#');
      const target = path === '' ? file : join(dirname(file), path);
      t.ok(existsSync(target), `${file}: ${link}`);
      if (anchor === undefined) continue;
      const headings = readFileSync(target, 'utf8').match(/^#+ .*$/gm) ?? [];
      const anchors = headings.map((line) => line.replace(/^#+ /, '').toLowerCase().replaceAll(' ', '-'));
      t.ok(anchors.includes(anchor), `${file}: ${link}`);
    }
  }
});

t.test('docs/records.md has every event, and no other', async (t) => {
  const source = readFileSync('src/audit/record.ts', 'utf8');
  const events = [...source.matchAll(/readonly event:(.*?);/gs)].flatMap(([, union = '']) =>
    quoted(union, "'"),
  );
  t.ok(events.length > 20);
  const [, table = ''] = /^\| event \| when \|$(.*?)^$/ms.exec(readFileSync('docs/records.md', 'utf8')) ?? [];
  const said = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, names = '']) => quoted(names, '`'));
  t.same(said.sort(), events.sort());
});

t.test('docs/operations.md has every path of the admin listener, and no other', async (t) => {
  const { routes } = createAdminEndpoint({} as AdminView);
  const said = rows('docs/operations.md')
    .map(([orders = '']) => quoted(orders, '`'))
    .filter(([order = '']) => /^(GET|POST|DELETE)\b/.test(order))
    .flatMap((orders) => orders.map((order) => (order.includes(' ') ? order : `${order} ${pathOf(orders)}`)));
  t.same(said.map((order) => order.replace(/\/[A-Z]+$/, '/*')).sort(), [...routes.keys()].sort());
});

const quoted = (text: string, quote: string): string[] =>
  [...text.matchAll(new RegExp(`${quote}(.+?)${quote}`, 'g'))].map(([, inside = '']) => inside);

/** Of `GET`, `POST /path`: the path of both. */
const pathOf = (orders: readonly string[]): string =>
  orders.find((order) => order.includes(' '))?.split(' ')[1] ?? '';

/** A folder with the files that stand in a document, and the certificates they name. */
async function folderWith(t: Test, files: Readonly<Record<string, string>>): Promise<string> {
  const root = await mintRoot('example.org');
  const own = await root.issue('spiffe://example.org/ns/prod/sa/billing');
  const pki = { 'bundle.pem': root.certPem, 'sidecar.pem': own.chainPem, 'sidecar-key.pem': own.keyPem };
  const { privateKey } = generateKeyPairSync('ed25519');
  const folder = t.testdir({
    ...files,
    pki,
    'seal.jwk': JSON.stringify(privateKey.export({ format: 'jwk' })),
  });
  chmodSync(join(folder, 'seal.jwk'), 0o600); // check warns where others can read it
  return folder;
}

async function problemsOf(t: Test, files: Readonly<Record<string, string>>): Promise<readonly unknown[]> {
  const folder = await folderWith(t, files);
  const { problems, warnings } = await loadAll(join(folder, 'countersign.yaml'), {}, Date.now());
  return [...problems, ...warnings];
}

/** What README's quick start writes. */
function quickStart(): Readonly<Record<string, string>> {
  const text = readFileSync('README.md', 'utf8');
  const files = [...text.matchAll(/^cat > (\S+\.yaml) <<'EOF'\n(.*?)^EOF$/gms)].map(
    ([, name = '', content = '']) => [name, content] as const,
  );
  const [, revoked = ''] = /^printf '(.*)' > revoked\.yaml$/m.exec(text) ?? [];
  return { ...Object.fromEntries(files), 'revoked.yaml': revoked.replaceAll('\\n', '\n') };
}

t.test("the configuration of README's quick start is good", async (t) => {
  const files = quickStart();
  t.same(Object.keys(files), ['countersign.yaml', 'policy.yaml', 'revoked.yaml']);
  t.same(await problemsOf(t, files), []);
});

t.test("explain says of README's quick start what README and docs/policy.md say that it says", async (t) => {
  const cwd = await folderWith(t, quickStart());
  for (const page of ['README.md', 'docs/policy.md']) {
    const text = readFileSync(page, 'utf8');
    const [, options = '', expected = ''] =
      /^\$ countersign explain (.*)\n((?:.+\n)+?)(?=\n|```)/m.exec(text) ?? [];
    let said = '';
    const say = (more: string): void => {
      said += more;
    };
    t.equal(await runExplain(options.split(' '), { stdout: say, stderr: say, env: {}, cwd }), 1, page);
    t.equal(said, expected, page);
  }
});

t.test('the configuration of the Kubernetes example is good', async (t) => {
  const [map] = parseAllDocuments(readFileSync('deploy/kubernetes-sidecar.yaml', 'utf8'));
  const { data } = (map?.toJS() ?? { data: {} }) as { data: Record<string, string> };
  const mounts: Readonly<Record<string, string>> = {
    '/run/svid/tls.crt': 'pki/sidecar.pem',
    '/run/svid/tls.key': 'pki/sidecar-key.pem',
    '/run/trust/bundle.pem': 'pki/bundle.pem',
  };
  let config = data['countersign.yaml'] ?? '';
  for (const [mounted, file] of Object.entries(mounts)) {
    t.ok(config.includes(mounted));
    config = config.replace(mounted, file);
  }
  t.same(await problemsOf(t, { ...data, 'countersign.yaml': config }), []);
});

t.test('every policy that docs/policy.md shows is a good one', async (t) => {
  const blocks = [...readFileSync('docs/policy.md', 'utf8').matchAll(/^```yaml\n(.*?)^```/gms)];
  t.ok(blocks.length > 0);
  for (const [, text = ''] of blocks) {
    const { input, problems } = readPolicyFile(text, 'policy.yaml');
    t.same(problems.map(formatProblem), []);
    t.ok((input?.rules.length ?? 0) > 0, text);
  }
});
