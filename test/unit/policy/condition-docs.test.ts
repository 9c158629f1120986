import t from 'tap';
import { parsePrincipalId } from '../../../src/identity/principal-id.js';
import { compileCondition } from '../../../src/policy/condition.js';
import { factObjects, fieldsOf } from '../../../src/policy/condition-schema.js';
import { conditionExamples, readableNames, refusedExamples } from '../../support/condition-examples.js';
import { answer, inputOf, must, READS } from '../../support/condition-input.js';

const WEEKDAY_MS = Date.UTC(2026, 10, 20, 10, 30);

t.test('each example of the page holds for the request that it is about', async (t) => {
  const examples = conditionExamples();
  t.ok(examples.length >= 10);
  const sample = {
    nowMs: WEEKDAY_MS,
    path: '/x/prod/7',
    headers: { 'x-region': 'ch' },
    query: { dry_run: 'true' },
    method: 'POST',
  };
  for (const text of examples) {
    const condition = must(compileCondition(text, READS));
    t.equal(condition.evaluate(inputOf(sample)), true, text);
  }
});

t.test('each example of the page fails for a request that it is against', async (t) => {
  const against = {
    nowMs: Date.UTC(2026, 11, 5, 4, 30),
    id: 'spiffe://example.org/ns/test/sa/web',
    path: '/_x/prod',
    headers: { 'x-region': 'us' },
    claims: { repository: 'octo/other' },
    behalfOf: {
      subject: must(parsePrincipalId('ci:octo/app')),
      through: ['spiffe://example.org/ns/prod/sa/agent'],
      by: 'token',
    },
    method: 'DELETE',
    registered: undefined,
    facts: {
      credential: { kind: 'x509', issuer: '', notBeforeMs: 0, notAfterMs: 1 },
      connection: { tlsVersion: 'TLSv1.2', resumed: true },
    },
  } as const;
  for (const text of conditionExamples()) t.equal(answer(text, against), false, text);
});

t.test('what the page says is refused is refused, and for that', async (t) => {
  const refused = refusedExamples();
  t.ok(refused.length >= 10);
  for (const [text, because] of refused) {
    const result = compileCondition(text, READS);
    t.ok(
      !result.ok && result.error.message.includes(because),
      `${text}: ${JSON.stringify(result).slice(0, 200)}`,
    );
  }
});

t.test('the page names every field with its type, and no other', async (t) => {
  const named = readableNames();
  const fields = factObjects.flatMap((object) => fieldsOf(object).map((field) => `${object}.${field}`));
  t.same(named.map(([name]) => name.replace(/\[.*$/, '')).sort(), [...fields, 'now'].sort());
  const literals: Readonly<Record<string, string>> = {
    string: '""',
    bool: 'true',
    'list<string>': '["a"]',
    int: '1',
    duration: 'duration("1s")',
    timestamp: 'timestamp("2026-11-21T10:00:00Z")',
  };
  for (const [name, type] of named) {
    const known = name.replace('"x-name"', '"x-region"').replace('"name"', '"dry_run"');
    t.ok(compileCondition(`${known} == ${literals[type]}`, READS).ok, `${known} is a ${type}`);
  }
});
