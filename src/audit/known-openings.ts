import type { RecordOpening } from './record-scanner.js';

interface Known {
  readonly text: string;
  readonly opening: RecordOpening;
}

/** Places; a power of two. */
const PLACES = 2048;
/** Openings of one place; of more the one that came first is forgotten. */
const PER_PLACE = 4;
/** Characters looked at to find the place. They differ in the digits of certificate and key. */
const SAMPLES = 48;

/** Openings by their text, at most 8192 of them. A Map would read every character of each text to find it: half the cost of a line. */
export class KnownOpenings {
  readonly #places: Known[][] = Array.from({ length: PLACES }, () => []);

  get(text: string): RecordOpening | undefined {
    for (const known of this.#places[placeOf(text)]!) if (known.text === text) return known.opening;
    return undefined;
  }

  add(text: string, opening: RecordOpening): void {
    const place = this.#places[placeOf(text)]!;
    if (place.length >= PER_PLACE) place.shift();
    place.push({ text: copyOf(text), opening });
  }
}

function placeOf(text: string): number {
  let hash = text.length;
  const step = Math.max(1, Math.floor(text.length / SAMPLES));
  for (let at = text.length - 1; at >= 0; at -= step) hash = (Math.imul(hash, 31) + text.charCodeAt(at)) | 0;
  return (hash ^ (hash >>> 15)) & (PLACES - 1);
}

/** A part of a string keeps the whole of it in memory. */
const copyOf = (text: string): string => Buffer.from(text).toString();
