import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runAuditVerify } from '../../src/cli/audit-verify.js';
import { Collector } from '../support/collector.js';
import { newSealKey } from '../support/seal-key.js';
import { World } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

async function verify(world: World, file: string): Promise<{ readonly code: number; readonly text: string }> {
  let text = '';
  const write = (more: string): void => {
    text += more;
  };
  const io = { env: {}, cwd: world.dir, stdout: write, stderr: write };
  const code = await runAuditVerify(['--keys', 'keys.jwks', file], io);
  return { code, text };
}

t.test(
  'the copy of a collector is proven by the seals in it, and one that lacks a line is not',
  async (t) => {
    const collector = await new Collector().open();
    t.teardown(() => collector.close());
    const { text: key } = await newSealKey();
    const world = await World.start({
      audit: `audit.ndjson, seal: { key: seal.jwk, every: 1s }, otlp: { url: "${collector.url}" }`,
      files: { 'seal.jwk': key },
    });
    t.teardown(() => world.close());
    const client = await world.client();
    for (let i = 0; i < 20; i++) await client.ask(GET);
    await world.untilRecords(20);
    writeFileSync(
      join(world.dir, 'keys.jwks'),
      await (await fetch(`${world.adminUrl}/.well-known/jwks.json`)).text(),
    );
    await world.app.close();

    const copy = collector.text;
    t.equal(copy, readFileSync(join(world.dir, 'audit.ndjson'), 'utf8'));
    t.match(copy.trimEnd().split('\n').at(-1), /"event":"audit\.seal"/, 'the last seal too');
    world.write('copy.ndjson', copy);
    const whole = await verify(world, 'copy.ndjson');
    t.equal(whole.code, 0, whole.text);
    const lines = copy.split('\n');
    world.write('copy.ndjson', [...lines.slice(0, 5), ...lines.slice(6)].join('\n'));
    const lacking = await verify(world, 'copy.ndjson');
    t.equal(lacking.code, 1, lacking.text);
  },
);
