import { readFileSync } from 'node:fs';
import type { SecureContext } from 'node:tls';
import { clientContext, type PemIdentity, RawConnection, startHandshake } from '../support/raw-connection.js';
import { quantile } from '../support/statistics.js';
import type { LoadAnswer, LoadJob, LoadOrder, LoadResult } from './load-protocol.js';

/** The load: a process of its own, so that its CPU is not the subject's and its pauses are not the coordinator's. */

const MAX_WAIT_MS = 5000;

interface Tally {
  completed: number;
  failed: number;
  readonly latenciesMs: number[];
}

abstract class Load {
  protected untilMs = 0;
  protected readonly tally: Tally = { completed: 0, failed: 0, latenciesMs: [] };
  constructor(protected readonly job: LoadJob) {}

  abstract open(): Promise<void>;
  protected abstract lane(lane: number): Promise<void>;
  close(): void {}

  async run(seconds: number): Promise<LoadResult> {
    const startedMs = performance.now();
    this.untilMs = startedMs + seconds * 1000;
    await Promise.all(Array.from({ length: this.job.connections }, (_, i) => this.lane(i)));
    const { completed, failed, latenciesMs } = this.tally;
    return {
      completed,
      failed,
      seconds: (performance.now() - startedMs) / 1000,
      p50Ms: quantile(latenciesMs, 0.5),
      p99Ms: quantile(latenciesMs, 0.99),
    };
  }
}

/** Requests over connections that stay open. They are opened before the clock starts. */
class KeepAlive extends Load {
  #connections: RawConnection[] = [];
  readonly #request = Buffer.from(this.job.request, 'latin1');

  async open(): Promise<void> {
    const context = clientContext(readIdentities(this.job)[0]!);
    for (let i = 0; i < this.job.connections; i++) {
      const connection = await RawConnection.open(this.job.port, context);
      const status = await connection.ask(this.#request);
      if (status !== 200) throw new Error(`the first request of a connection was answered ${status}`);
      this.#connections.push(connection);
    }
  }

  protected lane(lane: number): Promise<void> {
    const connection = this.#connections[lane]!;
    const { tally } = this;
    return new Promise((resolve) => {
      let sentMs = performance.now();
      connection.onAnswer = (status) => {
        const nowMs = performance.now();
        tally.latenciesMs.push(nowMs - sentMs);
        if (status === 200) tally.completed++;
        else tally.failed++;
        if (nowMs >= this.untilMs) return resolve();
        sentMs = nowMs;
        connection.send(this.#request);
      };
      connection.onEnd = () => {
        tally.failed++;
        resolve();
      };
      connection.send(this.#request);
    });
  }

  override close(): void {
    for (const connection of this.#connections) connection.destroy();
  }
}

/** A connection and a handshake each time: with one request on it (`connect`), or nothing more (`handshake`, `resumed`). */
class Handshakes extends Load {
  #contexts: SecureContext[] = [];
  #next = 0;
  /** Of the first context, where sessions are to be resumed. */
  #session: Buffer | undefined;
  readonly #request = Buffer.from(this.job.request, 'latin1');

  async open(): Promise<void> {
    this.#contexts = readIdentities(this.job).map(clientContext);
    if (this.job.kind === 'resumed') this.#session = await this.#firstSession(this.#contexts[0]!);
  }

  #firstSession(context: SecureContext): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const socket = startHandshake(this.job.port, context);
      socket.once('error', reject).once('close', () => reject(new Error('no session was given')));
      socket.once('session', (session) => {
        resolve(session);
        socket.end();
      });
      socket.resume();
    });
  }

  protected async lane(): Promise<void> {
    while (performance.now() < this.untilMs) {
      const context = this.#contexts[this.job.once ? this.#next : this.#next % this.#contexts.length];
      if (context === undefined) return; // each certificate of the share was shown once
      this.#next++;
      const startedMs = performance.now();
      const isGood = await (this.job.kind === 'connect' ? this.#connect(context) : this.#handshake(context));
      this.tally.latenciesMs.push(performance.now() - startedMs);
      if (isGood) this.tally.completed++;
      else this.tally.failed++;
    }
  }

  async #connect(context: SecureContext): Promise<boolean> {
    try {
      const connection = await RawConnection.open(this.job.port, context);
      const status = await connection.ask(this.#request);
      connection.socket.end();
      return status === 200;
    } catch {
      return false;
    }
  }

  /** In TLS 1.3 a server judges our certificate after we are done: only its clean close without an alert is a yes. */
  #handshake(context: SecureContext): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = startHandshake(this.job.port, context, this.#session);
      let isSecure = false;
      const timer = setTimeout(() => socket.destroy(new Error('no close')), MAX_WAIT_MS);
      socket.once('secureConnect', () => {
        isSecure = socket.isSessionReused() === (this.#session !== undefined);
        socket.end();
      });
      socket.once('error', () => {
        isSecure = false;
      });
      socket.once('close', () => {
        clearTimeout(timer);
        resolve(isSecure);
      });
      socket.resume();
    });
  }
}

function readIdentities(job: LoadJob): PemIdentity[] {
  const all = JSON.parse(readFileSync(job.identities.file, 'utf8')) as PemIdentity[];
  return all.slice(job.identities.from, job.identities.from + job.identities.count);
}

let load: Load | undefined;

async function obey(order: LoadOrder): Promise<LoadAnswer> {
  switch (order.op) {
    case 'open':
      load = order.job.kind === 'keep-alive' ? new KeepAlive(order.job) : new Handshakes(order.job);
      await load.open();
      return { ok: true };
    case 'run':
      if (load === undefined) return { ok: false, error: 'nothing is open' };
      return { ok: true, result: await load.run(order.seconds) };
    case 'close':
      load?.close();
      load = undefined;
      return { ok: true };
  }
}

process.on('message', (order: LoadOrder) => {
  obey(order)
    .catch((error: unknown): LoadAnswer => ({ ok: false, error: String(error) }))
    .then((answer) => process.send?.(answer));
});
process.on('disconnect', () => process.exit(0));
