import { readFileSync } from 'node:fs';
import t from 'tap';
import { parse, stringify } from 'yaml';
import { loadConfig } from '../../src/config/load.js';
import { formatProblem } from '../../src/config/problem.js';
import { type ReadRecord, World } from '../support/start-proxy.js';

/** What docs/limits.md shows, run: its configuration in a sidecar, and its answer as that gives it. */

const text = readFileSync('docs/limits.md', 'utf8');
const blockOf = (language: string): string =>
  new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'ms').exec(text)?.[1] ?? '';

const POLICY = `version: 1
default: deny
rules:
  - { id: all, effect: allow, principals: ["spiffe://a.test/**"], destinations: [billing] }
`;

t.test(
  'the configuration of docs/limits.md limits as it says, and the answer is the one shown',
  async (t) => {
    const shown = parse(blockOf('yaml')) as ReadRecord;
    const world = new World();
    t.teardown(() => world.close());
    await world.prepare();
    world.writeConfig({ policy: POLICY });
    const own = parse(world.configText()) as ReadRecord;
    shown.listeners[0].address = own.listeners[0].address;
    const upstreams = { billing: own.upstreams.u };
    world.write('countersign.yaml', stringify({ ...own, ...shown, upstreams }));
    const { problems, warnings } = await loadConfig(`${world.dir}/countersign.yaml`, {});
    t.same([...problems, ...warnings].map(formatProblem), []);
    await world.run();

    const client = await world.client();
    const ask = async (path: string) =>
      (await client.ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`))[0];
    for (let i = 0; i < 5; i++) t.equal((await ask('/reports/1'))?.status, 200);
    const answer = await ask('/reports/1');
    const [head = '', body = ''] = /^```\n(HTTP\/1\.1 429.*?)^```$/ms.exec(text)?.[1]?.split('\n\n') ?? [];
    const [line, ...fields] = head.split('\n');
    t.equal(line, `HTTP/1.1 ${answer?.status} Too Many Requests`);
    t.ok(fields.length >= 4);
    for (const field of fields) {
      const [name = '', value] = field.split(/: (.*)/);
      // A moment later it is a second less.
      const said = answer?.headers[name.toLowerCase()]?.replace(/^1$/, '2').replace(/t=1$/, 't=2');
      t.equal(said, value, name);
    }
    t.same({ ...JSON.parse(answer?.body ?? '{}'), requestId: '…' }, JSON.parse(body));
    t.equal((await ask('/invoices/1'))?.status, 200, 'the general limit has not counted these');
  },
);
