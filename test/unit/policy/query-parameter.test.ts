import t from 'tap';
import { ConditionFault } from '../../../src/policy/facts.js';
import { readQueryParameter } from '../../../src/policy/query-parameter.js';

const faultOf = (query: string, name = 'dry_run'): string | undefined => {
  try {
    readQueryParameter(query, name);
    return undefined;
  } catch (error) {
    if (!(error instanceof ConditionFault)) throw error;
    return error.message;
  }
};

t.test('the one value is read as a form is written', async (t) => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['', undefined],
    ['?', undefined],
    ['?dry_run=true', 'true'],
    ['dry_run=true', 'true'],
    ['?a=1&dry_run=a+b%3D%26&b', 'a b=&'],
    ['?dry_run', ''],
    ['?dry_run=a=b', 'a=b'],
    ['?%64ry_run=1', '1'],
    ['?dry_run2=1&xdry_run=2&dry=3', undefined],
    ['?q=a;b&dry_run=1', '1'],
    ['?q=dry_run&dry_run=1', '1'],
  ];
  for (const [query, value] of cases) t.equal(readQueryParameter(query, 'dry_run'), value, query);
  t.equal(readQueryParameter('?__proto__=1', '__proto__'), '1');
});

t.test('of what servers read differently nothing is decided', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['?dry_run=true&dry_run=false', /more than once/],
    ['?a=1;dry_run=false', /beside a ";"/],
    ['?dry_run=true;dry_run=false', /beside a ";"/],
    ['?dry_run=true;b', /beside a ";"/],
    ['?dry_run=true&a;%64ry_run=false', /beside a ";"/],
    ['?dry_run=true&Dry_Run=false', /another spelling/],
    ['?dry_run=true&dry.run=false', /another spelling/],
    ['?dry_run=true&dry+run=false', /another spelling/],
    ['?dry_run=true&+dry_run=false', /another spelling/],
    ['?dry_run=true&dry_run[]=false', /another spelling/],
    ['?dry_run=true&dry_run%5B0%5D=false', /another spelling/],
    ['?dry_run=true&dry_run%00x=false', /another spelling/],
    ['?a;DRY_RUN=false', /another spelling/],
    ['?dry_run=%ff', /cannot be decoded/],
    ['?%ff=1', /cannot be decoded/],
  ];
  for (const [query, fault] of cases) t.match(faultOf(query), fault, query);
});

t.test('more parameters than any service reads are a fault, whatever they cost', async (t) => {
  t.equal(readQueryParameter(`?${'a&'.repeat(255)}dry_run=1`, 'dry_run'), '1');
  for (const many of [
    `?${'a&'.repeat(256)}dry_run=1`,
    `?${'&'.repeat(30_000)}`,
    `?a${';'.repeat(30_000)}`,
    `?${'a;b;c&'.repeat(200)}`,
  ])
    t.match(faultOf(many), /more than 256 parameters/);
});
