import type { RequestRate } from '../config/config.js';
import { afterOne, FULL, type FullAt, isFull, remaining, underRate, waitMs } from './token-bucket.js';

/** So many callers have a bucket of their own: about 150 bytes and its name. */
const CAPACITY = 65_536;
/** Buckets for those beyond, each shared by the callers whose names hash to it. */
const SHARED_BUCKETS = 4096;
/** With each newcomer so many of those seen longest ago are looked at: more than come, so that full ones do not pile up. */
const LOOKED_AT = 2;

interface Bucket {
  fullAt: FullAt;
}

/**
 * A bucket for each caller. A full one says nothing and is forgotten; one that is not is kept, so that nobody escapes by
 * making us forget. Where more callers than fit have spent something, further ones share buckets: they may get less than their
 * limit, never more, and those who have one of their own do not feel it.
 */
export class PrincipalBuckets {
  #rate: RequestRate;
  readonly #buckets = new Map<string, Bucket>();
  /** Made when first needed. */
  #shared: Float64Array | undefined;

  constructor(
    rate: RequestRate,
    readonly capacity = CAPACITY,
  ) {
    this.#rate = rate;
  }

  get rate(): RequestRate {
    return this.#rate;
  }

  /** How many callers have a bucket of their own. */
  get size(): number {
    return this.#buckets.size;
  }

  /** Milliseconds until this caller may send a request; 0 = now. */
  waitMs(id: string, tickMs: number): number {
    return waitMs(this.#rate, this.#fullAt(id), tickMs);
  }

  /** Takes one. */
  take(id: string, tickMs: number): void {
    const bucket = this.#buckets.get(id) ?? this.#insert(id, tickMs);
    if (bucket !== undefined) bucket.fullAt = afterOne(this.#rate, bucket.fullAt, tickMs);
    else {
      this.#shared ??= new Float64Array(SHARED_BUCKETS);
      this.#shared[slotOf(id)] = afterOne(this.#rate, this.#shared[slotOf(id)]!, tickMs);
    }
  }

  remaining(id: string, tickMs: number): number {
    return remaining(this.#rate, this.#fullAt(id), tickMs);
  }

  /** Another rate is in force: nobody is given or robbed of what the old one left. */
  change(to: RequestRate, tickMs: number): void {
    const from = this.#rate;
    this.#rate = to;
    if (from.count === to.count && from.perMs === to.perMs && from.burst === to.burst) return;
    for (const bucket of this.#buckets.values()) bucket.fullAt = underRate(from, to, bucket.fullAt, tickMs);
    this.#shared = this.#shared?.map((fullAt) => underRate(from, to, fullAt, tickMs));
  }

  #fullAt(id: string): FullAt {
    return this.#buckets.get(id)?.fullAt ?? this.#shared?.[slotOf(id)] ?? FULL;
  }

  /** A bucket for a newcomer, as full as the shared one that it may have used; undefined where there is no room. */
  #insert(id: string, tickMs: number): Bucket | undefined {
    this.#forgetFull(tickMs);
    if (this.#buckets.size >= this.capacity) return undefined;
    const bucket = { fullAt: this.#fullAt(id) };
    this.#buckets.set(id, bucket);
    return bucket;
  }

  #forgetFull(tickMs: number): void {
    let left = Math.min(LOOKED_AT, this.#buckets.size);
    for (const [id, bucket] of this.#buckets) {
      if (left-- <= 0) return;
      this.#buckets.delete(id);
      if (!isFull(this.#rate, bucket.fullAt, tickMs)) this.#buckets.set(id, bucket); // behind all others: looked at last
    }
  }
}

/** FNV-1a. */
function slotOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % SHARED_BUCKETS;
}
