import type { Test } from 'tap';
import type { RawClient } from './raw-client.js';
import { type ReadRecord, type World, waitFor } from './start-proxy.js';

export interface Blocked {
  /** Reasons, any of which the record may give. */
  readonly reason: string | readonly string[];
  readonly status?: number | readonly number[];
  /** The connection must end, and nothing behind the stimulus may be answered. */
  readonly closes?: boolean;
  readonly client?: RawClient;
}

/** Status codes of the final answers received, in order; by their lines, because an answer to HEAD has no body. */
export function statusesOf(client: RawClient): number[] {
  return [...client.received.matchAll(/HTTP\/1\.1 (\d{3}) /g)]
    .map((match) => Number(match[1]))
    .filter((status) => status >= 200 || status === 101);
}

/** BLOCK of the attack corpus: one no, nothing at the upstream, one record with a reason of the closed list. */
export async function isBlocked(t: Test, world: World, bytes: string, options: Blocked): Promise<ReadRecord> {
  const name = JSON.stringify(bytes.slice(0, 120));
  await untilRecorded(world);
  const upstreamBefore = world.upstream.bytes.length;
  const recordsBefore = world.exchanges.length;
  const client = options.client ?? (await world.client());
  const answersBefore = statusesOf(client).length;
  client.send(bytes);
  await client.until(() => statusesOf(client).length > answersBefore);
  if (options.closes === true) await client.untilClosed(2000);
  const statuses = statusesOf(client).slice(answersBefore);
  t.equal(statuses.length, 1, `${name}: one answer`);
  const allowed = [options.status ?? [400, 403, 404, 405, 421, 501, 505]].flat();
  t.ok(allowed.includes(statuses[0] ?? 0), `${name}: ${statuses[0]}`);
  if (options.client === undefined) client.destroy();
  const records = (await world.untilRecords(recordsBefore + 1)).slice(recordsBefore);
  t.equal(records.length, 1, `${name}: one record`);
  const [record] = records;
  t.equal(record?.decision.effect, 'deny', name);
  t.ok([options.reason].flat().includes(record?.decision.reason), `${name}: ${record?.decision.reason}`);
  t.equal(world.upstream.bytes.length, upstreamBefore, `${name}: nothing at the upstream`);
  return record ?? {};
}

/** An allowed request is recorded at its end, a moment after its answer: what came before must not count for the next. */
async function untilRecorded(world: World): Promise<void> {
  const isAllowed = ({ decision, phase }: ReadRecord): boolean =>
    decision.effect === 'allow' && phase !== 'start';
  await waitFor(() => world.exchanges.filter(isAllowed).length >= world.upstream.requests.length, 1000).catch(
    () => undefined,
  );
}

export async function upstreamSees(world: World, text: string, times = 1): Promise<void> {
  await waitFor(
    () => world.upstream.bytes.split(text).length > times,
    5000,
    () => `${times} times ${text} at the upstream`,
  );
}
