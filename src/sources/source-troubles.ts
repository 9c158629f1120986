import type { Snapshot } from '../snapshot.js';
import { DriftWatch } from './drift.js';
import type { Source } from './source.js';
import { type SourceSet, sourcesOf, trustOf } from './source-set.js';
import { staleLists } from './trust-source.js';

/** Told of what is wrong with sources, once each. */
export interface TroubleEvents {
  refused(source: string, error: string, current: Snapshot | undefined): void;
  /** A source in force has passed its own date (a CRL its nextUpdate). */
  stale(source: string, problem: string, current: Snapshot | undefined): void;
  /** Its files have differed from what is in force for more than a minute. */
  drifted(source: string, problem: string, current: Snapshot | undefined): void;
}

/** What is wrong with sources, and what of it has been said. */
export class SourceTroubles {
  readonly #reported = new Map<string, string>();
  readonly #drift = new DriftWatch();
  #stale: ReadonlyMap<string, string> = new Map();

  constructor(readonly events: TroubleEvents) {}

  /** @returns true where it was refused for a reason that has not been told yet. */
  look({ name, lastError: error }: Source, current: Snapshot | undefined): boolean {
    if (error === undefined) {
      this.#reported.delete(name);
      return false;
    }
    if (this.#reported.get(name) === error) return false;
    this.#reported.set(name, error);
    this.events.refused(name, error, current);
    return true;
  }

  /** A list that outlived its nextUpdate changes no file, so nothing else would tell. */
  lookForStale(sources: SourceSet, nowMs: number, current: Snapshot | undefined): void {
    const stale = new Map<string, string>();
    for (const trust of trustOf(sources))
      for (const [name, problem] of staleLists(trust, nowMs)) stale.set(name, problem);
    for (const source of sourcesOf(sources))
      if (source.stale !== undefined) stale.set(source.name, source.stale);
    const before = this.#stale;
    this.#stale = stale;
    for (const [name, problem] of stale)
      if (before.get(name) !== problem) this.events.stale(name, problem, current);
  }

  /** @param unapplied what of the configuration only a restart can bring into force. */
  lookForDrift(
    sources: readonly Source[],
    unapplied: readonly string[],
    current: Snapshot | undefined,
  ): void {
    const waiting = unapplied.length === 0 ? undefined : `${unapplied.join(', ')} needs a restart`;
    for (const [source, problem] of this.#drift.look(sources, waiting, performance.now()))
      this.events.drifted(source, problem, current);
  }

  staleOf(name: string): string | undefined {
    return this.#stale.get(name);
  }

  hasDrifted(name: string): boolean {
    return this.#drift.drifted.has(name);
  }
}
