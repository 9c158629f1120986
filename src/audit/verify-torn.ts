import type { Findings, Place } from './verify-findings.js';
import { OPENING } from './verify-line.js';

/** The beginning of a line that was not written to its end: a disk was full, or the process was killed. */
export interface Fragment {
  /** A copy. */
  readonly bytes: Buffer;
  readonly place: Place;
  /** The file ends in it. */
  readonly isCut: boolean;
}

const MAX_BYTES = 8 * 1024 * 1024;
const MAX_FRAGMENTS = 100;

/** Could these bytes be the beginning of some line? */
export const looksBegun = (bytes: Buffer): boolean => {
  const length = Math.min(bytes.length, OPENING.length);
  return length > 0 && bytes.compare(OPENING, 0, length, 0, length) === 0;
};

/** Fragments that wait for their whole line: only where that comes next of its stream was nothing altered. */
export class TornLines {
  /** Too short to say of which stream. */
  #nameless: Fragment[] = [];
  #bytes = 0;
  #count = 0;

  constructor(readonly findings: Findings) {}

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** @param owner whose it is, where its beginning says so. False: it is no fragment that could be waited for. */
  add(owner: { torn: readonly Fragment[] } | undefined, fragment: Fragment): boolean {
    if (this.#bytes + fragment.bytes.length > MAX_BYTES || this.#count >= MAX_FRAGMENTS) return false;
    this.#bytes += fragment.bytes.length;
    this.#count++;
    if (owner === undefined) this.#nameless.push(fragment);
    else owner.torn = [...owner.torn, fragment];
    return true;
  }

  /** A whole line of this stream has come. */
  meet(owner: { torn: readonly Fragment[] }, line: Buffer): void {
    for (const fragment of owner.torn) {
      this.#leave(fragment);
      if (isBegin(fragment, line)) this.#accept(fragment);
      else refuseFragment(this.findings, fragment.place);
    }
    owner.torn = [];
    this.#nameless = this.#nameless.filter((fragment) => {
      if (!isBegin(fragment, line)) return true;
      this.#leave(fragment);
      this.#accept(fragment);
      return false;
    });
  }

  /** Those that nobody's line followed. */
  get nameless(): readonly Fragment[] {
    return this.#nameless;
  }

  /** They are somebody else's matter now. */
  release(fragments: readonly Fragment[]): void {
    for (const fragment of fragments) this.#leave(fragment);
  }

  #leave({ bytes }: Fragment): void {
    this.#bytes -= bytes.length;
    this.#count--;
  }

  #accept({ place }: Fragment): void {
    this.findings.note(place, 'part of a line that was torn; it stands whole after it');
  }
}

export const refuseFragment = (findings: Findings, place: Place): void =>
  findings.fail('not_a_record', place, undefined, 'not a record: altered, or cut');

const isBegin = ({ bytes }: Fragment, line: Buffer): boolean =>
  bytes.length <= line.length && bytes.compare(line, 0, bytes.length) === 0;
