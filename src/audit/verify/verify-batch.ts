import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import type { Place } from './verify-findings.js';

/** More than a writer can have waiting: beyond, lines are only counted, and no seal proves them. */
const MAX_RECORDS = 1024 * 1024;
const FIRST_ROOM = 64;
const NEWLINE = Buffer.of(0x0a);
const NOTHING = createHash('sha256').digest('base64url');

/** The lines of a stream since its newest seal: their hash under way and, to tell which line it is, a checksum of each. */
export class OpenBatch {
  #hash: Hash | undefined;
  #crcs = new Uint32Array(0);
  #seqs = new Float64Array(0);
  #places = new Float64Array(0);
  records = 0;
  lastSeq = 0;
  /** As its first record says. */
  firstTime = '';

  /** @param line without its newline */
  add(line: Buffer, seq: number, place: Place): void {
    this.#hash ??= createHash('sha256');
    this.#hash.update(line).update(NEWLINE);
    this.lastSeq = seq;
    const at = this.records++;
    if (at >= MAX_RECORDS) return;
    if (at === this.#crcs.length) this.#grow();
    this.#crcs[at] = crc32(line);
    this.#seqs[at] = seq;
    this.#places[at] = place;
  }

  #grow(): void {
    const room = Math.max(FIRST_ROOM, this.#crcs.length * 2);
    const [crcs, seqs, places] = [this.#crcs, this.#seqs, this.#places];
    this.#crcs = new Uint32Array(room);
    this.#crcs.set(crcs);
    this.#seqs = new Float64Array(room);
    this.#seqs.set(seqs);
    this.#places = new Float64Array(room);
    this.#places.set(places);
  }

  get isTooLong(): boolean {
    return this.records > MAX_RECORDS;
  }

  get crcs(): Uint32Array {
    return this.#crcs.subarray(0, this.records);
  }

  get seqs(): Float64Array {
    return this.#seqs.subarray(0, this.records);
  }

  get places(): Float64Array {
    return this.#places.subarray(0, this.records);
  }

  get firstSeq(): number {
    return this.#seqs[0] ?? 0;
  }

  get firstPlace(): Place | undefined {
    return this.records === 0 ? undefined : this.#places[0];
  }

  /** base64url SHA-256 of the lines so far, newlines included, and then of `more`. */
  digest(more: readonly Buffer[] = []): string {
    if (this.#hash === undefined && more.length === 0) return NOTHING;
    const hash = this.#hash?.copy() ?? createHash('sha256');
    for (const line of more) hash.update(line).update(NEWLINE);
    return hash.digest('base64url');
  }
}
