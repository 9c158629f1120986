import t from 'tap';
import {
  DAY_MS,
  type ExceptionInput,
  HOUR_MS,
  isLive,
  keyOfException,
  stateOf,
} from '../../../src/policy/exception.js';
import { parsePathPattern, parsePrincipalPattern } from '../../../src/policy/pattern.js';

const AT = Date.UTC(2026, 10, 21, 10);
const pattern = (text: string) => {
  const parsed = parsePrincipalPattern(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};
const path = (text: string) => {
  const parsed = parsePathPattern(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
};

const exception: ExceptionInput = {
  id: 'EX-1',
  owner: 'team',
  reason: 'migration',
  expiresMs: AT,
  origin: 'policy',
  principals: [pattern('spiffe://a.test/web'), pattern('spiffe://a.test/batch')],
  destinations: ['billing', 'ledger'],
  methods: ['GET', 'PUT'],
  paths: [path('/a/**'), path('/b')],
};

t.test('an exception is dead at its very end, and begins at its very start', async (t) => {
  const startsMs = AT - 10 * DAY_MS;
  for (const [nowMs, live, state] of [
    [startsMs - 1, false, 'pending'],
    [startsMs, true, 'active'],
    [AT - DAY_MS - 1, true, 'active'],
    [AT - DAY_MS, true, 'expiring'],
    [AT - 1, true, 'expiring'],
    [AT, false, 'expired'],
    [AT + 400 * DAY_MS, false, 'expired'],
  ] as const) {
    t.equal(isLive({ startsMs, expiresMs: AT }, nowMs), live, `${nowMs - AT}`);
    t.equal(stateOf({ startsMs, expiresMs: AT }, nowMs), state, `${nowMs - AT}`);
  }
  t.equal(isLive({ expiresMs: AT }, Number.NEGATIVE_INFINITY), true, 'without a start it was always there');
  t.equal(isLive({ expiresMs: AT }, Number.NaN), false, 'a clock that says nothing lets nobody in');
});

t.test('what begins after it ends is never in force', async (t) => {
  const span = { startsMs: AT + 1, expiresMs: AT };
  for (const nowMs of [AT - 1, AT, AT + 1, AT + HOUR_MS]) t.equal(isLive(span, nowMs), false);
});

t.test('two that say the same have one key, whatever the order of their lists', async (t) => {
  const reversed = {
    ...exception,
    principals: [...exception.principals].reverse(),
    destinations: [...exception.destinations].reverse(),
    methods: [...(exception.methods ?? [])].reverse(),
    paths: [...(exception.paths ?? [])].reverse(),
    grantedMs: 7,
  };
  t.equal(keyOfException(reversed), keyOfException(exception));
});

t.test('whatever an exception says otherwise changes its key', async (t) => {
  const keys = new Set([keyOfException(exception)]);
  const others: readonly Partial<ExceptionInput>[] = [
    { id: 'EX-2' },
    { owner: 'other' },
    { reason: 'other' },
    { expiresMs: AT + 1 },
    { startsMs: 0 },
    { origin: 'grant' },
    { by: 'alice' },
    { principals: [pattern('spiffe://a.test/web')] },
    { destinations: ['billing'] },
    { methods: undefined },
    { methods: ['GET'] },
    { paths: undefined },
    { paths: [path('/a/**')] },
    { when: 'true' },
  ];
  for (const other of others) keys.add(keyOfException({ ...exception, ...other }));
  t.equal(keys.size, others.length + 1);
});
