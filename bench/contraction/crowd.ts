import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { clientContext, type PemIdentity, RawConnection } from '../support/raw-connection.js';

/** Idle connections in a process of their own, so that the work of closing them is not that of whoever measures. */

interface CrowdJob {
  readonly port: number;
  readonly request: string;
  readonly groups: readonly { readonly identity: PemIdentity; readonly count: number }[];
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

  #order(order: CrowdOrder): Promise<CrowdAnswer> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the crowd is gone'));
      this.#child.once('exit', gone);
      this.#child.once('message', (answer: CrowdAnswer) => {
        this.#child.off('exit', gone);
        if (answer.op === 'failed') reject(new Error(answer.error));
        else resolve(answer);
      });
      this.#child.send(order);
    });
  }
}

const OPENING_AT_ONCE = 16;
const endedAtMs: number[] = [];

async function openAll({ port, request, groups }: CrowdJob): Promise<void> {
  const bytes = Buffer.from(request, 'latin1');
  const contexts = groups.flatMap(({ identity, count }) => {
    const context = clientContext(identity);
    return Array.from({ length: count }, () => context);
  });
  const openNext = async (): Promise<void> => {
    for (let context = contexts.pop(); context !== undefined; context = contexts.pop()) {
      const connection = await RawConnection.open(port, context);
      const status = await connection.ask(bytes);
      if (status !== 200) throw new Error(`answered ${status} before anything was taken away`);
      connection.onEnd = () => {
        endedAtMs.push(unixMs());
        connection.destroy();
      };
    }
  };
  await Promise.all(Array.from({ length: OPENING_AT_ONCE }, openNext));
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
