import type { ExceptionPort, OrderAnswer, RevocationPort } from '../admin/ports.js';
import type { Answer, WorkerPool } from '../workers/worker-pool.js';
import { mergeExceptions } from './grants.js';

const SILENT =
  'the rest did not answer; one that stays silent is stopped, with its connections. Give the same order again until it is 200';

/** Orders of operators, carried out by every worker: the answer is true of all of them, or says of how many. */
export class WorkerOrders {
  readonly revocations: RevocationPort;
  readonly exceptions: ExceptionPort;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    readonly pool: WorkerPool,
    readonly workers: number,
  ) {
    this.revocations = {
      list: async () => (await this.pool.ask<object>('revocations'))[0]?.value ?? {},
      add: async (entries) => this.#mergeAnswers(await this.pool.ask<OrderAnswer>('revoke', entries)),
      withdraw: async (...order) => {
        const answers = await this.pool.ask<OrderAnswer>('withdraw', order);
        // The first takes it out of the file that they share; then the others no longer find it.
        return answers.find(({ value }) => value.status === 200)?.value ?? this.#mergeAnswers(answers);
      },
    };
    this.exceptions = {
      list: async () =>
        mergeExceptions((await this.pool.ask<object>('exceptions')).map(({ value }) => value)),
      grant: (asked) => this.#inTurn(() => this.#grant(asked)),
      withdraw: (...order) => this.#inTurn(() => this.#withdrawGrant(order)),
    };
  }

  /**
   * Each worker enforces by itself, and the answer is that of the one that could do least, with the connections of all. One that
   * does not answer may hold connections open that are revoked: whoever ordered it must not take that for done.
   */
  #mergeAnswers(answers: readonly Answer<OrderAnswer>[], what = 'IN FORCE'): OrderAnswer {
    const { workers } = this;
    const values = answers.map(({ value }) => value);
    const [worst] = values.sort((a, b) => b.status - a.status);
    if (worst === undefined) return { status: 500, detail: `none of ${workers} workers answers` };
    const enforcing = values.filter(({ view }) => view !== undefined);
    const [first] = enforcing;
    if (first === undefined) return worst; // nothing was done, and it says why
    const connections = enforcing.reduce(
      (sum, { view }) => sum + Number((view as { connections?: number } | undefined)?.connections ?? 0),
      0,
    );
    const view = { ...first.view, connections };
    if (enforcing.length === workers) return { ...worst, view };
    const why = worst.detail ?? SILENT;
    return {
      status: 500,
      detail: `${what} IN ${enforcing.length} OF ${workers} WORKERS: ${why}`,
      view: { ...view, workersSilent: workers - answers.length },
    };
  }

  /** One writes it down, then all look: an answer that says granted is true of every worker. */
  async #grant(asked: Parameters<ExceptionPort['grant']>[0]): Promise<OrderAnswer> {
    const first = await this.pool.askFirst<OrderAnswer>('grant', asked);
    if (first === undefined)
      return { status: 500, detail: 'no worker answered in time: GET /exceptions says what is granted' };
    if (first.value.status !== 200) return first.value;
    const looked = await this.pool.ask<true>('lookAtGrants');
    const silent = this.workers - looked.length;
    return silent > 0
      ? { ...first.value, view: { ...first.value.view, workersSilent: silent } }
      : first.value;
  }

  /** Each takes it out of force by itself, at once. Whoever comes later no longer finds it in the file that they share. */
  async #withdrawGrant(order: Parameters<ExceptionPort['withdraw']>): Promise<OrderAnswer> {
    const answers = await this.pool.ask<OrderAnswer>('withdrawGrant', order);
    const found = answers.filter(({ value }) => value.status !== 404);
    if (found.length === 0) return this.#mergeAnswers(answers);
    const others = answers.filter(({ value }) => value.status === 404);
    const done = others.map((answer) => ({ ...answer, value: { status: 200 as const, view: {} } }));
    return this.#mergeAnswers([...found, ...done], 'OUT OF FORCE');
  }

  /** Orders that rewrite one file go one after the other. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }
}
