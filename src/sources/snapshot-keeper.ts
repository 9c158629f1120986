import { setImmediate as nextTurn } from 'node:timers/promises';
import type { SealKey } from '../audit/seal-key.js';
import type { Config } from '../config/config.js';
import { judgeSvid } from '../identity/revocation.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import type { VerifiedSvid } from '../identity/x509-svid.js';
import type { Policy } from '../policy/policy.js';
import type { Refusal, Result } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import type { AssertionKeySource } from './assertion-key-source.js';
import { ConfigReader, hasLostDeny, type Loaded } from './config-reader.js';
import { DirectoryWatch } from './directory-watch.js';
import type { EmergencyRevocations } from './emergency-revocations.js';
import type { PeerReader } from './endpoint-connection.js';
import { FileSource } from './file-source.js';
import type { GrantStore } from './grant-store.js';
import { joinSnapshot, revocationsOf } from './join-snapshot.js';
import type { NotValidated } from './jwt-svid-validator.js';
import { restartNeededFor } from './restart-needed.js';
import type { Source, SourceHost, SourceStatus } from './source.js';
import {
  bundlesOf,
  connectSources,
  type OwnSvidCheck,
  type SourceSet,
  sourcesOf,
  trustOf,
} from './source-set.js';
import { SourceTroubles, type TroubleEvents } from './source-troubles.js';
import { TokenDesk } from './token-desk.js';
import { revocationPolicyOf } from './trust-source.js';

const POLL_MS = 1000;
/** Events of one change come in a row. */
const GATHER_MS = 2;
/** Looking at a thousand files takes tens of milliseconds: requests get their turn in between. */
const CHECKS_IN_A_ROW = 32;

/** A source as /snapshot shows it. */
export interface KeptStatus extends SourceStatus {
  /** It is in force and out of date. */
  readonly stale: string | undefined;
  /** Nothing has come of it yet. */
  readonly awaited: boolean;
  /** Its files have said something else than what is in force for more than a minute. */
  readonly drifted: boolean;
  /** We are ready without it. */
  readonly optional: boolean;
}

/** Told of every change; `app` turns it into logs, metrics, records and listeners that adopt. */
export interface KeeperEvents extends TroubleEvents {
  adopted(source: string, next: Snapshot, before: Snapshot | undefined, causeMs: number): void;
  /** A source that has to be asked gave something new, and nobody told us to ask. */
  found(source: string): void;
  /** Something in force that is out of the ordinary. */
  noted(source: string, note: string): void;
  /** A new configuration says something that only a restart can do. */
  restartNeeded(what: readonly string[]): void;
}

