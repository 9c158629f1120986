import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { askChild } from '../support/ask-child.js';
import type { OriginMessage, OriginReport } from './origin.js';

export interface LoadJob {
  readonly kind: 'keep-alive' | 'connect' | 'handshake' | 'resumed';
  readonly port: number;
  /** Connections (or handshakes) at the same time. */
  readonly connections: number;
  /** Bytes of one request, as latin1 text. */
  readonly request: string;
  /** A JSON file of certificates and keys, and which of them. */
  readonly identities: { readonly file: string; readonly from: number; readonly count: number };
  /** Each certificate is shown once; the run ends early when all were. */
  readonly once: boolean;
}

export type LoadOrder =
  | { readonly op: 'open'; readonly job: LoadJob }
  | { readonly op: 'run'; readonly seconds: number }
  | { readonly op: 'close' };

export interface LoadResult {
  readonly completed: number;
  readonly failed: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export type LoadAnswer =
  | { readonly ok: true; readonly result?: LoadResult }
  | { readonly ok: false; readonly error: string };

const scriptOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** The load client's process, driven order by order. */
export class LoadClient {
  readonly #child: ChildProcess = fork(scriptOf('./load-client.js'));

  async open(job: LoadJob): Promise<void> {
    await this.#order({ op: 'open', job });
  }

  async run(seconds: number): Promise<LoadResult> {
    const result = await this.#order({ op: 'run', seconds });
    if (result === undefined) throw new Error('the load client gave no result');
    return result;
  }

  async close(): Promise<void> {
    await this.#order({ op: 'close' });
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }

  async #order(order: LoadOrder): Promise<LoadResult | undefined> {
    const answer = await askChild<LoadAnswer>(this.#child, order);
    if (!answer.ok) throw new Error(`the load client: ${answer.error}`);
    return answer.result;
  }
}

/** The origin's process. */
export class Origin {
  readonly #child: ChildProcess;
  constructor(readonly port: number) {
    this.#child = fork(scriptOf('./origin.js'), [String(port)]);
  }

  keepIds(): void {
    this.#child.send({ keepIds: true } satisfies OriginMessage);
  }

  report(): Promise<OriginReport> {
    return askChild<OriginReport>(this.#child, { report: true } satisfies OriginMessage);
  }

  stop(): void {
    if (this.#child.connected) this.#child.disconnect();
  }
}
