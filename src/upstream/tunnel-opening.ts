import { Failure } from '../reasons.js';
import type { Carrier, Opening, OpenOptions } from './connector.js';
import type { Target } from './target.js';

/** A transport of one's own to one target, and the target's count of what is under way there. */
export class Lease {
  #target: Target | undefined;

  constructor(
    readonly carrier: Carrier,
    target: Target,
  ) {
    this.#target = target;
  }

  /** What it was for is over. @param failure where the server failed it before it said anything; undefined = it did not. */
  end(failure?: Failure): void {
    const target = this.#target;
    this.#target = undefined;
    if (target === undefined) return;
    target.leftTunnel();
    if (failure === undefined) target.succeeded();
    else target.failed(failure);
  }
}

/** Opens a transport to the target whose turn it is; where that one is out of reach, to others: nothing has been sent. */
export class TunnelOpening implements Opening {
  readonly #choose: (without: readonly Target[] | undefined) => Target | undefined;
  readonly #options: OpenOptions;
  readonly #done: (result: Lease | Failure) => void;
  readonly #tried: Target[] = [];
  #retries: number;
  #opening: Opening | undefined;
  #target: Target | undefined;
  #refusal: NodeJS.Immediate | undefined;

  constructor(
    choose: (without: readonly Target[] | undefined) => Target | undefined,
    options: OpenOptions,
    retries: number,
    done: (result: Lease | Failure) => void,
  ) {
    this.#choose = choose;
    this.#options = options;
    this.#retries = retries;
    this.#done = done;
    const target = this.#next();
    if (target !== undefined) {
      this.#begin(target);
      return;
    }
    const full = new Failure('upstream_overloaded', 'as many connections are open as maxConnections says');
    this.#refusal = setImmediate(() => done(full));
  }

  cancel(): void {
    clearImmediate(this.#refusal);
    this.#opening?.cancel();
    this.#opening = undefined;
    this.#leave();
  }

  /** Whose turn it is, of those that have room. */
  #next(): Target | undefined {
    for (;;) {
      const target = this.#choose(this.#tried.length === 0 ? undefined : this.#tried);
      if (target === undefined || !target.isFull) return target;
      this.#tried.push(target);
    }
  }

  #begin(target: Target): void {
    this.#target = target;
    target.enterTunnel();
    this.#opening = target.connector.open(this.#options, (result) => this.#opened(target, result));
  }

  #opened(target: Target, result: Carrier | Failure): void {
    this.#opening = undefined;
    this.#target = result instanceof Failure ? target : undefined;
    if (!(result instanceof Failure)) return this.#done(new Lease(result, target));
    target.failed(result);
    this.#leave();
    this.#tried.push(target);
    const next = this.#retries-- > 0 ? this.#next() : undefined;
    if (next === undefined) this.#done(result);
    else this.#begin(next);
  }

  #leave(): void {
    this.#target?.leftTunnel();
    this.#target = undefined;
  }
}