/** Keeps every source's last good value and joins them to the snapshot in force. The only writer of `current`. */
export class SnapshotKeeper implements SourceHost {
  current: Snapshot | undefined;
  restartNeeded: readonly string[] = [];
  readonly #configSource: FileSource<Loaded>;
  readonly #reader: ConfigReader;
  /** `#sources()` as a set, until something is adopted. */
  #members: ReadonlySet<Source> | undefined;
  readonly #watch = new DirectoryWatch(() => this.#gather());
  readonly #checks = new WeakMap<Source, Promise<boolean>>();
  /** Being asked because we were told to. */
  readonly #polled = new Set<Source>();
  readonly #troubles: SourceTroubles;
  readonly #tokenDesk = new TokenDesk(() => {
    const loaded = this.#configSource.value;
    return loaded && { tokens: loaded.sources.tokens, agent: loaded.config.workloadApi?.socket };
  });
  #poll: NodeJS.Timeout | undefined;
  #gathering: NodeJS.Timeout | undefined;
  #started: Config | undefined;
  #closed = false;

  constructor(
    file: string,
    env: Readonly<Record<string, string | undefined>>,
    readonly nowMs: () => number,
    readonly events: KeeperEvents,
    /** Reads what a TLS server presented. */
    readonly readPeer: PeerReader,
    /** Processes that share the configured limits. */
    workers = 1,
  ) {
    this.#troubles = new SourceTroubles(events);
    const connect = (config: Config): SourceSet =>
      connectSources(config, this.#present, (identity) => this.#ownSvidCheck(identity), this);
    this.#reader = new ConfigReader({ file, env, workers, nowMs }, connect);
    this.#configSource = new FileSource<Loaded>({
      name: 'config',
      files: () => [file],
      alsoFiles: () => this.#reader.named,
      parse: (contents) => this.#reader.read(contents, this.#started === undefined),
      hasShrunk: (next, current) => hasLostDeny(next, current),
    });
  }

  /**
   * Loads everything once. @returns what is wrong, source by source; nothing is in force then. What has to come from
   * elsewhere is asked for and not waited for: without an SVID of ours, `current` follows when it is there.
   */
  async start(): Promise<readonly string[]> {
    await this.#configSource.loadNow();
    const loaded = this.#configSource.value;
    if (loaded === undefined) return [this.#configSource.lastError ?? 'no configuration'];
    const problems: string[] = [];
    for (const source of sourcesOf(loaded.sources)) {
      if (!source.hasValue) await source.loadNow();
      if (!source.hasValue && !source.isAwaited) problems.push(`${source.name}: ${source.lastError}`);
    }
    if (problems.length > 0) return problems;
    this.#started = loaded.config;
    this.#reader.adopted(loaded);
    this.#put(this.#join(loaded), 'config', this.nowMs());
    this.#poll = setInterval(() => this.#tick(), POLL_MS);
    await this.#followFiles();
    this.#gather(); // what changed between the reading and the watching
    return [];
  }

  close(): void {
    this.#closed = true;
    for (const source of this.#dependents()) source.close(false);
    this.#reader.close();
    clearInterval(this.#poll);
    clearTimeout(this.#gathering);
    this.#watch.close();
    this.#tokenDesk.close();
    this.emergency?.close();
    this.grants?.close();
  }

  /** SIGHUP and POST /reload: reads every source now. Resolves when each was adopted or refused. */
  async reload(): Promise<void> {
    await this.#refresh(this.#configSource);
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
    return this.#present?.emergency;
  }

  /** Where exceptions of the admin listener go, if a file is named to keep them. */
  get grants(): GrantStore | undefined {
    return this.#present?.grants;
  }

  /** The key that signs seals, if there are to be any. */
  get assertionKey(): AssertionKeySource | undefined {
    return this.#present?.assertionKey;
  }

  get sealKey(): FileSource<SealKey> | undefined {
    return this.#present?.sealKey;
  }

  /** The policy file's own, without grants. */
  get ownPolicy(): Policy | undefined {
    return this.#configSource.value?.policy;
  }

  /** Looks at one source now, and adopts what it finds. */
  look(source: Source): Promise<unknown> {
    return this.#look(source, this.nowMs());
  }

  /** Puts in force what the owner of this source says now, whatever its file says. */
  rejoin(source: Source): void {
    if (!this.#closed && this.#sources().includes(source)) this.#adopt(source, this.nowMs());
  }

  /** Its own value is in force and out of date. */
  isOutdated(name: string): boolean {
    return this.#sources().some((source) => source.name === name && source.stale !== undefined);
  }

  get status(): readonly KeptStatus[] {
    return this.#sources().map((source) => ({
      ...source.status,
      stale: source.stale ?? this.#troubles.staleOf(source.name),
      awaited: source.isAwaited,
      drifted: this.#troubles.hasDrifted(source.name),
      optional: source.isOptional ?? false,
    }));
  }

  /** The configuration in force, also before there is a snapshot. */
  get config(): Config | undefined {
    return this.#configSource.value?.config;
  }

  // --- what sources that speak up by themselves need ------------------------------------------------------------------------

  adopted(source: Source): void {
    if (this.#closed || !this.#sourceSet().has(source)) return;
    this.#adopt(source, this.nowMs());
    if (!this.#polled.has(source)) this.events.found(source.name);
  }

  /** Asks a remote source now: another process has found something new there. */
  poll(name: string): void {
    const source = this.#dependents().find((candidate) => candidate.name === name);
    if (source === undefined || this.#polled.has(source)) return;
    this.#polled.add(source);
    void source.refresh().finally(() => this.#polled.delete(source));
  }

  spoke(source: Source): void {
    if (this.#closed || !this.#sourceSet().has(source)) return;
    this.#report(source);
    this.#sayStale();
  }

  refreshKeys(issuer: string): Promise<boolean> {
    return this.#tokenDesk.refreshKeys(issuer);
  }

  validate(audience: string, token: string): Promise<Result<SpiffeId, NotValidated>> {
    return this.#tokenDesk.validate(audience, token);
  }

  noted(source: Source, note: string): void {
    this.events.noted(source.name, note);
  }

  get clockSkewMs(): number {
    return this.config?.identityOptions.clockSkewMs ?? 0;
  }

  bundles(): TrustBundleSet {
    return bundlesOf(this.#sets().flatMap(trustOf));
  }

  checkSvid(svid: VerifiedSvid, nowMs: number): Refusal | undefined {
    const { clockSkewMs } = this;
    // By the sources and not by the snapshot: there may be none yet, and a configuration that is being judged has none.
    for (const set of this.#sets()) {
      const trust = trustOf(set).find(({ config }) => config.trustDomain === svid.id.trustDomain);
      const judged = judgeSvid(svid, nowMs, {
        revocations: revocationsOf(set),
        revocation: trust && revocationPolicyOf(trust),
        clockSkewMs,
      });
      if (!judged.ok) return judged.error;
    }
    return undefined;
  }

  // ---------------------------------------------------------------------------------------------------------------------------

  #gather(): void {
    if (this.#closed) return;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      void this.#checkAll();
    }, GATHER_MS);
  }

  #tick(): void {
    void this.#checkAll();
    this.#sayStale();
    this.#troubles.lookForDrift(this.#sources(), this.restartNeeded, this.current);
    void this.#followFiles();
  }

  /** Each source by itself: one that is still settling, or never does, holds up no other. */
  async #checkAll(): Promise<void> {
    const causeMs = this.nowMs();
    for (const [i, source] of this.#sources().entries()) {
      if (i % CHECKS_IN_A_ROW === CHECKS_IN_A_ROW - 1) await nextTurn();
      void this.#look(source, causeMs);
    }
  }

  #look(source: Source, causeMs: number): Promise<unknown> {
    const check = source.check();
    if (this.#checks.get(source) === check) return check; // waits for its turn already
    this.#checks.set(source, check);
    return check.then((adopted) => this.#checked(source, adopted, causeMs));
  }

  async #refresh(source: Source): Promise<void> {
    const causeMs = this.nowMs();
    this.#checked(source, await source.refresh(), causeMs);
  }

  #checked(source: Source, adopted: boolean, causeMs: number): void {
    // A source that a newer configuration no longer names has nothing to say.
    if (this.#closed || !this.#sourceSet().has(source)) return;
    if (adopted) this.#adopt(source, causeMs);
    this.#report(source);
  }

  #adopt(source: Source, causeMs: number): void {
    const loaded = this.#configSource.value;
    this.#members = undefined;
    if (loaded === undefined) return;
    this.#put(this.#join(loaded), source.name, causeMs);
    if (source === this.#configSource) {
      this.#sayRestartNeeded(loaded.config);
      this.#reader.adopted(loaded);
      void this.emergency?.keepInherited(this);
    }
    this.#sayStale();
    void this.#followFiles();
    // What failed for want of this (a new SVID ahead of its new authority) gets another chance.
    for (const other of this.#sources()) {
      if (other !== source && other.isUnsettled) void this.#refresh(other);
    }
  }

  #put(next: Snapshot | undefined, source: string, causeMs: number): void {
    if (next === undefined) return;
    const before = this.current;
    this.current = next;
    this.events.adopted(source, next, before, causeMs);
  }

  #report(source: Source): void {
    if (this.#troubles.look(source, this.current)) void this.#followFiles();
  }

  #sayStale(): void {
    if (this.#present !== undefined) this.#troubles.lookForStale(this.#present, this.nowMs(), this.current);
  }

  #sources(): Source[] {
    return [this.#configSource, ...this.#dependents()];
  }

  /** The same as a set, made once for each adoption: every one of a thousand sources asks once a second. */
  #sourceSet(): ReadonlySet<Source> {
    this.#members ??= new Set(this.#sources());
    return this.#members;
  }

  #dependents(): Source[] {
    return this.#present === undefined ? [] : sourcesOf(this.#present);
  }

  get #present(): SourceSet | undefined {
    return this.#configSource.value?.sources;
  }

  /** What is being judged, then what is in force. */
  #sets(): readonly SourceSet[] {
    return [this.#reader.pending, this.#present].filter((set) => set !== undefined);
  }

  /** By the trust of the configuration that names it: a new one may change its bundle and our SVID together. */
  #ownSvidCheck(identity: SourceSet['identity']): OwnSvidCheck {
    const sets = this.#sets();
    const set = sets.findLast((candidate) => candidate.identity === identity) ?? sets[0];
    const trust = set === undefined ? [] : trustOf(set);
    const bundles = bundlesOf(trust);
    const known = new Set<string>(trust.map(({ config }) => config.trustDomain));
    return {
      bundles,
      isAwaited: (trustDomain) => known.has(trustDomain) && !bundles.has(trustDomain),
      nowMs: this.nowMs(),
      clockSkewMs: this.clockSkewMs,
    };
  }

  #join({ config, policy, sources }: Loaded): Snapshot | undefined {
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
