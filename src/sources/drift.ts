import type { Source } from './source.js';

/** A file that says something else than what is in force gets this long to be mended, or waited for. */
const DRIFT_MS = 60_000;

/** What is on disk and is not in force: how long that has been so, source by source. Ticks are of the monotonic clock. */
export class DriftWatch {
  readonly #sinceTickMs = new Map<string, number>();
  readonly #told = new Set<string>();

  /** @returns those that have differed for longer than a minute since they were last told of. */
  look(sources: readonly Source[], unapplied: string | undefined, tickMs: number): [string, string][] {
    const differing = new Map<string, string>();
    for (const { name, files, hasValue, lastError } of sources)
      if (hasValue && files.length > 0 && lastError !== undefined) differing.set(name, lastError);
    if (unapplied !== undefined && !differing.has('config')) differing.set('config', unapplied);
    for (const name of this.#sinceTickMs.keys()) {
      if (differing.has(name)) continue;
      this.#sinceTickMs.delete(name);
      this.#told.delete(name);
    }
    const fresh: [string, string][] = [];
    for (const [name, problem] of differing) {
      const since = this.#sinceTickMs.get(name);
      if (since === undefined) this.#sinceTickMs.set(name, tickMs);
      else if (tickMs - since >= DRIFT_MS && !this.#told.has(name)) {
        this.#told.add(name);
        fresh.push([name, problem]);
      }
    }
    return fresh;
  }

  /** Told of, and still so. */
  get drifted(): ReadonlySet<string> {
    return this.#told;
  }
}
