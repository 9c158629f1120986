import { readFileSync, renameSync } from 'node:fs';
import t, { type Test } from 'tap';
import { readRecord } from '../support/record-check.js';
import { World, waitFor } from '../support/start-proxy.js';

const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

/** What every record of a served request has (PRODUCT §9). */
const FIELDS = `time event id stream.id stream.boot stream.worker seq
  principal.id principal.kind principal.trustDomain principal.serial principal.sha256 principal.keySha256 principal.issuer
  principal.authority principal.notBefore principal.notAfter
  decision.effect decision.reason decision.rule decision.policyRevision decision.trustRevision
  request.listener request.route request.destination request.method request.host request.path request.protocol
  request.bytes request.traceId response.status response.bytes response.outcome timing.totalMs timing.upstreamMs
  tls.version tls.cipher tls.resumed peer.address`.split(/\s+/);

function valueAt(record: Record<string, unknown>, path: string): unknown {
  return path
    .split('.')
    .reduce((value: unknown, key) => (value as Record<string, unknown> | undefined)?.[key], record);
}

async function start(t: Test): Promise<World> {
  const world = await World.start();
  t.teardown(() => world.close());
  return world;
}

t.test(
  'P130 rotation by rename under load loses and tears no record, and numbers them without a gap',
  async (t) => {
    const world = await start(t);
    const clients = await Promise.all(Array.from({ length: 6 }, () => world.client()));
    let stop = false;
    let asked = 0;
    const load = clients.map(async (client) => {
      while (!stop) {
        client.received = '';
        const [answer] = await client.ask(GET);
        if (answer?.status !== 200) throw new Error(`answered ${answer?.status}`);
        asked++;
      }
    });
    const files: string[] = [];
    for (let i = 0; i < 4; i++) {
      const goal = asked + 100;
      await waitFor(() => asked >= goal);
      files.push(`${world.dir}/audit.ndjson.${i}`);
      renameSync(`${world.dir}/audit.ndjson`, files.at(-1)!);
      await world.app.reload();
      await waitFor(() => {
        try {
          return readFileSync(`${world.dir}/audit.ndjson`, 'utf8') !== '';
        } catch {
          return false;
        }
      });
    }
    stop = true;
    await Promise.all(load);
    files.push(`${world.dir}/audit.ndjson`);
    await world.app.close();
    const text = files.map((file) => readFileSync(file, 'utf8')).join('');
    const records = text
      .trimEnd()
      .split('\n')
      .map((line) => readRecord<Record<string, unknown>>(line));
    t.same(
      records.map((record) => record.seq),
      records.map((_record, i) => i + 1),
    );
    const accesses = records.filter((record) => record.event === 'access');
    t.equal(accesses.length, asked);
    for (const record of accesses) {
      const missing = FIELDS.filter((path) => valueAt(record, path) === undefined);
      if (missing.length > 0) t.fail(`${missing.join(', ')} missing in ${JSON.stringify(record)}`);
    }
    t.ok(accesses.every((record) => JSON.stringify(record).length < 4096));
  },
);
