import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load.js';
import { loadConfigOffThread } from '../config/load-off-thread.js';
import { formatProblem } from '../config/problem.js';
import type { Policy } from '../policy/policy.js';
import { err, ok, type Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { DirectoryWatch } from './directory-watch.js';
import type { EmergencyRevocations } from './emergency-revocations.js';
import { FileSource, type SourceStatus } from './file-source.js';
import { joinSnapshot } from './join-snapshot.js';
import { restartNeededFor } from './restart-needed.js';
import { bundlesOf, connectSources, type OwnSvidCheck, type SourceSet, sourcesOf } from './source-set.js';
import { staleLists, type TrustSources } from './trust-source.js';

const POLL_MS = 1000;
/** Events of one change come in a row. */
const GATHER_MS = 2;
/** A policy up to this size is read in a few milliseconds; a larger one must not hold up requests. */
const OFF_THREAD_BYTES = 32 * 1024;

interface Loaded {
  readonly config: Config;
  readonly policy: Policy;
  readonly sources: SourceSet;
}

/** A source as /snapshot shows it. */
export interface KeptStatus extends SourceStatus {
  /** It is in force and out of date. */
  readonly stale: string | undefined;
}

/** Told of every change; `app.ts` turns it into logs, metrics, records and listeners that adopt. */
export interface KeeperEvents {
  adopted(source: string, next: Snapshot, before: Snapshot | undefined, causeMs: number): void;
  refused(source: string, error: string, current: Snapshot | undefined): void;
  /** A source in force has passed its own date (a CRL its nextUpdate). Told once. */
  stale(source: string, problem: string, current: Snapshot | undefined): void;
  /** A new configuration says something that only a restart can do. */
  restartNeeded(what: readonly string[]): void;
}

/** Keeps every source's last good value and joins them to the snapshot in force. The only writer of `current`. */
export class SnapshotKeeper {
  current: Snapshot | undefined;
  restartNeeded: readonly string[] = [];
  readonly #configSource: FileSource<Loaded>;
  /** What the configuration last read names, good or not: a better version of it may come. */
  #named: readonly string[] = [];
  /** Trust of a configuration that is still being judged. */
  #pendingTrust: readonly TrustSources[] = [];
  readonly #watch = new DirectoryWatch(() => this.#gather());
  readonly #checks = new WeakMap<FileSource<unknown>, Promise<boolean>>();
  readonly #reported = new Map<string, string>();
  #stale: ReadonlyMap<string, string> = new Map();
  #poll: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #started: Config | undefined;
  #closed = false;

  constructor(
    readonly file: string,
    readonly env: Readonly<Record<string, string | undefined>>,
    readonly nowMs: () => number,
    readonly events: KeeperEvents,
  ) {
    this.#configSource = new FileSource<Loaded>({
      name: 'config',
      files: () => [this.file],
      alsoFiles: () => this.#named,
      parse: (contents) => this.#parseConfig(contents),
      hasShrunk: (next, current) => hasLostDeny(next, current),
    });
  }

  /** Loads everything once. @returns what is wrong, source by source; nothing is in force then. */
  async start(): Promise<readonly string[]> {
    await this.#configSource.loadNow();
    const loaded = this.#configSource.value;
    if (loaded === undefined) return [this.#configSource.lastError ?? 'no configuration'];
    const problems: string[] = [];
    for (const source of sourcesOf(loaded.sources)) {
      await source.loadNow();
      if (source.value === undefined) problems.push(`${source.spec.name}: ${source.lastError}`);
    }
    if (problems.length > 0) return problems;
    this.#started = loaded.config;
    this.current = this.#join(loaded);
    this.#poll = setInterval(() => this.#tick(), POLL_MS);
    await this.#followFiles();
    this.#gather(); // what changed between the reading and the watching
    return [];
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#poll);
    clearTimeout(this.#gathering);
    this.#watch.close();
    this.emergency?.close();
  }

  /** SIGHUP and POST /reload: reads every source now. Resolves when each was adopted or refused. */
  async reload(): Promise<void> {
    await this.#refresh(this.#configSource as FileSource<unknown>);
    await Promise.all(this.#dependents().map((source) => this.#refresh(source)));
    // What was judged beside a source that has been adopted since.
    await Promise.all(
      this.#dependents()
        .filter((source) => source.lastError !== undefined)
        .map((source) => this.#refresh(source)),
    );
  }

  /** Where revocations of the admin listener go, if a file is named to keep them. */
  get emergency(): EmergencyRevocations | undefined {
    return this.#configSource.value?.sources.emergency;
  }

  /** Looks at one source now, and adopts what it finds. */
  look(source: FileSource<unknown>): Promise<unknown> {
    return this.#look(source, this.nowMs());
  }

  /** Puts in force what the owner of this source says now, whatever its file says. */
  rejoin(source: FileSource<unknown>): void {
    if (!this.#closed && this.#sources().includes(source)) this.#adopt(source, this.nowMs());
  }

  get status(): readonly KeptStatus[] {
    return this.#sources().map((source) => ({ ...source.status, stale: this.#stale.get(source.spec.name) }));
  }

  #gather(): void {
    if (this.#closed) return;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      this.#checkAll();
    }, GATHER_MS);
  }

  #tick(): void {
    this.#checkAll();
    this.#sayStale();
    void this.#followFiles();
  }

  /** Each source by itself: one that is still settling, or never does, holds up no other. */
  #checkAll(): void {
    const causeMs = this.nowMs();
    for (const source of this.#sources()) void this.#look(source, causeMs);
  }

  #look(source: FileSource<unknown>, causeMs: number): Promise<unknown> {
    const check = source.check();
    if (this.#checks.get(source) === check) return check; // waits for its turn already
    this.#checks.set(source, check);
    return check.then((adopted) => this.#checked(source, adopted, causeMs));
  }

  async #refresh(source: FileSource<unknown>): Promise<void> {
    const causeMs = this.nowMs();
    this.#checked(source, await source.refresh(), causeMs);
  }

  #checked(source: FileSource<unknown>, adopted: boolean, causeMs: number): void {
    // A source that a newer configuration no longer names has nothing to say.
    if (this.#closed || !this.#sources().includes(source)) return;
    if (adopted) this.#adopt(source, causeMs);
    this.#report(source);
  }

  #adopt(source: FileSource<unknown>, causeMs: number): void {
    const loaded = this.#configSource.value;
    if (loaded === undefined) return;
    const before = this.current;
    this.current = this.#join(loaded);
    this.events.adopted(source.spec.name, this.current, before, causeMs);
    if (source.value === loaded) this.#sayRestartNeeded(loaded.config);
    this.#sayStale();
    void this.#followFiles();
    // What failed for want of this (a new SVID ahead of its new authority) gets another chance.
    for (const other of this.#sources()) {
      if (other !== source && other.isUnsettled) void this.#refresh(other);
    }
  }

  #report(source: FileSource<unknown>): void {
    const { name } = source.spec;
    const error = source.lastError;
    if (error === undefined) return void this.#reported.delete(name);
    if (this.#reported.get(name) === error) return;
    this.#reported.set(name, error);
    this.events.refused(name, error, this.current);
    void this.#followFiles();
  }

  /** A list that outlived its nextUpdate changes no file, so nothing else would tell. */
  #sayStale(): void {
    const nowMs = this.nowMs();
    const stale = new Map<string, string>();
    for (const trust of this.#configSource.value?.sources.trust ?? []) {
      for (const [name, problem] of staleLists(trust, nowMs)) stale.set(name, problem);
    }
    const before = this.#stale;
    this.#stale = stale;
    for (const [name, problem] of stale) {
      if (before.get(name) !== problem) this.events.stale(name, problem, this.current);
    }
  }

  #sources(): FileSource<unknown>[] {
    return [this.#configSource as FileSource<unknown>, ...this.#dependents()];
  }

  #dependents(): FileSource<unknown>[] {
    const sources = this.#configSource.value?.sources;
    return sources === undefined ? [] : sourcesOf(sources);
  }

  async #parseConfig(contents: ReadonlyMap<string, Buffer>): Promise<Result<Loaded, string>> {
    const bytes = [...contents.values()].reduce((sum, file) => sum + file.length, 0);
    const load = bytes > OFF_THREAD_BYTES && this.#started !== undefined ? loadConfigOffThread : loadConfig;
    const { config, policy, policyFile, problems } = await load(this.file, this.env);
    if (policyFile !== undefined) this.#named = [policyFile];
    if (config === undefined || policy === undefined || problems.length > 0) {
      return err(problems.map(formatProblem).join('\n') || 'the configuration cannot be read');
    }
    const known = this.#configSource.value?.sources;
    const sources = connectSources(config, known, () => this.#ownSvidCheck());
    if (this.#started === undefined) return ok({ config, policy, sources });
    const failed = await this.#loadFresh(sources);
    return failed === undefined ? ok({ config, policy, sources }) : err(failed);
  }

  /** What a new configuration newly names must be good as well, or none of it counts: no list is ever dropped for a broken one. */
  async #loadFresh(set: SourceSet): Promise<string | undefined> {
    this.#pendingTrust = set.trust;
    const problems: string[] = [];
    for (const source of sourcesOf(set)) {
      if (source.value !== undefined) continue;
      await source.loadNow();
      if (source.value !== undefined) continue;
      problems.push(`${source.spec.name}: ${source.lastError}`);
      this.#named = [...this.#named, ...source.spec.files()];
    }
    this.#pendingTrust = [];
    return problems.length > 0 ? problems.join('\n') : undefined;
  }

  #ownSvidCheck(): OwnSvidCheck {
    const loaded = this.#configSource.value;
    const bundles = bundlesOf([...this.#pendingTrust, ...(loaded?.sources.trust ?? [])]);
    return { bundles, nowMs: this.nowMs(), clockSkewMs: loaded?.config.identityOptions.clockSkewMs ?? 0 };
  }

  #join({ config, policy, sources }: Loaded): Snapshot {
    return joinSnapshot(config, policy, sources, this.current);
  }

  #followFiles(): Promise<void> {
    if (this.#closed) return Promise.resolve();
    return this.#watch.follow(this.#sources().flatMap((source) => source.files));
  }

  /** Said, never silently ignored. */
  #sayRestartNeeded(config: Config): void {
    if (this.#started === undefined) return;
    this.restartNeeded = restartNeededFor(this.#started, config);
    if (this.restartNeeded.length > 0) this.events.restartNeeded(this.restartNeeded);
  }
}

/** A deny rule or a list that is gone gives access: the file may be half written. An allow rule that is gone only takes it. */
function hasLostDeny(next: Loaded, current: Loaded): boolean {
  const ids = new Set(next.policy.rules.map((rule) => rule.id));
  if (current.policy.rules.some((rule) => rule.effect === 'deny' && !ids.has(rule.id))) return true;
  if (current.config.revocationsFile !== undefined && next.config.revocationsFile === undefined) return true;
  const { emergencyRevocationsFile: emergency } = current.config;
  if (emergency !== undefined && next.config.emergencyRevocationsFile !== emergency) return true;
  const now = new Map(next.config.trust.map((entry) => [entry.trustDomain, entry.revocation.crlFiles]));
  return current.config.trust.some(({ trustDomain, revocation }) => {
    const files = now.get(trustDomain); // a domain that is gone gives no access
    return files !== undefined && revocation.crlFiles.some((file) => !files.includes(file));
  });
}
