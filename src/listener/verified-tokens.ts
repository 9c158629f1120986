import type { Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { Readings } from './token-credential.js';

/** A token that is remembered. */
export interface KeptToken {
  readonly result: Extract<Result<Readings>, { readonly ok: true }>;
  /** That it was last found to hold under. */
  snapshot: Snapshot;
}

interface Entry extends KeptToken {
  readonly text: string;
  readonly units: number;
  readonly notAfterMs: number;
  /** Since it was last thought of giving up. */
  isUsed: boolean;
}

/** Longer ones take the place of several: their number must bound the memory. */
const UNIT = 4096;
/** Looking for those that have expired costs a walk. */
const LOOK_AGAIN_MS = 1000;
/** A power of two. */
const RECENT = 1024;

/** The most recently used tokens by their text. Where there is no room, the expired go first. */
export class VerifiedTokens {
  readonly #byText = new Map<string, Entry>();
  /**
   * The last of each slot. A Map hashes a thousand characters anew at every request, which costs several times what comparing
   * them does. It may stop at the first difference, as that of the Map does behind its hash: what the time tells is nanoseconds,
   * and whoever guesses must have the claims and the end of the signature right before there is anything to compare.
   */
  readonly #recent = new Array<Entry | undefined>(RECENT).fill(undefined);
  #units = 0;
  #lookedMs = Number.NEGATIVE_INFINITY;

  get size(): number {
    return this.#byText.size;
  }

  get(text: string): KeptToken | undefined {
    const slot = slotOf(text);
    const recent = this.#recent[slot];
    const entry = recent?.text === text ? recent : this.#byText.get(text);
    if (entry === undefined) return undefined;
    entry.isUsed = true;
    this.#recent[slot] = entry;
    return entry;
  }

  /** @param most of 4 KiB each. */
  set(text: string, kept: KeptToken, most: number, nowMs: number): void {
    this.delete(text);
    const units = Math.ceil(text.length / UNIT);
    this.#makeRoom(most - units, nowMs);
    const notAfterMs = Math.max(...kept.result.value.map(({ token }) => token.notAfterMs));
    this.#byText.set(text, { ...kept, text, units, notAfterMs, isUsed: false });
    this.#units += units;
  }

  delete(text: string): void {
    this.#units -= this.#byText.get(text)?.units ?? 0;
    this.#byText.delete(text);
    const slot = slotOf(text);
    if (this.#recent[slot]?.text === text) this.#recent[slot] = undefined;
  }

  #makeRoom(most: number, nowMs: number): void {
    if (this.#units > most) this.#forgetExpired(nowMs);
    // One that was used gets a second turn: those that are put back come again, and go then.
    for (const [text, entry] of this.#byText) {
      if (this.#units <= most) return;
      const { isUsed } = entry;
      this.delete(text);
      if (!isUsed) continue;
      entry.isUsed = false;
      this.#byText.set(text, entry);
      this.#units += entry.units;
    }
  }

  #forgetExpired(nowMs: number): void {
    if (nowMs >= this.#lookedMs && nowMs - this.#lookedMs < LOOK_AGAIN_MS) return;
    this.#lookedMs = nowMs;
    for (const [text, { notAfterMs }] of this.#byText) if (nowMs >= notAfterMs) this.delete(text);
  }
}

/** By the end of its signature. The very last character may hold two bits alone. */
const slotOf = (text: string): number =>
  (text.charCodeAt(text.length - 2) * 37 + text.charCodeAt(text.length - 3)) & (RECENT - 1);
