import t from 'tap';
import { readPolicyFile } from '../../../src/config/policy-file.js';
import { crossWarnRegistry } from '../../../src/config/registry-check.js';
import { readRegistryFile } from '../../../src/config/registry-file.js';
import { compileRegistry } from '../../../src/policy/registry.js';

const said = (text: string | Uint8Array): string[] =>
  readRegistryFile(text, 'registry.yaml').problems.map(
    ({ line, column, path, message }) => `${line}:${column} ${path}: ${message}`,
  );
const warned = (registry: string, policy?: string): string[] => {
  const file = readRegistryFile(registry, 'registry.yaml');
  t.same(file.problems, []);
  const beside = policy === undefined ? undefined : readPolicyFile(policy, 'policy.yaml');
  t.same(beside?.problems ?? [], []);
  return crossWarnRegistry(file, beside).map(
    ({ file, line, column, path, message }) => `${file}:${line}:${column} ${path}: ${message}`,
  );
};
const file = (...identities: readonly string[]): string =>
  `version: 1\nunregistered: flag\nidentities:${identities.length === 0 ? ' []' : ''}\n${identities.map((line) => `  - ${line}\n`).join('')}`;
const named = (naming: string, ...identities: readonly string[]): string =>
  file(...identities).replace('identities:', `naming: [${naming}]\nidentities:`);
const policy = (...principals: readonly string[]): string => `version: 1
default: deny
rules:
  - { id: r, effect: allow, destinations: [u], principals: ${JSON.stringify(principals)} }
`;

t.test('a registry is read with every field', async (t) => {
  const text = file(
    '{ id: "spiffe://a.test/ns/prod/sa/web", owner: team-web, environment: prod, contact: "#web", purpose: "shop front" }',
    '{ id: "spiffe://a.test/ns/*/sa/**", owner: platform }',
  );
  const { input, problems } = readRegistryFile(text, 'registry.yaml');
  t.same(problems, []);
  t.match(input, {
    unregistered: 'flag',
    entries: [
      {
        pattern: { text: 'spiffe://a.test/ns/prod/sa/web' },
        owner: 'team-web',
        environment: 'prod',
        contact: '#web',
        purpose: 'shop front',
      },
      { owner: 'platform', environment: undefined, contact: undefined, purpose: undefined },
    ],
  });
});

const broken: readonly [what: string, text: string, problems: readonly string[]][] = [
  ['nothing', '', ['1:1 : has no value']],
  ['no version', 'unregistered: flag\nidentities: []\n', ['1:1 version: is required']],
  ['another version', 'version: 2\nunregistered: flag\nidentities: []\n', ['1:10 version: must be 1, not 2']],
  ['no word for the unregistered', 'version: 1\nidentities: []\n', ['1:1 unregistered: is required']],
  [
    'another word for them',
    'version: 1\nunregistered: ignore\nidentities: []\n',
    ['2:15 unregistered: must be one of allow, flag, deny, not "ignore"'],
  ],
  ['no identities', 'version: 1\nunregistered: deny\n', ['1:1 identities: is required']],
  [
    'an unknown key',
    'version: 1\nunregistered: flag\nidentites: []\n',
    ['1:1 identities: is required', '3:1 identites: unknown key `identites`; did you mean `identities`?'],
  ],
  [
    'an unknown key of an entry',
    file('{ id: "spiffe://a.test/x", owner: o, env: prod }'),
    ['4:42 identities[0].env: unknown key `env`'],
  ],
  [
    'an entry without an owner',
    file('{ id: "spiffe://a.test/x" }'),
    ['4:5 identities[0].owner: is required'],
  ],
  [
    'an owner that is empty',
    file('{ id: "spiffe://a.test/x", owner: "" }'),
    ['4:39 identities[0].owner: must not be empty'],
  ],
  [
    'an owner with a line break, which would be two headers',
    file('{ id: "spiffe://a.test/x", owner: "a\\r\\nX-Admin: 1" }'),
    ['4:39 identities[0].owner: must not hold control characters'],
  ],
  [
    'an owner of a page',
    file(`{ id: "spiffe://a.test/x", owner: "${'x'.repeat(201)}" }`),
    ['4:39 identities[0].owner: must be at most 200 characters'],
  ],
  [
    'an owner that is a number',
    file('{ id: "spiffe://a.test/x", owner: 7 }'),
    ['4:39 identities[0].owner: must be text, not 7'],
  ],
  [
    'part of a segment as a wildcard',
    file('{ id: "spiffe://a.test/web-*", owner: o }'),
    [
      '4:11 identities[0].id: "web-*": a wildcard stands for whole segments (* one, ** any number), never for part of one',
    ],
  ],
  [
    'a wildcard for the trust domain',
    file('{ id: "spiffe://*/x", owner: o }'),
    ['4:11 identities[0].id: a wildcard may not stand in the trust domain'],
  ],
  [
    'no SPIFFE ID',
    file('{ id: "https://a.test/x", owner: o }'),
    [
      '4:11 identities[0].id: must begin with spiffe:// in lower case, or with a namespace of `tokens` as in ci:octo/*',
    ],
  ],
  [
    'one pattern twice, also written in two ways',
    file(
      '{ id: "spiffe://a.test/x/**", owner: a }',
      '{ id: "spiffe://a.test/y", owner: a }',
      '{ id: "spiffe://a.test/x/**", owner: b }',
      '{ id: "spiffe://a.test/x/**/**", owner: c }',
    ),
    [
      '6:11 identities[2].id: "spiffe://a.test/x/**" is also identities[0]',
      '7:11 identities[3].id: "spiffe://a.test/x/**/**" is also identities[0]',
    ],
  ],
  ['a key twice', file('{ id: "spiffe://a.test/x", owner: a, owner: b }'), ['4:42 : this key is here twice']],
  [
    'an anchor and an alias',
    file('{ id: "spiffe://a.test/x", owner: &o a }', '{ id: "spiffe://a.test/y", owner: *o }'),
    [
      '4:42 identities[0].owner: anchors are not allowed; write the value out',
      '5:39 identities[1].owner: aliases are not allowed; write the value out',
    ],
  ],
  [
    'a template that is none',
    named('"spiffe://a.test/ns/pre-{name}"'),
    ['3:10 naming[0]: "pre-{name}": a placeholder is a word in braces, and stands for a whole segment'],
  ],
  ['no templates', named(''), ['3:9 naming: must not be empty: leave it out where names follow no rule']],
  [
    'a tab',
    'version: 1\nunregistered: flag\nidentities:\n\t- { }\n',
    ['4:1 : a tab cannot indent YAML; use spaces'],
  ],
];

