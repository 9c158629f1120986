import { readFileSync } from 'node:fs';
import t from 'tap';
import { FACET_NAMES } from '../../src/audit/record-facets.js';
import { runAudit } from '../../src/cli/audit.js';
import { recordText } from '../support/records.js';
import { toldIo } from '../support/told-io.js';

const PAGE = readFileSync('docs/query.md', 'utf8');
const BATCH = 'spiffe://example.org/ns/prod/sa/batch';

async function ask(cwd: string, args: readonly string[]) {
  const io = toldIo(cwd);
  return { code: await runAudit(args, io), out: io.out, err: io.err };
}

const record = (minute: number, request: object, decision: object, status: number): string =>
  recordText({
    id: `f7ada29361f4b5df-000000${minute}`,
    time: `2026-11-21T10:0${minute}:00.000Z`,
    principal: { id: BATCH },
    request: { ...request },
    decision: { ...decision },
    response: { status, bytes: 2, outcome: status < 400 ? 'complete' : 'refused' },
  });

const RECORDS = [
  record(1, { destination: 'ledger', path: '/entries/8' }, { rule: 'batch-reads-ledger' }, 200),
  recordText({ principal: { id: 'spiffe://example.org/ns/prod/sa/web' } }),
  record(
    3,
    { destination: 'billing', method: 'POST', path: '/invoices/9' },
    { rule: 'EX-7', exception: 'EX-7' },
    201,
  ),
  record(
    5,
    { destination: 'billing', method: 'DELETE', path: '/invoices/9' },
    { effect: 'deny', reason: 'no_rule_matched', rule: 'default' },
    403,
  ),
].join('\n');

t.test('the answer on the page is the answer of the program', async (t) => {
  const cwd = t.testdir({ 'audit.ndjson': `${RECORDS}\n` });
  const [, command = '', expected] = /^\$ countersign audit (.*?)\n(.*?)^```$/ms.exec(PAGE) ?? [];
  const { code, out, err } = await ask(cwd, command.replace('audit.ndjson*', 'audit.ndjson').split(' '));
  t.same([code, err], [0, '']);
  t.equal(out, expected);
});

t.test('every command of the page is one that the program takes', async (t) => {
  const cwd = t.testdir({ 'audit.ndjson': `${RECORDS}\n` });
  const commands = [...PAGE.matchAll(/`audit (query .*?) FILE…`/g)].map(([, command = '']) => command);
  t.equal(commands.length, 12);
  for (const command of commands) {
    const words = command.replaceAll("'", '').replace('identity ID', `identity ${BATCH}`).split(' ');
    const { code, err } = await ask(cwd, [...words, 'audit.ndjson']);
    t.ok(code === 0 || code === 1, `${command}: ${err}`);
  }
});

t.test('page and help have every option, field and exit code', async (t) => {
  const { out } = await ask('.', ['query', '--help']);
  const options = [...out.matchAll(/^ {6}(--[a-z-]+)/gm)].map(([, option = '']) => option);
  t.equal(options.length, 16);
  for (const option of options) t.ok(PAGE.includes(`\`${option}`), option);
  for (const name of FACET_NAMES) {
    t.ok(PAGE.includes(`\`${name}\``), name);
    t.match(out, new RegExp(`[ ,]${name}\\b`), name);
  }
  t.match(PAGE, /0 = something was found, 1 = nothing was, 64 = wrong usage, 78 = a file cannot be read/);
});
