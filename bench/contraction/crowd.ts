import { type ChildProcess, fork } from 'node:child_process';
import type { SecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { askChild } from '../support/ask-child.js';
import { clientContext, type PemIdentity, RawConnection } from '../support/raw-connection.js';
import { openCalls } from './grpc-calls.js';

/** Idle connections in a process of their own, so that the work of closing them is not that of whoever measures. */

export interface CrowdJob {
  readonly port: number;
  readonly request: string;
  readonly groups: readonly { readonly identity: PemIdentity; readonly count: number }[];
  /** What the request is answered with before the connection is left alone; 200 unless told otherwise. */
  readonly status?: number;
  /** gRPC calls on each connection instead of that request: each is one that ends. */
  readonly calls?: number;
}

/** When each connection that the other side ended was ended, Unix milliseconds with fractions. */
type CrowdAnswer =
  | { readonly op: 'opened' }
  | { readonly op: 'ended'; readonly atMs: readonly number[] }
  | { readonly op: 'failed'; readonly error: string };
type CrowdOrder = { readonly op: 'open'; readonly job: CrowdJob } | { readonly op: 'report' };

export const unixMs = (): number => performance.timeOrigin + performance.now();

/** The crowd's process, driven order by order. */
export class Crowd {
  readonly #child: ChildProcess = fork(fileURLToPath(import.meta.url), ['crowd']);

  async open(job: CrowdJob): Promise<void> {
    await this.#order({ op: 'open', job });
  }

  async ended(): Promise<readonly number[]> {
    const answer = await this.#order({ op: 'report' });
    return answer.op === 'ended' ? answer.atMs : [];
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #order(order: CrowdOrder): Promise<CrowdAnswer> {
    const answer = await askChild<CrowdAnswer>(this.#child, order);
    if (answer.op === 'failed') throw new Error(answer.error);
    return answer;
  }
}

const OPENING_AT_ONCE = 16;
const endedAtMs: number[] = [];

async function openAll({ port, request, groups, status = 200, calls }: CrowdJob): Promise<void> {
  const bytes = Buffer.from(request, 'latin1');
  const identities = groups.flatMap(({ identity, count }) => Array<PemIdentity>(count).fill(identity));
  const contexts = new Map(groups.map(({ identity }) => [identity, clientContext(identity)]));
  const onEnd = (): void => void endedAtMs.push(unixMs());
  const openNext = async (): Promise<void> => {
    for (let identity = identities.pop(); identity !== undefined; identity = identities.pop()) {
      if (calls === undefined) await openConnection(port, contexts.get(identity)!, bytes, status, onEnd);
      else await openCalls({ port, identity, count: calls }, onEnd);
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, openNext));
}

async function openConnection(
  port: number,
  context: SecureContext,
  request: Buffer,
  expected: number,
  onEnd: () => void,
): Promise<void> {
  const connection = await RawConnection.open(port, context);
  const status = await connection.ask(request);
  if (status !== expected) throw new Error(`answered ${status} before anything was taken away`);
  connection.onEnd = () => {
    onEnd();
    connection.destroy();
  };
}

async function obey(order: CrowdOrder): Promise<CrowdAnswer> {
  if (order.op === 'report') return { op: 'ended', atMs: endedAtMs };
  await openAll(order.job);
  return { op: 'opened' };
}

if (process.argv[2] === 'crowd' && process.send !== undefined) {
  process.on('message', (order: CrowdOrder) => {
    obey(order)
      .catch((error: unknown): CrowdAnswer => ({ op: 'failed', error: String(error) }))
      .then((answer) => process.send?.(answer));
  });
  process.on('disconnect', () => process.exit(0));
}
