import type { RawClient } from './raw-client.js';
import type { ProcessWorld } from './run-process.js';

/** Clients that ask one thing after the other, each a path of its own, for as long as they get whole answers. */
export class AskingCrowd {
  /** Paths whose answer a client has received whole. */
  readonly whole: string[] = [];
  readonly statuses = new Map<number, number>();
  #isOver = false;
  #clients: RawClient[] = [];
  #done: Promise<unknown> = Promise.resolve();
  #wake: () => void = () => undefined;
  #goal = Number.POSITIVE_INFINITY;

  static async start(proxy: ProcessWorld, count: number): Promise<AskingCrowd> {
    const crowd = new AskingCrowd();
    crowd.#clients = await Promise.all(Array.from({ length: count }, () => proxy.client()));
    crowd.#done = Promise.all(crowd.#clients.map((client, i) => crowd.#run(client, i)));
    return crowd;
  }

  /** Resolves once so many more answers were received. */
  more(answers: number): Promise<void> {
    this.#goal = this.whole.length + answers;
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** No more questions; resolves when the last answer, or the end of its connection, has come. */
  async end(): Promise<void> {
    this.#isOver = true;
    await this.#done;
  }

  async #run(client: RawClient, number: number): Promise<void> {
    for (let i = 0; !this.#isOver && !client.closed; i++) {
      const path = `/public/c${number}-${i}`;
      client.received = '';
      client.send(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
      await client.until(() => client.answers.length > 0);
      const status = client.answers[0]?.status;
      if (status === undefined) return;
      this.whole.push(path);
      this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
      if (this.whole.length >= this.#goal) this.#wake();
    }
  }
}
