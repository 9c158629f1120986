import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import t from 'tap';
import { parseSpiffeId, type SpiffeId } from '../../../src/identity/spiffe-id.js';
import { matchPrincipal, type PrincipalPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';
import { compareSpecificity } from '../../../src/policy/ranked-patterns.js';
import {
  compileRegistry,
  compileRegistrySteps,
  packRegistry,
  type RegistryEntry,
} from '../../../src/policy/registry.js';
import { conflictKey, RegistryLint } from '../../../src/policy/registry-lint.js';

const pattern = (text: string): PrincipalPattern => {
  const parsed = parsePrincipalPattern(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};
const id = (path: string): SpiffeId => {
  const parsed = parseSpiffeId(`spiffe://a.test${path}`);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};
const entry = (path: string, owner = path, environment?: string): RegistryEntry => ({
  pattern: pattern(`spiffe://a.test${path}`),
  owner,
  environment,
  contact: undefined,
  purpose: undefined,
});
const registryOf = (...entries: readonly RegistryEntry[]) =>
  compileRegistry({ unregistered: 'flag', entries });

t.test('the most specific entry names the owner, whatever the order of the file', async (t) => {
  const entries = [
    '/**',
    '/ns/**',
    '/ns/*/sa/web',
    '/ns/prod/**',
    '/ns/prod/sa/*',
    '/ns/prod/sa/web',
    '/*/x',
  ].map((path) => entry(path));
  const cases = [
    ['/ns/prod/sa/web', '/ns/prod/sa/web'],
    ['/ns/prod/sa/batch', '/ns/prod/sa/*'],
    ['/ns/prod/sa/batch/job', '/ns/prod/**'],
    ['/ns/prod', '/ns/prod/**'],
    ['/ns/dev/sa/web', '/ns/*/sa/web'],
    ['/ns/dev/sa/batch', '/ns/**'],
    ['/ns/x', '/ns/**'],
    ['/other/x', '/*/x'],
    ['/other', '/**'],
  ] as const;
  for (const registry of [registryOf(...entries), registryOf(...entries.toReversed())]) {
    for (const [path, owner] of cases) t.equal(registry.find(id(path))?.owner, owner, path);
  }
});

t.test('nobody is found for an ID that no entry matches, nor for one of another trust domain', async (t) => {
  const registry = registryOf(entry('/ns/*/sa/web'), entry('/ns/prod/sa/batch'));
  for (const path of [
    '/ns/prod/sa/webx',
    '/ns/prod/sa/WEB',
    '/ns/prod/sa',
    '/ns/prod/sa/web/x',
    '/ns/dev/sa/batch',
  ])
    t.equal(registry.find(id(path)), undefined, path);
  const foreign = parseSpiffeId('spiffe://b.test/ns/prod/sa/batch');
  t.ok(foreign.ok && registry.find(foreign.value) === undefined);
});

t.test('a longer pattern beats a shorter one of the same shape: it says more', async (t) => {
  const registry = registryOf(entry('/**'), entry('/**/web'));
  t.equal(registry.find(id('/ns/web'))?.owner, '/**/web');
  t.equal(registry.find(id('/ns/api'))?.owner, '/**');
});

t.test('what is found agrees with a plain look at every entry', async (t) => {
  const segment = fc.constantFrom('a', 'b', 'c', '*', '**');
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
  const asked = fc.array(fc.constantFrom('a', 'b', 'c', 'd'), { minLength: 1, maxLength: 5 });
  const property = fc.property(
    fc.uniqueArray(path, { maxLength: 12 }),
    fc.array(asked, { maxLength: 10 }),
    (paths, ids) => {
      const entries = [
        ...new Map(
          paths.map((text) => [pattern(`spiffe://a.test${text}`).segments.join('/'), entry(text)]),
        ).values(),
      ];
      const registry = registryOf(...entries);
      for (const parts of ids) {
        const who = id(`/${parts.join('/')}`);
        const matching = entries.filter((candidate) => matchPrincipal(candidate.pattern, who));
        const best = registry.find(who);
        if (best === undefined) return matching.length === 0;
        const rivals = matching.filter(
          (other) => compareSpecificity(other.pattern.segments, best.pattern.segments) < 0,
        );
        if (rivals.length > 0 || !matching.some((other) => other.owner === best.owner)) return false;
        if (registry.find(who) !== best) return false;
      }
      return true;
    },
  );
  fc.assert(property, { seed: 4, numRuns: 500 });
  t.pass('500 registries');
});

t.test('the revision says what the registry says, not in which order it is written', async (t) => {
  const entries = [entry('/a', 'x', 'prod'), entry('/b/**', 'y')];
  const { revision } = registryOf(...entries);
  t.match(revision, /^[0-9a-f]{16}$/);
  t.equal(registryOf(...entries.toReversed()).revision, revision);
  const others = [
    compileRegistry({ unregistered: 'deny', entries }),
    registryOf(entry('/a', 'x', 'dev'), entry('/b/**', 'y')),
    registryOf(entry('/a', 'z', 'prod'), entry('/b/**', 'y')),
    registryOf(entry('/a', 'x', 'prod')),
    registryOf(entry('/a', 'x', 'prod'), { ...entry('/b/**', 'y'), contact: 'x' }),
    registryOf(entry('/a', 'x', 'prod'), { ...entry('/b/**', 'y'), purpose: 'x' }),
  ];
  t.equal(new Set([revision, ...others.map((other) => other.revision)]).size, others.length + 1);
});

t.test('a packed registry is plain text, and says the same when it is read', async (t) => {
  const entries = Array.from({ length: 1000 }, (_, i) =>
    entry(`/w${i}${i % 3 === 0 ? '/**' : ''}`, `team ${i} "ü"`, 'x'),
  );
  const packed = packRegistry({ unregistered: 'deny', entries });
  t.ok(packed.chunks.length > 1, 'in slices');
  const steps = compileRegistrySteps(structuredClone(packed));
  let count = 0;
  let step = steps.next();
  for (; !step.done; step = steps.next()) count++;
  t.equal(count, packed.chunks.length);
  const registry = step.value;
  t.equal(registry.unregistered, 'deny');
  for (const one of entries) {
    const path = one.pattern.text.slice('spiffe://a.test'.length).replace('**', 'x');
    t.same(registry.find(id(path)), one);
  }
  t.equal(registry.revision, compileRegistry({ unregistered: 'deny', entries }).revision);
});

t.test('a stream of IDs that a caller chooses does not grow the memory', async (t) => {
  const registry = registryOf(entry('/ns/**'));
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  for (let i = 0; i < 20_000; i++) registry.find(id(`/ns/${i}`));
  collect();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 300_000; i++) registry.find(id(`/ns/${'x'.repeat(100)}${i}`));
  collect();
  const grownMb = (process.memoryUsage().heapUsed - before) / 2 ** 20;
  t.ok(grownMb < 20, `${grownMb.toFixed(1)} MB`); // all of them would be over 60 MB
  t.equal(registry.find(id('/ns/5'))?.owner, '/ns/**');
});

t.test('an entry is never used where more specific ones match all that it matches', async (t) => {
  const shadow = (path: string, ...others: string[]) => {
    const subject = entry(path);
    return new RegistryLint([subject, ...others.map((other) => entry(other))]).shadowOf(subject)?.owner;
  };
  t.equal(shadow('/**', '/*/**'), '/*/**');
  t.match(shadow('/**', '/*', '/*/*/**'), /^\/\*/, 'only together');
  t.equal(shadow('/**', '/*', '/*/*/*/**'), undefined, 'two segments are left');
  t.equal(shadow('/**/*', '/*/**'), '/*/**');
  t.equal(shadow('/**/sa/web', '/*/**'), '/*/**');
  t.equal(shadow('/ns/**', '/*/**'), undefined, 'the other is less specific');
  t.equal(shadow('/ns/**', '/ns/a', '/ns/b'), undefined);
  t.equal(shadow('/ns/*', '/ns/a', '/**'), undefined);
  t.equal(shadow('/a/**/**/b', '/a/*/**'), '/a/*/**');
  t.equal(shadow('/a/**/b', '/a/*/*/**'), undefined, '/a/b is left');
});

t.test('no entry that is said to be never used is ever found, and every other one can be', async (t) => {
  const segment = fc.constantFrom('a', 'b', '*', '**');
  const path = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
  const words = ['a', 'b', 'z'];
  const all = [1, 2, 3, 4, 5, 6].flatMap((length) => {
    let paths = [''];
    for (let i = 0; i < length; i++)
      paths = paths.flatMap((begin) => words.map((word) => `${begin}/${word}`));
    return paths.map(id);
  });
  const property = fc.property(fc.uniqueArray(path, { maxLength: 6 }), (paths) => {
    const entries = [
      ...new Map(
        paths.map((text) => [pattern(`spiffe://a.test${text}`).segments.join('/'), entry(text)]),
      ).values(),
    ];
    const lint = new RegistryLint(entries);
    const registry = registryOf(...entries);
    const used = new Set(all.map((who) => registry.find(who)?.owner));
    return entries.every((one) => used.has(one.owner) === (lint.shadowOf(one) === undefined));
  });
  fc.assert(property, { seed: 4, numRuns: 150 });
  t.pass('150 registries');
});

t.test('whether anybody registered can be of a pattern agrees with a look at every ID', async (t) => {
  const segment = fc.constantFrom('a', 'b', '*', '**');
  const path = fc.array(segment, { minLength: 1, maxLength: 4 }).map((parts) => `/${parts.join('/')}`);
  const words = ['a', 'b', 'z'];
  const all = [1, 2, 3, 4, 5, 6].flatMap((length) => {
    let paths = [''];
    for (let i = 0; i < length; i++)
      paths = paths.flatMap((begin) => words.map((word) => `${begin}/${word}`));
    return paths.map(id);
  });
  const property = fc.property(fc.uniqueArray(path, { maxLength: 4 }), path, (paths, asked) => {
    const entries = paths.map((text) => entry(text));
    const wanted = pattern(`spiffe://a.test${asked}`);
    const both = all.some(
      (who) => matchPrincipal(wanted, who) && entries.some((one) => matchPrincipal(one.pattern, who)),
    );
    return new RegistryLint(entries).touches(wanted) === both;
  });
  fc.assert(property, { seed: 4, numRuns: 300 });
  t.pass('300 registries');
});

t.test('entries have one conflict key exactly where both are as specific and can meet', async (t) => {
  const same = (a: string, b: string) => conflictKey(entry(a)) === conflictKey(entry(b));
  t.ok(same('/**/a/**', '/**/b/**'));
  t.ok(same('/ns/**/a/*/**/x', '/ns/**/b/*/**/x'));
  t.notOk(same('/ns/**/a/**/x', '/ns/**/b/**/y'), 'they end differently');
  t.notOk(same('/m/**/a/**', '/n/**/b/**'), 'they begin differently');
  t.notOk(same('/**/a/**', '/**/a/*/**'), 'one is more specific');
  t.equal(conflictKey(entry('/ns/*/sa/a')), undefined, 'without `**` nothing as specific can meet it');
  t.equal(conflictKey(entry('/ns/**/a')), undefined);
});
