import type { Findings, Place } from './verify-findings.js';

/** The beginning of a line that was not written to its end: a disk was full, or the process was killed. */
export interface Fragment {
  /** A copy. */
  readonly bytes: Buffer;
  readonly place: Place;
  /** The file ends in it. */
  readonly isCut: boolean;
  /** Another line stands behind it: who was torn ended its line after that, and left an empty one. */
  readonly isGlued: boolean;
}

const TORN = 'part of a line that was torn; it stands whole after it';
const MAX_BYTES = 8 * 1024 * 1024;
const MAX_FRAGMENTS = 100;
const MAX_ACCEPTED = 1000;

/** Fragments that wait for their whole line: only where that comes next of its stream was nothing altered. */
export class TornLines {
  /** Too short to say of which stream. */
  #nameless: Fragment[] = [];
  #bytes = 0;
  #count = 0;
  #glued = 0;
  /** Empty lines that came for glued ones. */
  #blanks = 0;
  /** What they begin stands whole after them: where a file ends in one, nothing of it is open. */
  readonly wholeLater = new Set<Place>();
  /** The line that followed may be theirs: many lines begin alike. */
  readonly #accepted: { readonly place: Place; readonly by: Place | undefined }[] = [];

  constructor(readonly findings: Findings) {}

  get isEmpty(): boolean {
    return this.#count === 0;
  }

  /** @param owner whose it is, where its beginning says so. False: it is no fragment that could be waited for. */
  add(owner: { torn: readonly Fragment[] } | undefined, fragment: Fragment): boolean {
    if (this.#bytes + fragment.bytes.length > MAX_BYTES || this.#count >= MAX_FRAGMENTS) return false;
    this.#bytes += fragment.bytes.length;
    this.#count++;
    if (fragment.isGlued) this.#glued++;
    if (owner === undefined) this.#nameless.push(fragment);
    else owner.torn = [...owner.torn, fragment];
    return true;
  }

  /** An empty line. False: it is none of those that a glued one leaves. */
  takeBlank(): boolean {
    if (this.#blanks >= this.#glued) return false;
    this.#blanks++;
    return true;
  }

  /** A whole line of this stream has come. */
  meet(owner: { torn: readonly Fragment[] }, line: Buffer, place: Place): void {
    for (const fragment of owner.torn) {
      this.#leave(fragment);
      if (isBegin(fragment, line) && this.#isEnded(fragment)) this.#accept(fragment, place);
      else refuseFragment(this.findings, fragment.place);
    }
    owner.torn = [];
    this.#nameless = this.#nameless.filter((fragment) => {
      if (!isBegin(fragment, line) || !this.#isEnded(fragment)) return true;
      this.#leave(fragment);
      this.#accept(fragment, undefined);
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

  /**
   * Nothing more comes. What was taken for the beginning of a line is one that was cut where a record is missing before that line.
   * @param missing where records are missing
   */
  end(missing: readonly Place[]): void {
    const last = missing.at(-1) ?? 0;
    for (const { place, by } of this.#accepted) {
      if (by === undefined ? place < last : missing.includes(by)) refuseFragment(this.findings, place);
      else {
        this.wholeLater.add(place);
        this.findings.note(place, TORN);
      }
    }
  }

  #leave({ bytes, isGlued }: Fragment): void {
    this.#bytes -= bytes.length;
    this.#count--;
    if (isGlued) this.#glued--;
  }

  /** Each empty line ends one. */
  #isEnded({ isGlued }: Fragment): boolean {
    if (!isGlued) return true;
    if (this.#blanks === 0) return false;
    this.#blanks--;
    return true;
  }

  #accept({ place }: Fragment, by: Place | undefined): void {
    if (this.#accepted.length < MAX_ACCEPTED) this.#accepted.push({ place, by });
    else this.findings.note(place, TORN);
  }
}

export const refuseFragment = (findings: Findings, place: Place): void =>
  findings.fail('not_a_record', place, undefined, 'not a record: altered, or cut');

/** Never all of it: then it would stand here twice. */
const isBegin = ({ bytes }: Fragment, line: Buffer): boolean =>
  bytes.length < line.length && bytes.compare(line, 0, bytes.length) === 0;
