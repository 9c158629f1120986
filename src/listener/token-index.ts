import type { Result } from '../reasons.js';
import { refuse } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { SnapshotHolder, TokenAuthority } from './ports.js';
import type { TokenCredential } from './token-credential.js';

/** What a token is worth: by each entry of the configuration that takes it, in their order. Never empty. */
export type Readings = readonly TokenCredential[];

/** Verified tokens by their text, so that one that comes again costs a look-up. */
export class TokenIndex {
  readonly #byText = new Map<string, Readings>();

  constructor(
    readonly snapshots: SnapshotHolder,
    readonly authority: TokenAuthority,
  ) {}

  get size(): number {
    return this.#byText.size;
  }

  /** @returns undefined where it has to be verified. */
  find(text: string, _snapshot: Snapshot, _nowMs: number): Readings | undefined {
    return this.#byText.get(text);
  }

  /** Verifies it under the snapshot in force; never rejects. */
  async verify(_text: string): Promise<Result<Readings>> {
    return refuse('token_unverifiable', 'no tokens are verified here yet');
  }
}
