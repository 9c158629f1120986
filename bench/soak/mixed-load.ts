import type { SecureContext } from 'node:tls';
import { mintFrom } from '../support/bench-pki.js';
import { CALLER } from '../support/bench-rules.js';
import { type BenchSite, pause } from '../support/bench-site.js';
import { clientContext, getRequest, RawConnection } from '../support/raw-connection.js';
import type { ClientBooks } from './books.js';

const TICK_MS = 5;
const MAX_IDLE = 20;
const PATIENCE_MS = 10_000;
const SMALL = getRequest('/invoices/7');
const SLOW = getRequest('/slow/7');

/** Requests at a steady rate: mostly good, of each hundred five given up in mid-answer and one with a bad certificate. */
export class MixedLoad {
  readonly books: ClientBooks = { completed: 0, aborted: 0, bad: 0, surprises: [] };
  readonly #idle: RawConnection[] = [];
  readonly #underway = new Set<Promise<void>>();
  #sent = 0;

  private constructor(
    readonly port: number,
    readonly good: SecureContext,
    readonly bad: readonly SecureContext[],
  ) {}

  static async prepare({ countersign, pki }: BenchSite): Promise<MixedLoad> {
    const impostor = await mintFrom(pki.foreign, CALLER);
    const stranger = await mintFrom(pki.foreign, 'spiffe://elsewhere.example/ns/prod/sa/web');
    const bad = [clientContext(impostor), clientContext(stranger)];
    return new MixedLoad(countersign.port, clientContext(pki.caller), bad);
  }

  /** Resolves when the time is over and everything underway has ended. */
  async run(perSecond: number, seconds: number): Promise<void> {
    const startedMs = performance.now();
    const total = Math.round(perSecond * seconds);
    while (this.#sent < total) {
      const due = Math.min(total, Math.floor(((performance.now() - startedMs) / 1000) * perSecond));
      while (this.#sent < due) this.#start(this.#sent++);
      await pause(TICK_MS);
    }
    await Promise.all(this.#underway);
    for (const connection of this.#idle) connection.destroy();
  }

  #start(n: number): void {
    const turn = n % 100;
    const work = turn === 50 ? this.#askBadly(n) : turn % 20 === 7 ? this.#giveUp() : this.#ask();
    const done = work
      .catch((error: unknown) => void this.books.surprises.push(String(error)))
      .finally(() => this.#underway.delete(done));
    this.#underway.add(done);
  }

  async #ask(): Promise<void> {
    const connection = this.#idle.pop() ?? (await RawConnection.open(this.port, this.good));
    const status = await inTime(connection.ask(SMALL));
    if (status === 200) this.books.completed++;
    else this.books.surprises.push(`a good request was answered ${status}`);
    if (connection.hasEnded) return;
    if (this.#idle.length < MAX_IDLE) this.#idle.push(connection);
    else connection.destroy(); // opened while others were late
  }

  /** Goes away as soon as the answer has begun: by then the request is at the upstream for certain. */
  async #giveUp(): Promise<void> {
    const connection = await RawConnection.open(this.port, this.good);
    const begun = new Promise<void>((resolve, reject) => {
      connection.onBytes = resolve;
      connection.onEnd = () => reject(new Error('a slow answer never began'));
    });
    connection.send(SLOW);
    await inTime(begun);
    connection.destroy();
    this.books.aborted++;
  }

  async #askBadly(n: number): Promise<void> {
    const connection = await RawConnection.open(this.port, this.bad[(n / 100) & 1]!);
    const status = await inTime(connection.ask(SMALL));
    connection.destroy();
    if (status === 403) this.books.bad++;
    else this.books.surprises.push(`a bad certificate was answered ${status}`);
  }
}

async function inTime<T>(promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing within ${PATIENCE_MS} ms`)), PATIENCE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
