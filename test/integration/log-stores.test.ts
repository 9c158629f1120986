import { readdirSync, readFileSync } from 'node:fs';
import t from 'tap';
import { parse } from 'yaml';

const FOLDER = 'deploy/log-stores';
const read = (name: string): string => readFileSync(`${FOLDER}/${name}`, 'utf8');

interface Node {
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
}

/** Every field of every kind of record: its place, and what JSON it is. */
function fieldsOf(node: Node, path: string, found: Map<string, string>): Map<string, string> {
  const { properties } = node.items?.properties === undefined ? node : node.items;
  if (properties === undefined)
    found.set(path, node.type === 'array' ? (node.items?.type ?? '') : (node.type ?? ''));
  for (const [name, inner] of Object.entries(properties ?? {}))
    fieldsOf(inner, path === '' ? name : `${path}.${name}`, found);
  return found;
}

const schema = JSON.parse(readFileSync('config/record.schema.json', 'utf8')) as Node;
const FIELDS = new Map((schema.oneOf ?? []).flatMap((kind) => [...fieldsOf(kind, '', new Map())]));

t.test(
  'the index template for Elasticsearch maps every field of the schema, each by its kind, and no other',
  async (t) => {
    const { template } = JSON.parse(read('elasticsearch-index-template.json')) as {
      template: { mappings: { dynamic: boolean; properties: Record<string, Node> } };
    };
    const { dynamic, properties } = template.mappings;
    t.equal(dynamic, false, 'a field that is not known must not stop a record');
    const { '@timestamp': at, line, ...own } = properties;
    t.same([at?.type, line?.type], ['date', 'keyword']);
    const mapped = fieldsOf({ properties: own }, '', new Map());
    t.ok(FIELDS.size > 80);
    t.same([...mapped.keys()].sort(), [...FIELDS.keys()].sort());
    const kinds: Readonly<Record<string, readonly string[]>> = {
      string: ['keyword', 'text', 'date'],
      integer: ['long'],
      number: ['double'],
      boolean: ['boolean'],
      object: ['flattened'],
    };
    for (const [field, kind] of FIELDS)
      t.ok(
        kinds[kind]?.includes(mapped.get(field) ?? ''),
        `${field} is ${kind}, mapped as ${mapped.get(field)}`,
      );
  },
);

t.test(
  'every column for ClickHouse is read from a field of the schema, by its kind; the line holds the rest',
  async (t) => {
    const columns = read('clickhouse.sql')
      .split('\n')
      .filter((line) => line.includes('JSONExtract'));
    t.match(read('clickhouse.sql'), /^ {4}line +String CODEC\(ZSTD\(3\)\),$/m);
    const kinds: Readonly<Record<string, RegExp>> = {
      string: /JSONExtractString\(|JSONExtract\(.*'Array\(String\)'\)/,
      integer: /JSONExtractUInt\(/,
      number: /JSONExtractFloat\(/,
    };
    const fields = columns
      .filter((line) => line.includes('MATERIALIZED'))
      .map((line) => {
        const [, list = ''] = /JSONExtract\w*\(line((?:, '[a-zA-Z0-9]+')+)/.exec(line) ?? [];
        const field = [...list.matchAll(/'([a-zA-Z0-9]+)'/g)].map(([, name]) => name).join('.');
        t.ok(FIELDS.has(field), `${field} is a field`);
        t.match(line, kinds[FIELDS.get(field) ?? ''] ?? /never/, field);
        return field;
      });
    t.ok(fields.length > 30);
    t.equal(new Set(fields).size, fields.length, 'no field twice');
  },
);

/** Of few values each: a label with many makes a stream of each of them. */
const LABELS = new Set(['job', 'event', 'effect', 'service.name']);

t.test(
  'labels for Loki have few values, and what is looked for comes from fields of the schema',
  async (t) => {
    const alloy = read('alloy.config');
    const expressions = [...alloy.matchAll(/^ {6}(\w+) += "([a-zA-Z.]+)",$/gm)];
    t.equal(expressions.length, 8);
    for (const [, , field = ''] of expressions) t.ok(FIELDS.has(field), field);
    const [, labels = ''] = /stage\.labels \{\n\s+values = \{([^}]+)\}/.exec(alloy) ?? [];
    const names = [...labels.matchAll(/(\w+) =/g)].map(([, name = '']) => name);
    t.same(names, ['event', 'effect']);
    const fluent = parse(read('fluent-bit.yaml')) as {
      pipeline: { outputs: readonly { name: string; label_keys?: string; labels?: string }[] };
    };
    const loki = fluent.pipeline.outputs.find(({ name }) => name === 'loki');
    t.equal(loki?.labels, 'job=countersign');
    t.equal(loki?.label_keys, "$event,$decision['effect']");
    for (const name of names) t.ok(LABELS.has(name), name);
  },
);

t.test('every collector configuration can be read, and follows files that are renamed', async (t) => {
  for (const name of readdirSync(FOLDER).filter((file) => file.endsWith('.yaml'))) {
    const config = parse(read(name)) as object;
    t.ok(Object.keys(config).length >= 3, name);
    t.match(read(name), '/var/log/countersign/audit.ndjson', name);
  }
  const logrotate = read('logrotate');
  t.match(logrotate, /^ {4}nocopytruncate$/m);
  t.match(logrotate, /^ {4}nocreate$/m);
  t.notMatch(logrotate, /^ {4}copytruncate$/m);
  t.match(logrotate, /--signal=HUP/);
});
