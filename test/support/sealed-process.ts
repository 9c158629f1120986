import { runAudit } from '../../src/cli/audit.js';
import { ProcessWorld } from './run-process.js';
import { newSealKey } from './seal-key.js';
import { type ReadRecord, waitFor } from './start-proxy.js';

/** Seals at shutdown and rotation alone: what is killed leaves all of it open. A request has one record and no other. */
const audit = 'audit.ndjson, signals: { firstSeen: false }, seal: { key: seal.jwk, every: 1h }';
const GET = 'GET /public/x HTTP/1.1\r\nHost: svc.test\r\n\r\n';

export async function startSealed(extra = ''): Promise<ProcessWorld> {
  return ProcessWorld.start({ audit, files: { 'seal.jwk': (await newSealKey()).text }, extra });
}

export async function ask(proxy: ProcessWorld, times: number): Promise<void> {
  const before = proxy.accesses.length;
  for (let i = 0; i < times; i++) await (await proxy.client()).ask(GET);
  await waitFor(
    () => proxy.accesses.length === before + times,
    10_000,
    () => 'the records',
  );
}

interface Verdict {
  readonly code: number;
  readonly text: string;
}

async function audited(proxy: ProcessWorld, ...args: string[]): Promise<Verdict> {
  let text = '';
  const write = (part: string): void => {
    text += part;
  };
  const io = { stdout: write, stderr: write, env: {}, cwd: proxy.world.dir };
  return { code: await runAudit(args, io), text };
}

export async function verified(proxy: ProcessWorld, ...more: string[]): Promise<Verdict> {
  const { code, text } = await audited(proxy, 'keys', 'seal.jwk');
  proxy.world.write('keys.json', text);
  return code === 0
    ? audited(proxy, 'verify', '--keys', 'keys.json', 'audit.ndjson', ...more)
    : { code, text };
}

export const gaps = (proxy: ProcessWorld): ReadRecord[] =>
  proxy.world.records.filter(({ event }) => event === 'audit.gap');

export async function stop(proxy: ProcessWorld): Promise<void> {
  proxy.child.kill('SIGTERM');
  await proxy.exited;
}
