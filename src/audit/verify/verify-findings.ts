import type { StreamName } from '../seal-line.js';

/** Where a line is: as one number, so that a batch of thousands keeps it cheaply. */
export type Place = number;

const LINES = 2 ** 32;

/** @param file index; @param line from 1. Later lines of later files are greater. */
export const placeOf = (file: number, line: number): Place => file * LINES + line;

export type FindingKind =
  | 'altered'
  | 'missing'
  | 'out_of_order'
  | 'repeated'
  | 'inserted'
  | 'unknown_stream'
  | 'seal_altered'
  | 'seal_missing'
  | 'unknown_key'
  | 'not_a_record'
  | 'after_the_end'
  | 'head';

/** One thing that is wrong. */
export interface Finding {
  readonly kind: FindingKind;
  /** undefined = of no line: something is not there. */
  readonly place: Place | undefined;
  readonly stream: StreamName | undefined;
  /** In words. */
  readonly what: string;
}

/** A remark about something that is as it may be. */
export interface Note {
  readonly place: Place;
  readonly what: string;
}

const MAX_KEPT = 1000;

/** What was found, the first of all places at least: findings come batch by batch, and there may be as many as lines. */
export class Findings {
  readonly #kept: Finding[] = [];
  readonly #notes: Note[] = [];
  count = 0;
  notesCount = 0;

  fail(kind: FindingKind, place: Place | undefined, stream: StreamName | undefined, what: string): void {
    this.count++;
    this.#kept.push({ kind, place, stream, what });
    if (this.#kept.length >= 2 * MAX_KEPT) this.#drop();
  }

  note(place: Place, what: string): void {
    if (++this.notesCount <= MAX_KEPT) this.#notes.push({ place, what });
  }

  /** By place; what has none comes last. */
  get kept(): readonly Finding[] {
    this.#drop();
    return this.#kept;
  }

  get notes(): readonly Note[] {
    return this.#notes;
  }

  #drop(): void {
    this.#kept.sort((a, b) => (a.place ?? Number.MAX_VALUE) - (b.place ?? Number.MAX_VALUE));
    this.#kept.length = Math.min(this.#kept.length, MAX_KEPT);
  }
}

/** `file:line` of a place. */
export const showPlace = (place: Place, files: readonly string[]): string =>
  `${files[Math.floor(place / LINES)] ?? ''}:${place % LINES}`;
