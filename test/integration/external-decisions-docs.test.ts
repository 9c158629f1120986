import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import t from 'tap';
import { parseExternalAnswer } from '../../src/policy/external-answer.js';
import { DecisionEngine } from '../support/decision-engine.js';
import { World, waitFor } from '../support/start-proxy.js';

const DOC = readFileSync('docs/external-decisions.md', 'utf8');
const POST = 'POST /public/red HTTP/1.1\r\nHost: svc.test\r\nX-Tenant: red\r\nContent-Length: 0\r\n\r\n';

const fenced = (language: string): string[] =>
  [...DOC.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map((match) => match[1] ?? '');

/** Every member by its path, with the type of its value; times and revisions differ from one day to the next. */
const shapeOf = (value: unknown, path = ''): string[] => {
  if (typeof value !== 'object' || value === null) {
    const isVolatile = /time|notBefore|notAfter|policyRevision/.test(path);
    return [`${path}: ${isVolatile ? typeof value : JSON.stringify(value)}`];
  }
  return Object.entries(value).flatMap(([key, member]) => shapeOf(member, `${path}.${key}`));
};

t.test('the configuration and the input of the document are those that are taken and sent', async (t) => {
  const engine = await new DecisionEngine().open();
  const [config = ''] = fenced('yaml');
  const world = await World.start({
    extra: config.replace('http://127.0.0.1:8181', `http://127.0.0.1:${engine.port}`),
  });
  t.teardown(async () => {
    await world.close();
    await engine.close();
  });
  const client = await world.client();
  const [answer] = await client.ask(POST);
  t.equal(answer?.status, 200);
  const documented = JSON.parse(fenced('json')[0] ?? '') as { input: unknown };
  t.same(shapeOf(engine.asked[0]?.input), shapeOf(documented.input));
});

t.test('the answers of the document are read as it says', async (t) => {
  const rows = [...DOC.matchAll(/^\| (`\{.*?) \| (goes on|403)/gm)];
  t.ok(rows.length >= 4);
  for (const [, cell = '', outcome] of rows) {
    for (const [, answer = ''] of cell.matchAll(/`(\{[^`]*\})`/g)) {
      const read = parseExternalAnswer(Buffer.from(answer.replace(', …', '')));
      t.equal(read.ok && read.value.effect, outcome === 'goes on' ? 'allow' : 'deny', answer);
    }
  }
});

t.test('the rules of the document are those of the file', async (t) => {
  const [rego = ''] = fenced('rego');
  t.ok(readFileSync('config/countersign.rego', 'utf8').endsWith(rego));
});

const hasOpa = spawnSync('opa', ['version']).status === 0;

t.test(
  'opa itself, with the rules of the document, decides',
  { skip: !hasOpa && 'opa is not installed' },
  async (t) => {
    const port = await freePort();
    const opa = spawn('opa', ['run', '--server', '--addr', `127.0.0.1:${port}`, 'config/countersign.rego']);
    t.teardown(() => ended(opa));
    const url = `http://127.0.0.1:${port}/v1/data/countersign/decision`;
    await waitFor(async () => (await fetch(url).catch(() => undefined))?.status === 200, 20_000);
    const world = await World.start({
      extra: `externalDecision: { url: "${url}", headers: [x-tenant], timeout: 5s }\n`,
    });
    t.teardown(() => world.close());
    const client = await world.client();
    for (const [bytes, status] of [
      [POST, 200],
      [POST.replace('X-Tenant: red', 'X-Tenant: blue'), 403],
      ['GET /public/blue HTTP/1.1\r\nHost: svc.test\r\n\r\n', 200],
      ['GET /public/blue HTTP/1.1\r\nHost: svc.test\r\n\r\n', 200],
    ] as const) {
      t.equal((await client.ask(bytes))[0]?.status, status, bytes);
    }
    const records = await world.untilRecords(4);
    t.match(records[1]?.decision, { reason: 'external_denied', detail: 'no rule of the engine allows it' });
    t.match(records[3]?.decision.external, { result: 'allow', cached: true });
  },
);

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

async function ended(child: ChildProcess): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill();
  if (child.exitCode === null && child.signalCode === null) await gone;
}
