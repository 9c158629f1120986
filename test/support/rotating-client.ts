import type { Svid } from './pki.js';
import { type Answer, RawClient } from './raw-client.js';

/**
 * What a workload does with its open connection when it gets a new SVID: `moves` to a new one at once, `stays` until the
 * other side ends it, or has none, because it makes one for every request.
 */
export type Manner = 'moves' | 'stays' | 'reconnects';

interface Held {
  readonly client: RawClient;
  readonly svid: Svid;
}

const PAUSE_MS: Readonly<Record<Manner, number>> = { moves: 10, stays: 10, reconnects: 60 };

/** A workload that asks all the time, verifies who answers, and books what becomes of each request. */
export class RotatingClient {
  answered = 0;
  /** Answered on connections that were opened with the present SVID. */
  answeredAsNow = 0;
  connections = 0;
  /** Requests that the documented end of access took: on a connection of the SVID before. Each was asked again, once. */
  readonly ended: string[] = [];
  /** Anything else that went wrong, in words. */
  readonly faults: string[] = [];
  #asked = 0;
  #isStopping = false;
  #held: Held | undefined;

  constructor(
    readonly name: string,
    readonly manner: Manner,
    readonly port: number,
    public svid: Svid,
    /** PEM of the authorities by which it verifies the sidecar. */
    public trust: string,
  ) {}

  renew(svid: Svid): void {
    this.svid = svid;
    this.answeredAsNow = 0;
  }

  async run(): Promise<void> {
    while (!this.#isStopping) {
      await this.#request();
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS[this.manner])); // the rate of the load
    }
    this.#close();
  }

  stop(): void {
    this.#isStopping = true;
  }

  async #request(): Promise<void> {
    const held = await this.#connection();
    const path = `/public/${this.name}-${++this.#asked}`;
    const [answer] = await held.client.ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n\r\n`);
    held.client.received = '';
    const isOver = answer?.status !== 200 || answer.headers.connection === 'close';
    if (this.manner === 'reconnects' || isOver) this.#close();
    if (answer?.status === 200) {
      this.answered++;
      if (held.svid === this.svid) this.answeredAsNow++;
    } else if (this.manner === 'stays' && held.svid !== this.svid && isEndOfAccess(answer)) {
      this.ended.push(path);
    } else {
      const how =
        answer === undefined ? `no answer (${held.client.error})` : `${answer.status} ${answer.body}`;
      this.faults.push(`${path}: ${how}`);
    }
  }

  async #connection(): Promise<Held> {
    if (this.manner === 'moves' && this.#held?.svid !== this.svid) this.#close();
    if (this.#held !== undefined && !this.#held.client.closed) return this.#held;
    const { svid, trust, port } = this;
    const client = await RawClient.open({ identity: svid, port, ca: trust, rejectUnauthorized: true });
    this.connections++;
    this.#held = { client, svid };
    return this.#held;
  }

  #close(): void {
    this.#held?.client.socket.end();
    this.#held = undefined;
  }
}

/** Closed before it was answered, or told why. */
const isEndOfAccess = (answer: Answer | undefined): boolean =>
  answer === undefined || (answer.status === 403 && /^chain_/.test(JSON.parse(answer.body).reason));
