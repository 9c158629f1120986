import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { parseGrants } from '../../src/config/grants.js';
import { DAY_MS, HOUR_MS } from '../../src/policy/exception.js';
import { EchoServer } from './echo-socket.js';
import type { Svid } from './pki.js';
import { POLICY, type ReadRecord, World, type WorldOptions } from './start-proxy.js';

export const GRANTS_FILE = 'grants.yaml';
export const EXTRA = `exceptions: { file: ${GRANTS_FILE} }`;
export const ADMIN_GET = 'GET /admin/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';
/** A credential of web's that outlives what a test does to the clock. */
export const lasting = (world: World): Promise<Svid> =>
  world.caA.issue(world.web.uri, { ttlMs: 30 * DAY_MS });
/** What the policy does not let web do. */
export const ALLOW = { principals: ['spiffe://a.test/web'], destinations: ['r2'], methods: ['GET'] };
export const ASKED = { owner: 'team-web', reason: 'incident 7', by: 'alice', allow: ALLOW };

export async function startWithGrants(t: Test, options: WorldOptions = {}): Promise<World> {
  const world = await World.start({ extra: EXTRA, ...options });
  t.teardown(() => world.close());
  return world;
}

interface Answer {
  readonly status: number;
  readonly body: ReadRecord;
}

export async function order(url: string, method: string, path: string, body?: unknown): Promise<Answer> {
  const response = await fetch(`${url}${path}`, {
    method,
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
  const text = await response.text();
  return { status: response.status, body: text.startsWith('{') ? JSON.parse(text) : { text } };
}

export const grant = (world: World, ...exceptions: object[]): Promise<Answer> =>
  order(world.adminUrl, 'POST', '/exceptions', { exceptions });
export const withdraw = (world: World, id: string): Promise<Answer> =>
  order(world.adminUrl, 'DELETE', `/exceptions/${id}`, { by: 'bob', reason: 'incident is over' });
export const listed = async (world: World): Promise<ReadRecord[]> =>
  (await order(world.adminUrl, 'GET', '/exceptions')).body.exceptions;

export const kept = (world: World, file = GRANTS_FILE): readonly string[] => {
  const limit = { nowMs: Date.now(), maxLengthMs: 90 * DAY_MS };
  const { list, problems } = parseGrants(readFileSync(join(world.dir, file)), file, limit);
  if (list === undefined) throw new Error(JSON.stringify(problems));
  return list.grants.map(({ id }) => id);
};

export const eventsOf = (world: World, event: string): ReadRecord[] =>
  world.records.filter((record) => record.event === event);
export const inHours = (hours: number, nowMs = Date.now()): string =>
  new Date(nowMs + hours * HOUR_MS).toISOString();

/** The test world behind whose /ws is an echo, and whose policy itself lets nobody there. */
export async function startWithEcho(t: Test, options: WorldOptions = {}): Promise<World> {
  const echo = await new EchoServer().open();
  t.teardown(() => echo.close());
  const world = new World();
  t.teardown(() => world.close());
  await world.prepare();
  const whole = { extra: EXTRA, policy: POLICY.replace(/^ {2}- \{ id: ws.*\n/m, ''), ...options };
  world.writeConfig(whole);
  const config = world.configText(whole);
  const { port } = world.upstream;
  world.write('countersign.yaml', config.replace(`127.0.0.1:${port}`, `127.0.0.1:${echo.port}`));
  await world.run(whole);
  return world;
}
