import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { type ReadRecord, type World, waitFor } from './start-proxy.js';

export const GET = 'GET /public/a HTTP/1.1\r\nHost: svc.test\r\n\r\n';

/** How /snapshot shows a source. */
export async function sourceOf(world: World, name: string): Promise<ReadRecord> {
  const { sources } = await world.snapshot();
  const source = (sources as ReadRecord[]).find((candidate) => candidate.name === name);
  if (source === undefined) throw new Error(`no source ${name}`);
  return source;
}

export async function authoritiesOf(world: World, trustDomain: string): Promise<string[]> {
  const { trust } = await world.snapshot();
  const entry = (trust as ReadRecord[]).find((candidate) => candidate.trustDomain === trustDomain);
  return (entry?.authorities ?? []).map(({ sha256 }: ReadRecord) => sha256);
}

/** Waits until exactly these authorities are in force. */
export async function untilAuthorities(
  world: World,
  trustDomain: string,
  wanted: readonly { readonly sha256: string }[],
  timeoutMs = 4000,
): Promise<void> {
  const expected = wanted.map(({ sha256 }) => sha256).sort();
  await waitFor(
    async () => JSON.stringify((await authoritiesOf(world, trustDomain)).sort()) === JSON.stringify(expected),
    timeoutMs,
    () => `${expected.length} authorities of ${trustDomain}`,
  );
}

export const refusalsOf = (world: World, source: string): ReadRecord[] =>
  world.diagnostics
    .filter(({ message }) => message.startsWith('refused'))
    .map(({ detail }) => detail as ReadRecord)
    .filter((detail) => detail.source === source);

/** Waits until a source's failure is there, and asserts that it is shown everywhere that somebody may look, once. */
export async function shownAsRefused(
  t: Test,
  world: World,
  source: string,
  event: string,
  why: RegExp,
): Promise<void> {
  await waitFor(
    () => refusalsOf(world, source).length > 0,
    4000,
    () => `a refusal of ${source}`,
  );
  const refusals = refusalsOf(world, source);
  t.equal(refusals.length, 1, 'logged once');
  t.match(refusals[0]?.problem, why);
  const { lastError, failures } = await sourceOf(world, source);
  t.match(lastError, why, '/snapshot says why');
  t.equal(failures, 1);
  t.match(
    await world.metrics(),
    new RegExp(`countersign_reloads_total\\{source="${source}",result="refused"\\} 1`),
  );
  await waitFor(() => world.records.some((record) => record.event === event));
  const records = world.records.filter((record) => record.event === event);
  t.equal(records.length, 1, 'one record');
  t.equal(records[0]?.source, source);
  t.match(records[0]?.detail, why);
}

/** Asserts that the failure is gone everywhere. */
export async function shownAsGood(t: Test, world: World, source: string): Promise<void> {
  await waitFor(async () => (await sourceOf(world, source)).lastError === undefined, 4000);
  t.equal((await sourceOf(world, source)).lastError, undefined, `${source} is good again`);
}

/** The configuration as it stands, changed. */
export function changeConfig(world: World, change: (text: string) => string): void {
  world.replace('countersign.yaml', change(readFileSync(join(world.dir, 'countersign.yaml'), 'utf8')));
}
