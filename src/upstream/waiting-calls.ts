import type { UpstreamCall } from './upstream-call.js';

/**
 * Calls that wait for a connection. Callers take turns, so that one with a thousand calls waiting holds up another by one call
 * and not by a thousand; the calls of one caller go in the order of their arrival.
 */
export class WaitingCalls {
  /** In the order of their arrival. */
  readonly #all = new Set<UpstreamCall>();
  /** By caller; whose turn is next stands first. */
  readonly #lines = new Map<string, Set<UpstreamCall>>();

  constructor(readonly capacity: number) {}

  get size(): number {
    return this.#all.size;
  }

  [Symbol.iterator](): IterableIterator<UpstreamCall> {
    return this.#all.values();
  }

  /** Who waits longest. */
  get oldest(): UpstreamCall | undefined {
    const [first] = this.#all;
    return first;
  }

  /** @returns the call that there is no room for: this one, or, where another caller has more of them, that one's last. */
  add(call: UpstreamCall): UpstreamCall | undefined {
    const crowdedOut = this.#all.size < this.capacity ? undefined : this.#lastOfMost(call);
    if (crowdedOut === call) return call;
    if (crowdedOut !== undefined) this.delete(crowdedOut);
    const line = this.#lines.get(call.caller);
    if (line === undefined) this.#lines.set(call.caller, new Set([call]));
    else line.add(call);
    this.#all.add(call);
    return crowdedOut;
  }

  delete(call: UpstreamCall): void {
    if (!this.#all.delete(call)) return;
    const line = this.#lines.get(call.caller);
    line?.delete(call);
    if (line?.size === 0) this.#lines.delete(call.caller);
  }

  /** Takes out the next call of whose turn it is. */
  takeNext(): UpstreamCall | undefined {
    for (const [caller, line] of this.#lines) {
      const [call] = line;
      if (call === undefined) continue;
      this.delete(call);
      if (this.#lines.delete(caller)) this.#lines.set(caller, line); // behind all others
      return call;
    }
    return undefined;
  }

  #lastOfMost(newcomer: UpstreamCall): UpstreamCall {
    let most = (this.#lines.get(newcomer.caller)?.size ?? 0) + 1;
    let longest: Set<UpstreamCall> | undefined;
    for (const line of this.#lines.values()) {
      if (line.size <= most) continue;
      most = line.size;
      longest = line;
    }
    return (longest && [...longest].at(-1)) ?? newcomer;
  }
}