t.test('every problem of a registry is said with its line and column', async (t) => {
  for (const [what, text, problems] of broken) t.same(said(text).sort(), [...problems].sort(), what);
  t.match(said(Buffer.from([0x61, 0xff])), [/1:2 : is not UTF-8/]);
  const many = Array.from({ length: 100_001 }, () => 'null').join(', ');
  t.match(said(`{ "version": 1, "unregistered": "flag", "identities": [${many}] }`).at(-1), /at most 100000/);
});

t.test('line ends, a byte order mark and quoting change nothing', async (t) => {
  const text = file('{ id: "spiffe://a.test/x", owner: a }');
  const revisionOf = (bytes: string) => {
    const { input } = readRegistryFile(Buffer.from(bytes), 'registry.yaml');
    return input && compileRegistry(input).revision;
  };
  const revision = revisionOf(text);
  t.ok(revision);
  t.equal(revisionOf(text.replaceAll('\n', '\r\n')), revision);
  t.equal(revisionOf(`\ufeff${text}`), revision);
  t.equal(revisionOf(text.replace('owner: a', "'owner': 'a'")), revision);
});

t.test('JSON says the same as YAML, and its problems stand where they are', async (t) => {
  const yaml = readRegistryFile(
    file('{ id: "spiffe://a.test/x", owner: "ü", contact: "\\t" }').replace('\\t', ''),
    'r.yaml',
  );
  const json = (identity: string): string =>
    `{ "version": 1, "unregistered": "flag",\n"identities": [\n${identity}\n] }`;
  t.same(yaml.problems, [{ ...yaml.problems[0], message: 'must not be empty' }]);
  const good = readRegistryFile(json('{ "id": "spiffe://a.test/x", "owner": "\\u00fc" }'), 'registry.json');
  t.match(good.input, { entries: [{ owner: 'ü', pattern: { text: 'spiffe://a.test/x' } }] });
  t.same(said(json('{ "id": "spiffe://a.test/x", "ower": "o" }')), [
    '3:1 identities[0].owner: is required',
    '3:30 identities[0].ower: unknown key `ower`; did you mean `owner`?',
  ]);
  t.same(said(json('{ "id": "spiffe://a.test/x", "owner": "a", "owner": "b" }')), [
    '3:44 : this key is here twice',
  ]);
  t.same(said(json('{ "id": "spiffe://a.test/x", "owner": "a", "__proto__": {} }')).length, 1);
  t.same(said(json('{ "id": "spiffe://a.test/x", "owner": 7 }')), [
    '3:39 identities[0].owner: must be text, not 7',
  ]);
  t.match(said('{ "version": 1,'), [/./], 'cut short');
});

t.test('nothing is said of a registry in which everything is as it should be', async (t) => {
  const registry = named(
    '"spiffe://a.test/ns/{environment}/sa/{name}", "spiffe://b.test/**"',
    '{ id: "spiffe://a.test/ns/prod/sa/web", owner: a, environment: prod }',
    '{ id: "spiffe://a.test/ns/prod/**", owner: b, environment: prod }',
    '{ id: "spiffe://a.test/ns/*/sa/web", owner: c }',
    '{ id: "spiffe://b.test/**", owner: d }',
  );
  const principals = [
    'spiffe://a.test/ns/prod/sa/web',
    'spiffe://a.test/ns/*/sa/*',
    'spiffe://b.test/x',
    'spiffe://a.test/**',
  ];
  t.same(warned(registry, policy(...principals)), []);
});

