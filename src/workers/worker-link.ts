import type { FromWorker, MetricValues, Question, ToWorker } from './protocol.js';

const ALIVE_MS = 1000;
/** The supervisor keeps a worker's counters when it is gone: as of the last time they were sent. */
const METRICS_EVERY = 5;

/** What the link needs of the process it speaks for. */
export interface WorkerApp {
  readonly addresses: ReadonlyMap<string, string>;
  readonly ready: Promise<void>;
  answer(question: Question, argument: unknown): unknown;
  metricValues(): Promise<readonly MetricValues[]>;
  recordsAvailable(available: boolean): void;
  recordsTaken(lines: number): void;
  poll(source: string): void;
  foundNews: (source: string) => void;
  /** Sources that have to be asked, by name. */
  readonly remoteSources: readonly string[];
  drain(): Promise<void>;
  close(): Promise<void>;
}

/** The worker's end of the channel. A supervisor that is gone takes its workers with it: nobody could replace or reach them. */
export class WorkerLink {
  #app: WorkerApp | undefined;
  #alive: NodeJS.Timeout | undefined;
  #beats = 0;
  #early: ToWorker[] = [];

  constructor(readonly channel: NodeJS.Process = process) {
    channel.on('message', (message: ToWorker) => this.#on(message));
    channel.once('disconnect', () => void this.#app?.drain());
  }

  serve(app: WorkerApp): void {
    this.#app = app;
    app.ready.then(
      () => {
        void this.#send({ kind: 'ready', addresses: [...app.addresses] });
        // What it was told while it started may be news to the others.
        for (const source of app.remoteSources) app.foundNews(source);
      },
      () => undefined, // it ends, and that is told by its end
    );
    app.foundNews = (source) => void this.#send({ kind: 'found', source });
    for (const message of this.#early.splice(0)) this.#on(message);
    this.#alive = setInterval(() => void this.#beat(app), ALIVE_MS);
  }

  /** Resolves once it is on its way: the process may end right after. */
  refuse(problems: readonly string[]): Promise<void> {
    return this.#send({ kind: 'refused', problems });
  }

  async close(): Promise<void> {
    clearInterval(this.#alive);
    if (this.#app !== undefined) {
      await this.#send({ kind: 'alive', metrics: await this.#app.metricValues() });
    }
    this.channel.channel?.unref(); // a disconnect would end the process with 0, whatever it ends with
  }

  async #beat(app: WorkerApp): Promise<void> {
    const metrics = ++this.#beats % METRICS_EVERY === 0 ? await app.metricValues() : undefined;
    void this.#send({ kind: 'alive', metrics });
  }

  #on(message: ToWorker): void {
    const app = this.#app;
    if (app === undefined) return void this.#early.push(message);
    switch (message.kind) {
      case 'ask':
        return void this.#answer(app, message.ask, message.question, message.argument);
      case 'records':
        return app.recordsAvailable(message.available);
      case 'recorded':
        return app.recordsTaken(message.lines);
      case 'poll':
        return app.poll(message.source);
      case 'drain':
        return void app.drain();
      case 'close':
        return void app.close();
    }
  }

  async #answer(app: WorkerApp, ask: number, question: Question, argument: unknown): Promise<void> {
    void this.#send({ kind: 'answer', ask, value: await app.answer(question, argument) });
  }

  #send(message: FromWorker): Promise<void> {
    return new Promise((resolve) => {
      if (!this.channel.connected || this.channel.send === undefined) return resolve();
      this.channel.send(message, undefined, undefined, () => resolve());
    });
  }
}
