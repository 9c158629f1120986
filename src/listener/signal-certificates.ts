import type { CredentialIndex } from './credential.js';

/** Where there are enough, they are not counted again before this long has passed: who opens connections must not set the price. */
const LOOK_AGAIN_MS = 1000;
/** IDs whose count is kept; only those with many certificates are counted at all. */
const MAX_COUNTED = 1000;

interface Counted {
  readonly atMs: number;
  readonly total: number;
  /** How often it was asked for since: no more can have come. */
  asked: number;
}

/** How many certificates of one ID are in use: with an open connection, or one within a while. */
export class CertificateCount {
  readonly #counted = new Map<string, Counted>();

  constructor(readonly credentials: CredentialIndex) {}

  /** Asked whenever a certificate that had no open connection gets one. Where there are fewer than `least`, no more than there are. */
  of(id: string, least: number, recentMs: number, nowMs: number): number {
    const known = this.credentials.countOfId(id);
    if (known < least) return known;
    const last = this.#counted.get(id);
    if (last !== undefined && isStillRight(last, least, nowMs)) return last.total;
    const total = this.#count(id, nowMs - recentMs);
    this.#counted.delete(id);
    this.#counted.set(id, { atMs: nowMs, total, asked: 0 });
    if (this.#counted.size > MAX_COUNTED) this.#counted.delete(this.#counted.keys().next().value ?? id);
    return total;
  }

  /** By the certificate alone: the same may come with this or that chain. */
  #count(id: string, sinceMs: number): number {
    const leaves = new Set<string>();
    for (const { svid, isRefused, connections, seenAtMs } of this.credentials.ofId(id))
      if (svid !== undefined && !isRefused && (connections.size > 0 || seenAtMs >= sinceMs))
        leaves.add(svid.leaf.sha256);
    return leaves.size;
  }
}

function isStillRight(last: Counted, least: number, nowMs: number): boolean {
  if (last.total < least) return last.total + ++last.asked < least;
  return nowMs >= last.atMs && nowMs - last.atMs < LOOK_AGAIN_MS;
}
