import { parentPort, Worker, workerData } from 'node:worker_threads';
import { pause } from '../support/bench-site.js';
import { clientContext, getRequest, type PemIdentity, RawConnection } from '../support/raw-connection.js';
import { unixMs } from './crowd.js';

export const PROBES = 40;
const PROBE_EVERY_MS = 80;
const REQUEST = getRequest('/invoices/7');

export interface Samples {
  readonly samples: readonly { readonly atMs: number; readonly ms: number }[];
  readonly failed: number;
}

interface Job {
  readonly port: number;
  readonly identity: PemIdentity;
}

/** Requests at a steady rate from a thread of their own: the ends of a hundred connections would hold up this one as a client. */
export class Probes {
  private constructor(readonly worker: Worker) {}

  static async start(job: Job): Promise<Probes> {
    const worker = new Worker(new URL(import.meta.url), { workerData: job });
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    return new Probes(worker);
  }

  async stop(): Promise<Samples> {
    const samples = new Promise<Samples>((resolve) => this.worker.once('message', resolve));
    this.worker.postMessage('stop');
    return samples;
  }
}

/** One connection that asks at a steady rate, whatever comes of the request before: a stall shows in all that it delays. */
class Probe {
  readonly samples: { readonly atMs: number; readonly ms: number }[] = [];
  failed = 0;
  readonly #waiting: number[] = [];
  #timer: NodeJS.Timeout | undefined;

  private constructor(readonly connection: RawConnection) {
    connection.onAnswer = (status) => {
      const atMs = this.#waiting.shift();
      if (atMs === undefined || status !== 200) this.failed++;
      else this.samples.push({ atMs, ms: unixMs() - atMs });
    };
    connection.onEnd = () => {
      this.failed++;
    };
  }

  static async open(
    port: number,
    context: ReturnType<typeof clientContext>,
    offsetMs: number,
  ): Promise<Probe> {
    const probe = new Probe(await RawConnection.open(port, context));
    await pause(offsetMs);
    probe.#timer = setInterval(() => {
      if (probe.#waiting.length > 0) return; // one at a time; what it waits for counts whole
      probe.#waiting.push(unixMs());
      probe.connection.send(REQUEST);
    }, PROBE_EVERY_MS);
    return probe;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.connection.onEnd = () => undefined;
    this.connection.destroy();
  }
}

async function main({ port, identity }: Job, parent: NonNullable<typeof parentPort>): Promise<void> {
  const context = clientContext(identity);
  const probes: Probe[] = [];
  for (let i = 0; i < PROBES; i++) probes.push(await Probe.open(port, context, PROBE_EVERY_MS / PROBES));
  parent.once('message', () => {
    for (const probe of probes) probe.stop();
    const samples = probes.flatMap((probe) => probe.samples);
    parent.postMessage({ samples, failed: probes.reduce((sum, probe) => sum + probe.failed, 0) });
  });
  parent.postMessage('asking');
}

if (parentPort !== null) await main(workerData as Job, parentPort);
