import { err, type Refusal, type Result, refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Clock, SnapshotHolder } from './ports.js';

interface Refused {
  readonly result: Result<never>;
  readonly snapshot: Snapshot;
  readonly untilMs: number;
}

/** Different ones at once; the same one is verified once however many ask. */
const MOST_AT_ONCE = 2000;
/** Refused ones that are remembered, and for how long: long enough that showing one again and again costs nothing. */
const MOST_REFUSED = 1000;
const REFUSED_MS = 1000;

/** What is being verified, by its text and whoever shows it, and what was refused a moment ago. */
export class VerifyOnce<T> {
  readonly #refused = new Map<string, Refused>();
  readonly #verifying = new Map<string, Promise<Result<T>>>();

  constructor(readonly parts: { readonly snapshots: SnapshotHolder; readonly clock: Clock }) {}

  /** Refused ones that are remembered. */
  get refused(): number {
    return this.#refused.size;
  }

  /** Why it was refused a moment ago; undefined where it was not, or by what is not in force any more. */
  find(key: string, snapshot: Snapshot, nowMs: number): Result<never> | undefined {
    const refused = this.#refused.get(key);
    return refused !== undefined && refused.snapshot === snapshot && nowMs < refused.untilMs
      ? refused.result
      : undefined;
  }

  /** @param verify never rejects. */
  run(key: string, verify: () => Promise<Result<T>>): Promise<Result<T>> {
    const running = this.#verifying.get(key);
    if (running !== undefined) return running;
    if (this.#verifying.size >= MOST_AT_ONCE)
      return Promise.resolve(refuse('token_unverifiable', 'too many are being verified'));
    const verifying = this.#run(key, verify);
    this.#verifying.set(key, verifying);
    return verifying;
  }

  async #run(key: string, verify: () => Promise<Result<T>>): Promise<Result<T>> {
    try {
      const result = await verify();
      if (result.ok) this.#refused.delete(key);
      return result.ok ? result : this.#remember(key, result.error);
    } finally {
      this.#verifying.delete(key);
    }
  }

  #remember(key: string, refusal: Refusal): Result<never> {
    const { snapshots, clock } = this.parts;
    const result = err(refusal);
    const snapshot = snapshots.current;
    if (snapshot === undefined) return result;
    for (const oldest of this.#refused.keys()) {
      if (this.#refused.size < MOST_REFUSED) break;
      this.#refused.delete(oldest);
    }
    this.#refused.delete(key);
    this.#refused.set(key, { result, snapshot, untilMs: clock.nowMs() + REFUSED_MS });
    return result;
  }
}
