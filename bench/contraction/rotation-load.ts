import { type ChildProcess, fork } from 'node:child_process';
import type { SecureContext } from 'node:tls';
import { fileURLToPath } from 'node:url';
import { pause } from '../support/bench-site.js';
import { clientContext, type PemIdentity, RawConnection } from '../support/raw-connection.js';
import { quantile, round } from '../support/statistics.js';

/** Callers in a process of their own who go on calling while their certificates, and the other side's, are replaced. */

/** On a new certificate: `moves` to a new connection at once, `stays` until it is ended, or has one for each request anyway. */
export type Manner = 'moves' | 'stays' | 'reconnects';

export interface Caller {
  readonly before: PemIdentity;
  readonly after: PemIdentity;
  readonly manner: Manner;
}

interface Job {
  readonly port: number;
  readonly request: string;
  readonly callers: readonly Caller[];
}

export interface CallersResult {
  readonly answered: number;
  /** By the documented end of access: on a connection that was kept on the old authority. Asked again at once, on a new one. */
  readonly accessEnded: number;
  /** By anything else. */
  readonly failed: number;
  /** New connections' handshakes included. */
  readonly p99Ms: number;
  readonly maxMs: number;
}

type Order =
  | { readonly op: 'start'; readonly job: Job }
  | { readonly op: 'renew'; readonly withinMs: number }
  | { readonly op: 'stop' };
type Answer = { readonly result?: CallersResult; readonly error?: string };

export class RotationLoad {
  readonly #child: ChildProcess = fork(fileURLToPath(import.meta.url), ['callers']);

  /** Resolves when each has had an answer and the rush of the start is over: from then on it counts. */
  async start(job: Job): Promise<void> {
    await this.#order({ op: 'start', job });
  }

  /** One after the other. Resolves when those who do not stay have had an answer with their new certificate. */
  async renew(withinMs: number): Promise<void> {
    await this.#order({ op: 'renew', withinMs });
  }

  async stop(): Promise<CallersResult> {
    const result = await this.#order({ op: 'stop' });
    if (result === undefined) throw new Error('the callers gave no result');
    return result;
  }

  terminate(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  #order(order: Order): Promise<CallersResult | undefined> {
    return new Promise((resolve, reject) => {
      const gone = (): void => reject(new Error('the callers are gone'));
      this.#child.once('exit', gone);
      this.#child.once('message', ({ result, error }: Answer) => {
        this.#child.off('exit', gone);
        if (error !== undefined) reject(new Error(error));
        else resolve(result);
      });
      this.#child.send(order);
    });
  }
}

const EVERY_MS: Readonly<Record<Manner, number>> = { moves: 200, stays: 200, reconnects: 500 };
const SETTLE_MS = 2000;
const tally = { answered: 0, accessEnded: 0, failed: 0, latenciesMs: [] as number[] };

class CallerAtWork {
  hasAnswer = false;
  #isRenewed = false;
  #isStopping = false;
  #held: { readonly connection: RawConnection; readonly isRenewed: boolean } | undefined;
  readonly #contexts: readonly [SecureContext, SecureContext];

  constructor(
    readonly caller: Caller,
    readonly port: number,
    readonly request: Buffer,
  ) {
    this.#contexts = [clientContext(caller.before), clientContext(caller.after)];
  }

  renew(): void {
    this.#isRenewed = true;
    this.hasAnswer = false;
  }

  stop(): void {
    this.#isStopping = true;
  }

  async run(): Promise<void> {
    const everyMs = EVERY_MS[this.caller.manner];
    await pause(Math.random() * everyMs);
    while (!this.#isStopping) {
      const startedMs = performance.now();
      if (await this.#call()) tally.latenciesMs.push(performance.now() - startedMs);
      await pause(Math.max(0, everyMs - (performance.now() - startedMs)));
    }
    this.#held?.connection.destroy();
  }

  /** Whether it was answered; told that its access has ended, it asks again on a new connection, once. */
  async #call(): Promise<boolean> {
    const held = await this.#connection().catch(() => undefined);
    const status = await held?.connection.ask(this.request);
    const isOld = held !== undefined && held.isRenewed !== this.#isRenewed;
    if (status !== 200 || this.caller.manner === 'reconnects') this.#close();
    if (status === 200) {
      tally.answered++;
      this.hasAnswer ||= !isOld;
      return true;
    }
    if (!isOld || this.caller.manner !== 'stays') {
      tally.failed++;
      return false;
    }
    tally.accessEnded++;
    return this.#call();
  }

  async #connection(): Promise<{ readonly connection: RawConnection; readonly isRenewed: boolean }> {
    const { manner } = this.caller;
    const isRenewed = this.#isRenewed;
    if (manner === 'moves' && this.#held?.isRenewed !== isRenewed) this.#close();
    if (this.#held !== undefined && !this.#held.connection.hasEnded) return this.#held;
    const connection = await RawConnection.open(this.port, this.#contexts[isRenewed ? 1 : 0]);
    this.#held = { connection, isRenewed };
    return this.#held;
  }

  #close(): void {
    this.#held?.connection.socket.end();
    this.#held = undefined;
  }
}

let callers: CallerAtWork[] = [];
let runs: Promise<void>[] = [];

async function untilAnswered(some: readonly CallerAtWork[]): Promise<void> {
  while (!some.every(({ hasAnswer }) => hasAnswer)) {
    if (tally.failed > 0) return;
    await pause(20);
  }
}

async function obey(order: Order): Promise<Answer> {
  switch (order.op) {
    case 'start': {
      const { port, request } = order.job;
      const bytes = Buffer.from(request, 'latin1');
      callers = order.job.callers.map((caller) => new CallerAtWork(caller, port, bytes));
      runs = callers.map((caller) => caller.run());
      await untilAnswered(callers);
      await pause(SETTLE_MS); // 200 handshakes at once, on a process that has just started, are not what is measured
      tally.answered = 0;
      tally.latenciesMs.length = 0;
      return {};
    }
    case 'renew':
      for (const caller of callers) {
        caller.renew();
        await pause(order.withinMs / callers.length);
      }
      await untilAnswered(callers.filter(({ caller }) => caller.manner !== 'stays'));
      return {};
    case 'stop': {
      for (const caller of callers) caller.stop();
      await Promise.all(runs);
      const { latenciesMs, ...counts } = tally;
      const maxMs = latenciesMs.reduce((most, ms) => Math.max(most, ms), 0);
      return { result: { ...counts, p99Ms: round(quantile(latenciesMs, 0.99)), maxMs: round(maxMs) } };
    }
  }
}

if (process.argv[2] === 'callers' && process.send !== undefined) {
  process.on('message', (order: Order) => {
    obey(order)
      .catch((error: unknown): Answer => ({ error: String(error) }))
      .then((answer) => process.send?.(answer));
  });
  process.on('disconnect', () => process.exit(0));
}
