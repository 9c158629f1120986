import type { Test } from 'tap';
import { type World, waitFor } from './start-proxy.js';

export interface InvariantOptions {
  /** Allowed requests that never reached the upstream whole enough to be counted there (it was down, or refused). */
  readonly lost?: number;
  /** Series counted before the case by `seriesOf`. */
  readonly seriesBefore?: number;
  /** Series that this case may add: results and reasons from closed lists that were not seen before. */
  readonly newSeries?: number;
}

/** The invariants of the attack corpus that can be told from outside, after a case. */
export async function holdInvariants(t: Test, world: World, options: InvariantOptions = {}): Promise<void> {
  noOneGotIn(t, world);
  const client = await world.client(world.admin);
  const [answer] = await client.ask('GET /public/ok HTTP/1.1\r\nHost: svc.test\r\nConnection: close\r\n\r\n');
  t.equal(answer?.status, 200, 'a well-behaved client is served');
  await booksBalance(t, world, options.lost ?? 0);
  const defects = world.diagnostics.filter(({ message }) => /inside the proxy|unexpected/.test(message));
  t.same(defects, [], 'no unhandled error');
  if (options.seriesBefore !== undefined) {
    const grown = (await seriesOf(world)) - options.seriesBefore;
    t.ok(grown <= (options.newSeries ?? 0), `metric series are bounded (${grown} more)`);
  }
}

/** Every request at the upstream, read in every way a lenient server might read it, is one its caller may make. */
function noOneGotIn(t: Test, world: World): void {
  for (const request of world.upstream.requests) {
    const ids = request.headers.filter(([name]) => name.toLowerCase().replace(/_/g, '-') === 'x-spiffe-id');
    t.equal(ids.length, 1, 'one identity');
    const id = ids[0]?.[1];
    t.match(id, /^spiffe:\/\/[ab]\.test\//, 'the identity is a verified one');
    if (id === world.admin.uri) continue;
    t.not(request.header('host'), 'locked.test', 'no one in by host');
    const inside = readingsOf(request.target).filter((path) => /^\/admin(\/|$)/.test(path));
    t.same(inside, [], `no one in: ${request.target}`);
  }
}

export function readingsOf(target: string): string[] {
  const path = target.split('?')[0]!;
  const readings = new Set([path]);
  for (let i = 0; i < 2; i++) for (const reading of [...readings]) readings.add(decode(reading));
  for (const change of [
    (text: string) => text.replaceAll('\\', '/'),
    (text: string) => text.replace(/;[^/]*/g, ''),
    (text: string) => text.split('\0')[0]!,
    (text: string) => text.split('#')[0]!,
    (text: string) => text.toLowerCase(),
    resolveDots,
  ]) {
    for (const reading of [...readings]) readings.add(change(reading));
  }
  return [...readings];
}

function decode(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_whole, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

function resolveDots(path: string): string {
  const out: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') out.pop();
    else if (segment !== '.' && segment !== '') out.push(segment);
  }
  return `/${out.join('/')}`;
}

/** Requests at the upstream = access records with effect allow. */
async function booksBalance(t: Test, world: World, lost: number): Promise<void> {
  const allowed = (): number =>
    world.exchanges.filter((record) => record.decision.effect === 'allow' && record.phase !== 'start').length;
  const expected = (): number => world.upstream.requests.length + lost;
  await waitFor(() => allowed() >= expected()).catch(() => undefined);
  t.equal(allowed(), expected(), 'books balance');
}

/** Time series of ours in a scrape now. */
export async function seriesOf(world: World): Promise<number> {
  const text = await world.metrics();
  return text.split('\n').filter((line) => line.startsWith('countersign_')).length;
}
