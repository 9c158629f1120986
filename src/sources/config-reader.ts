import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load.js';
import { loadConfigOffThread } from '../config/load-off-thread.js';
import { formatProblems } from '../config/problem.js';
import { shareLimits, type TooSmall, tooSmallToShare } from '../config/share-limits.js';
import type { Policy } from '../policy/policy.js';
import type { Registry } from '../policy/registry.js';
import { err, ok, type Result } from '../reasons.js';
import type { Source } from './source.js';
import { type SourceSet, sourcesOf } from './source-set.js';

/** A policy up to this size is read in a few milliseconds; a larger one must not hold up requests. */
const OFF_THREAD_BYTES = 32 * 1024;

/** A configuration that is good, with its policy, its registry and every source that it names. */
export interface Loaded {
  readonly config: Config;
  readonly policy: Policy;
  readonly sources: SourceSet;
}

export interface ConfigPlace {
  readonly file: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Processes that share the configured limits. */
  readonly workers: number;
  nowMs(): number;
}

/** Reads configurations and opens what they newly name; closes again what never came into force, or no longer is. */
export class ConfigReader {
  /** What the configuration last read names, good or not: a better version of it may come. */
  named: readonly string[] = [];
  /** Sources of a configuration that is still being judged. */
  pending: SourceSet | undefined;
  /** Sources in force, and at work. */
  #open: ReadonlySet<Source> = new Set();
  /** At work for a configuration that is still being judged. */
  #tentative = new Set<Source>();

  constructor(
    readonly place: ConfigPlace,
    /** Those already in force keep their last good. */
    readonly connect: (config: Config) => SourceSet,
  ) {}

  /** @param isFirst the caller loads what it names, and asks for all of it to be good. */
  async read(contents: ReadonlyMap<string, Buffer>, isFirst: boolean): Promise<Result<Loaded, string>> {
    const { file, env, workers, nowMs } = this.place;
    const bytes = [...contents.values()].reduce((sum, { length }) => sum + length, 0);
    const load = bytes > OFF_THREAD_BYTES && !isFirst ? loadConfigOffThread : loadConfig;
    const { config: whole, policy, namedFiles, problems } = await load(file, env, nowMs());
    if (namedFiles.length > 0) this.named = namedFiles;
    if (whole === undefined || policy === undefined || problems.length > 0) {
      return err(formatProblems(problems) || 'the configuration cannot be read');
    }
    const tooSmall = tooSmallToShare(whole, workers);
    if (tooSmall.length > 0) return err(tooSmall.map(formatTooSmall).join('\n'));
    const config = shareLimits(whole, workers);
    const sources = this.connect(config);
    const failed = isFirst ? undefined : await this.#loadFresh(sources);
    return failed === undefined ? ok({ config, policy, sources }) : err(failed);
  }

  /** It is in force: what it no longer names polls and listens no more. */
  adopted({ sources, config }: Loaded): void {
    const named = new Set(sourcesOf(sources));
    const domains = new Set(config.trust.map(({ trustDomain }) => `bundle:${trustDomain}`));
    for (const source of this.#open) if (!named.has(source)) source.close(!domains.has(source.name));
    this.#open = named;
    this.#tentative = new Set();
  }

  close(): void {
    for (const source of this.#tentative) source.close(false);
    this.#tentative = new Set();
  }

  /**
   * What a new configuration newly names must be good as well, or none of it counts: no list is ever dropped for a broken
   * one. What was there before is not asked again: a bundle that broke in its folder must not hold up a policy.
   */
  async #loadFresh(set: SourceSet): Promise<string | undefined> {
    this.pending = set;
    this.close(); // of one that was read before and did not come into force
    const problems: string[] = [];
    for (const source of sourcesOf(set)) {
      if (source.hasValue || this.#isKept(source, set)) continue;
      this.#tentative.add(source);
      await source.loadNow();
      if (source.hasValue || source.isAwaited) continue;
      problems.push(`${source.name}: ${source.lastError}`);
      this.named = [...this.named, ...source.files];
    }
    this.pending = undefined;
    if (problems.length === 0) return undefined;
    this.close();
    return problems.join('\n');
  }

  /** In force already, by itself or by the folder that it lies in. */
  #isKept(source: Source, { folders }: SourceSet): boolean {
    if (this.#open.has(source)) return true;
    return folders.some(
      (folder) => this.#open.has(folder) && folder.trust.some(({ own }) => own.includes(source)),
    );
  }
}

/** With `workers: auto` this shows only here, where their number is known. */
const formatTooSmall = ({ path, message }: TooSmall): string => `${path.join('.')}: ${message}`;

/** A deny rule or a list that is gone gives access: the file may be half written. An allow rule that is gone only takes it. */
export function hasLostDeny(next: Loaded, current: Loaded): boolean {
  const ids = new Set(next.policy.rules.map((rule) => rule.id));
  if (current.policy.rules.some((rule) => rule.effect === 'deny' && !ids.has(rule.id))) return true;
  if (hasLostOwners(next.policy.registry, current.policy.registry)) return true;
  if (current.config.revocationsFile !== undefined && next.config.revocationsFile === undefined) return true;
  const { emergencyRevocationsFile: emergency } = current.config;
  if (emergency !== undefined && next.config.emergencyRevocationsFile !== emergency) return true;
  const now = new Map(next.config.trust.map((entry) => [entry.trustDomain, entry.revocation.crlFiles]));
  return current.config.trust.some(({ trustDomain, revocation }) => {
    const files = now.get(trustDomain); // a domain that is gone gives no access
    return files !== undefined && revocation.crlFiles.some((file) => !files.includes(file));
  });
}

/** Who is not registered may be refused, and conditions of deny rules may read who is: half a registry gives access as well. */
function hasLostOwners(next: Registry | undefined, current: Registry | undefined): boolean {
  if (current === undefined) return false;
  if (next === undefined) return true;
  if (current.unregistered === 'deny' && next.unregistered !== 'deny') return true;
  return next.entries.length < current.entries.length || placed(next) < placed(current);
}

const placed = ({ entries }: Registry): number =>
  entries.reduce((sum, { environment }) => sum + (environment === undefined ? 0 : 1), 0);
