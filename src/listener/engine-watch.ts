import type { Snapshot } from '../snapshot.js';
import type { ExternalAnswer } from './ports.js';

/** An answer is asked for again when it runs out, and at the latest after so long. */
const ASK_AGAIN_MS = 60_000;
/** However short an answer holds, one tunnel must not ask without pause. */
const LEAST_MS = 1000;
/** Without an answer a tunnel goes on for so long: an engine that restarts must not end them all. */
const GRACE_MS = 30_000;
const RETRY_MS = 5000;
const RETRY_BUSY_MS = 500;

/** When an open tunnel is to be asked about again, and when no answer is answer enough. Ticks are of the monotonic clock. */
export class EngineWatch {
  /** What had not been asked about before it was opened is due at once. */
  #dueMs = 0;
  #isAsking = false;
  /** Since when it has been due; undefined while an answer holds. */
  #overdueSinceMs: number | undefined;
  #snapshot: Snapshot | undefined;

  /** True once for each question that is to be asked: `answered` follows. */
  isDue(tickMs: number, snapshot: Snapshot): boolean {
    if (this.#isAsking) return false;
    const isChanged = snapshot.policy !== this.#snapshot?.policy || snapshot.config !== this.#snapshot.config;
    if (!isChanged && tickMs < this.#dueMs) return false;
    this.#isAsking = true;
    this.#overdueSinceMs ??= tickMs;
    return true;
  }

  /** @returns why the tunnel is to end now, if it is. @param snapshot that the question was of. */
  answered(
    { result, validForMs, isBusy }: ExternalAnswer,
    snapshot: Snapshot,
    tickMs: number,
  ): 'external_denied' | 'external_unavailable' | undefined {
    this.#isAsking = false;
    this.#snapshot = snapshot;
    if (result === 'deny') return 'external_denied';
    if (result === 'allow') {
      this.#overdueSinceMs = undefined;
      const holdsMs = validForMs === 0 ? ASK_AGAIN_MS : validForMs;
      this.#dueMs = tickMs + Math.min(ASK_AGAIN_MS, Math.max(LEAST_MS, holdsMs));
      return undefined;
    }
    if (tickMs - (this.#overdueSinceMs ?? tickMs) >= GRACE_MS) return 'external_unavailable';
    // Ten thousand tunnels that are due at once must not come back at once.
    this.#dueMs = tickMs + (isBusy ? RETRY_BUSY_MS : RETRY_MS) * (1 + Math.random());
    return undefined;
  }
}
