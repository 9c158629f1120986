import { FACETS, type FacetName } from './record-facets.js';
import type { ScannedRecord } from './record-scanner.js';

/** Records that are alike in what they are counted by. */
export interface RecordGroup {
  /** In the order that was asked for; undefined where a record has none. */
  readonly values: readonly (string | undefined)[];
  records: number;
  refused: number;
  firstSeen: string;
  lastSeen: string;
}

/** Groups that are kept; what is read must not fill the memory. */
const MAX_GROUPS = 100_000;
/** Of all their values: a path that a client made up may be thousands of characters long. */
const MAX_CHARACTERS = 16 * 1024 * 1024;

/** Counts records by some of their facets. */
export class RecordGroups {
  /** Records of further groups than are kept. */
  ungrouped = 0;
  #characters = 0;
  readonly #groups = new Map<string, RecordGroup>();

  constructor(
    readonly by: readonly FacetName[],
    readonly maxGroups = MAX_GROUPS,
    readonly maxCharacters = MAX_CHARACTERS,
  ) {}

  add(record: ScannedRecord): void {
    const values = this.by.map((name) => FACETS[name](record));
    const key = JSON.stringify(values.map((value) => value ?? null));
    const group = this.#groups.get(key) ?? this.#begin(key, values, record.time);
    if (group === undefined) {
      this.ungrouped++;
      return;
    }
    group.records++;
    if (FACETS.effect(record) === 'deny') group.refused++;
    if (record.time < group.firstSeen) group.firstSeen = record.time;
    if (record.time > group.lastSeen) group.lastSeen = record.time;
  }

  /** The largest first. */
  get all(): readonly RecordGroup[] {
    return [...this.#groups.values()].sort((a, b) => b.records - a.records);
  }

  #begin(key: string, values: RecordGroup['values'], time: string): RecordGroup | undefined {
    if (this.#groups.size >= this.maxGroups || this.#characters + key.length > this.maxCharacters)
      return undefined;
    this.#characters += key.length;
    const group = { values, records: 0, refused: 0, firstSeen: time, lastSeen: time };
    this.#groups.set(key, group);
    return group;
  }
}