t.test('entries that are never used, that two may claim, or that match nobody are warned of', async (t) => {
  const registry = file(
    '{ id: "spiffe://a.test/**", owner: a }',
    '{ id: "spiffe://a.test/*/**", owner: b }',
    '{ id: "spiffe://a.test/ns/**/x/**", owner: c }',
    '{ id: "spiffe://a.test/ns/**/y/**", owner: d }',
    '{ id: "spiffe://a.test/ns/**/z/**", owner: c }',
    '{ id: "spiffe://a.test", owner: e }',
  );
  t.same(warned(registry), [
    'registry.yaml:4:11 identities[0].id: is never used: more specific entries, such as spiffe://a.test/*/**, match all that it matches',
    'registry.yaml:7:11 identities[3].id: is as specific as spiffe://a.test/ns/**/x/**, whose owner is c, and may match the same identity',
    'registry.yaml:9:11 identities[5].id: names the trust domain, not a workload, and matches nobody; write spiffe://a.test/** for all of them',
  ]);
});

t.test(
  'names that fit no template, and environments that are not those of the name, are warned of',
  async (t) => {
    const registry = named(
      '"spiffe://a.test/ns/{environment}/sa/{name}"',
      '{ id: "spiffe://a.test/ns/prod/sa/web", owner: a, environment: dev }',
      '{ id: "spiffe://a.test/ns/prod/sa/api", owner: a }',
      '{ id: "spiffe://a.test/ns/*/sa/job", owner: a, environment: prod }',
      '{ id: "spiffe://a.test/ns/prod/web", owner: a, environment: prod }',
      '{ id: "spiffe://b.test/ns/prod/sa/web", owner: a, environment: prod }',
    );
    t.same(warned(registry), [
      'registry.yaml:5:68 identities[0].environment: is "dev", and the `id` says environment "prod" by `naming`',
      'registry.yaml:6:11 identities[1].id: the `id` says environment "prod" by `naming`, and the entry says none',
      'registry.yaml:7:65 identities[2].environment: is "prod", and the `id` says any environment by `naming`',
      'registry.yaml:8:11 identities[3].id: fits none of the templates under `naming` of the registry',
      'registry.yaml:9:11 identities[4].id: fits none of the templates under `naming` of the registry',
    ]);
  },
);

t.test(
  'principals of the policy that nobody registered can be, or that no template fits, are warned of',
  async (t) => {
    const registry = named(
      '"spiffe://a.test/ns/{environment}/sa/{name}"',
      '{ id: "spiffe://a.test/ns/prod/sa/web", owner: a, environment: prod }',
    );
    const principals = [
      'spiffe://a.test/ns/prod/sa/web',
      'spiffe://a.test/ns/prod/sa/wbe',
      'spiffe://a.test/ns/*/sa/web',
      'spiffe://a.test/ns/dev/**',
      'spiffe://a.test/web',
    ];
    t.same(warned(registry, policy(...principals)), [
      'policy.yaml:4:94 rules[0].principals[1]: no entry of the registry covers it',
      'policy.yaml:4:157 rules[0].principals[3]: no entry of the registry covers it',
      'policy.yaml:4:185 rules[0].principals[4]: fits none of the templates under `naming` of the registry',
    ]);
  },
);

t.test('warnings are counted: nobody reads ten thousand', async (t) => {
  const registry = named(
    '"spiffe://a.test/ns/{name}"',
    ...Array.from({ length: 500 }, (_, i) => `{ id: "spiffe://a.test/w${i}", owner: a }`),
  );
  const warnings = warned(registry);
  t.equal(warnings.length, 100);
  t.match(warnings.at(-1), /further warnings are not shown/);
});

t.test(
  'twenty thousand entries of every kind beside a thousand rules are read and judged within seconds',
  async (t) => {
    const kinds = [
      (i: number) => `ns/prod/sa/w${i}`,
      (i: number) => `ns/*/sa/w${i}`,
      (i: number) => `ns/**/w${i}/**`,
      (i: number) => `ns/**/w${i}/**/x`,
    ];
    const identities = Array.from(
      { length: 20_000 },
      (_, i) => `{ id: "spiffe://a.test/${kinds[i % 4]?.(i)}", owner: o, environment: prod }`,
    );
    const principals = Array.from({ length: 1000 }, (_, i) => `spiffe://a.test/**/v${i}/*`);
    const start = performance.now();
    const registry = readRegistryFile(named('"spiffe://a.test/**"', ...identities), 'registry.yaml');
    const warnings = crossWarnRegistry(registry, readPolicyFile(policy(...principals), 'policy.yaml'));
    t.equal(registry.input?.entries.length, 20_000);
    t.ok(Array.isArray(warnings));
    const took = performance.now() - start;
    t.ok(took < 20_000, `${took.toFixed(0)} ms`);
  },
);
