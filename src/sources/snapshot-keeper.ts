import { createHash } from 'node:crypto';
import type { Config } from '../config/config.js';
import { loadConfig } from '../config/load.js';
import { loadConfigOffThread } from '../config/load-off-thread.js';
import { formatProblem } from '../config/problem.js';
import { parseRevocations } from '../config/revocations.js';
import { createRevocationList, type RevocationList } from '../identity/revocation.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { compileForwardPlan } from '../message/forward-policy.js';
import { pseudonymOf } from '../message/via.js';
import type { Policy } from '../policy/policy.js';
import { compileRoutes } from '../policy/route-table.js';
import { err, ok, type Result } from '../reasons.js';
import type { ListenerView, Snapshot } from '../snapshot.js';
import { DirectoryWatch } from './directory-watch.js';
import { FileSource, type SourceStatus } from './file-source.js';
import { type LoadedSvid, loadOwnSvid, verifyOwnSvid } from './own-svid.js';
import { createTrustSources, revocationPolicyOf, type TrustSources } from './trust-source.js';

const POLL_MS = 1000;
/** A policy up to this size is read in a few milliseconds; a larger one must not hold up requests. */
const OFF_THREAD_BYTES = 32 * 1024;

interface LoadedConfig {
  readonly config: Config;
  readonly policy: Policy;
}

/** Told of every change; `app.ts` turns it into logs, metrics, records and listeners that adopt. */
export interface KeeperEvents {
  adopted(source: string, next: Snapshot, before: Snapshot | undefined, causeMs: number): void;
  refused(source: string, error: string, current: Snapshot | undefined): void;
  /** A new configuration says something that only a restart can do. */
  restartNeeded(what: readonly string[]): void;
}

/** Keeps every source's last good value and joins them to the snapshot in force. The only writer of `current`. */
export class SnapshotKeeper {
  current: Snapshot | undefined;
  restartNeeded: readonly string[] = [];
  readonly #configSource: FileSource<LoadedConfig>;
  #identity: FileSource<LoadedSvid> | undefined;
  #revocations: FileSource<RevocationList> | undefined;
  #trust: TrustSources[] = [];
  readonly #watch = new DirectoryWatch(() => this.#wake());
  readonly #reported = new Map<string, string>();
  #poll: NodeJS.Timeout | undefined;
  #started: Config | undefined;
  #checking = false;
  #again = false;

  constructor(
    readonly file: string,
    readonly env: Readonly<Record<string, string | undefined>>,
    readonly nowMs: () => number,
    readonly events: KeeperEvents,
  ) {
    this.#configSource = new FileSource<LoadedConfig>({
      name: 'config',
      files: () => this.#configFiles(),
      parse: (contents) => this.#parseConfig(contents),
    });
  }

  /** Loads everything once. @returns what is wrong, source by source; nothing is in force then. */
  async start(): Promise<readonly string[]> {
    await this.#configSource.loadNow();
    if (this.#configSource.value === undefined) return [this.#configSource.lastError ?? 'no configuration'];
    await this.#connectSources(this.#configSource.value.config);
    const problems: string[] = [];
    for (const source of this.#dependents()) {
      await source.loadNow();
      if (source.value === undefined) problems.push(`${source.spec.name}: ${source.lastError}`);
    }
    if (problems.length > 0) return problems;
    this.#started = this.#configSource.value.config;
    this.current = this.#join();
    this.#poll = setInterval(() => this.#wake(), POLL_MS);
    await this.#followFiles();
    return [];
  }

  close(): void {
    clearInterval(this.#poll);
    this.#watch.close();
  }

  /** SIGHUP and POST /reload: reads every source now. */
  async reload(): Promise<void> {
    const causeMs = this.nowMs();
    for (const source of this.#sources()) {
      if (await source.loadNow()) await this.#adopted(source.spec.name, causeMs);
      this.#report(source);
    }
  }

  get status(): readonly SourceStatus[] {
    return this.#sources().map((source) => source.status);
  }

  #wake(): void {
    if (this.#checking) {
      this.#again = true;
      return;
    }
    this.#checking = true;
    void this.#checkAll().finally(() => {
      this.#checking = false;
      if (this.#again) {
        this.#again = false;
        setTimeout(() => this.#wake(), 5);
      }
    });
  }

  /** Sources are looked at side by side: one that is still settling holds up no other. */
  async #checkAll(): Promise<void> {
    const causeMs = this.nowMs();
    await Promise.all(
      this.#sources().map(async (source) => {
        if (await source.check()) await this.#adopted(source.spec.name, causeMs);
        this.#report(source);
      }),
    );
  }

  async #adopted(name: string, causeMs: number): Promise<void> {
    if (name === 'config' && this.#configSource.value !== undefined) {
      const { config } = this.#configSource.value;
      await this.#connectSources(config);
      for (const source of this.#dependents()) if (source.value === undefined) await source.loadNow();
      this.#sayRestartNeeded(config);
      await this.#followFiles();
    }
    const before = this.current;
    this.current = this.#join();
    this.events.adopted(name, this.current, before, causeMs);
    // What failed for want of this (a new SVID ahead of its new authority) gets another chance.
    for (const source of this.#sources()) {
      if (source.spec.name !== name && source.lastError !== undefined && (await source.retry())) {
        await this.#adopted(source.spec.name, causeMs);
      }
    }
  }

  #report(source: FileSource<unknown>): void {
    const { name } = source.spec;
    const error = source.lastError;
    if (error === undefined) return void this.#reported.delete(name);
    if (this.#reported.get(name) === error) return;
    this.#reported.set(name, error);
    this.events.refused(name, error, this.current);
  }

  #sources(): FileSource<unknown>[] {
    return [this.#configSource, ...this.#dependents()] as FileSource<unknown>[];
  }

  #dependents(): FileSource<unknown>[] {
    const sources: FileSource<unknown>[] = [];
    for (const trust of this.#trust)
      sources.push(trust.bundle as FileSource<unknown>, ...(trust.crls as FileSource<unknown>[]));
    if (this.#revocations !== undefined) sources.push(this.#revocations as FileSource<unknown>);
    if (this.#identity !== undefined) sources.push(this.#identity as FileSource<unknown>);
    return sources;
  }

  #configFiles(): readonly string[] {
    const policyFile = this.#configSource?.value?.config.policyFile;
    return policyFile === undefined ? [this.file] : [this.file, policyFile];
  }

  async #parseConfig(contents: ReadonlyMap<string, Buffer>): Promise<Result<LoadedConfig, string>> {
    const bytes = [...contents.values()].reduce((sum, file) => sum + file.length, 0);
    const load = bytes > OFF_THREAD_BYTES && this.#started !== undefined ? loadConfigOffThread : loadConfig;
    const { config, policy, problems } = await load(this.file, this.env);
    if (config === undefined || policy === undefined || problems.length > 0) {
      return err(problems.map(formatProblem).join('\n') || 'the configuration cannot be read');
    }
    // What a new configuration newly names must be good as well, or none of it counts.
    const fresh = config.trust.filter((trust) => !this.#knows(trust)).map(createTrustSources);
    for (const trust of this.#started === undefined ? [] : fresh) {
      for (const source of [trust.bundle, ...trust.crls]) {
        await source.loadNow();
        if (source.value === undefined) return err(`${source.spec.name}: ${source.lastError}`);
      }
    }
    return ok({ config, policy });
  }

  #knows(trust: Config['trust'][number]): boolean {
    const key = JSON.stringify(trust);
    return this.#trust.some((known) => JSON.stringify(known.config) === key);
  }

  /** Makes the sources that this configuration names; those it named before keep their last good. */
  async #connectSources(config: Config): Promise<void> {
    this.#trust = config.trust.map((trust) => {
      const key = JSON.stringify(trust);
      return this.#trust.find((known) => JSON.stringify(known.config) === key) ?? createTrustSources(trust);
    });
    const { certificateFile, keyFile } = config.identity;
    if (this.#identity?.spec.files().join('\0') !== [certificateFile, keyFile].join('\0')) {
      this.#identity = this.#identitySource(certificateFile, keyFile);
    }
    const file = config.revocationsFile;
    if (this.#revocations?.spec.files()[0] !== file) {
      this.#revocations = file === undefined ? undefined : revocationSource(file);
    }
  }

  #identitySource(certificateFile: string, keyFile: string): FileSource<LoadedSvid> {
    return new FileSource<LoadedSvid>({
      name: 'identity',
      files: () => [certificateFile, keyFile],
      parse: (contents) => {
        const certificate = contents.get(certificateFile);
        const key = contents.get(keyFile);
        if (certificate === undefined || key === undefined) return err('a file is missing');
        const loaded = loadOwnSvid(certificate, key);
        if (!loaded.ok) return loaded;
        const skew = this.#configSource.value?.config.identityOptions.clockSkewMs ?? 0;
        const verified = verifyOwnSvid(loaded.value, this.#bundles(), this.nowMs(), skew);
        return verified.ok ? loaded : verified;
      },
    });
  }

  #bundles(): Map<string, TrustBundle> {
    const bundles = new Map<string, TrustBundle>();
    for (const { bundle } of this.#trust)
      if (bundle.value !== undefined) bundles.set(bundle.value.trustDomain, bundle.value);
    return bundles;
  }

  #join(): Snapshot {
    const loaded = this.#configSource.value;
    const own = this.#identity?.value?.own ?? this.current?.own;
    if (loaded === undefined || own === undefined)
      throw new Error('a snapshot needs a configuration and an SVID');
    const { config, policy } = loaded;
    const before = this.current;
    const listeners = new Map<string, ListenerView>();
    for (const listener of config.listeners) {
      const known = before?.listeners.get(listener.name);
      listeners.set(
        listener.name,
        known?.config === listener ? known : { config: listener, routes: compileRoutes(listener.routes) },
      );
    }
    const keepsPlan =
      before !== undefined && before.config.forward === config.forward && before.own.id.uri === own.id.uri;
    return {
      sequence: (before?.sequence ?? 0) + 1,
      config,
      listeners,
      own,
      bundles: this.#bundles(),
      revocationPolicies: new Map(
        this.#trust.map((trust) => [trust.config.trustDomain as string, revocationPolicyOf(trust)]),
      ),
      revocations: this.#revocations?.value ?? createRevocationList([], ''),
      policy,
      forwardPlan: keepsPlan
        ? before.forwardPlan
        : compileForwardPlan(config.forward, {
            spiffeId: own.id.uri,
            pseudonym: pseudonymOf(own.id.uri, 'inbound'),
          }),
      gateways: new Set(config.trustedPeers.gateways.map((id) => id.uri)),
      trustRevision: this.#trustRevision(),
    };
  }

  #trustRevision(): string {
    const hash = createHash('sha256');
    const lines = this.#trust.map(
      ({ config, bundle, crls }) =>
        `${config.trustDomain} ${bundle.value?.revision ?? ''} ${crls.map((crl) => crl.value?.sha256 ?? '').join(' ')}`,
    );
    for (const line of lines.sort()) hash.update(`${line}\n`);
    return hash
      .update(this.#revocations?.value?.revision ?? '')
      .digest('hex')
      .slice(0, 16);
  }

  async #followFiles(): Promise<void> {
    await this.#watch.follow(this.#sources().flatMap((source) => [...source.spec.files()]));
  }

  /** Said, never silently ignored: what this process opened at its start and cannot change while it runs. */
  #sayRestartNeeded(config: Config): void {
    const started = this.#started;
    if (started === undefined) return;
    const fixed = (of: Config): [string, unknown][] => [
      ...of.listeners.map((listener): [string, unknown] => [
        `listeners.${listener.name}.address`,
        listener.address,
      ]),
      ['admin', of.admin],
      ['health', of.health?.address],
      ['audit', of.audit],
      ['limits.headerBytes', of.limits.headerBytes],
      ['deadlines.handshake', of.deadlines.handshakeMs],
      ['deadlines.head', of.deadlines.headMs],
    ];
    const before = new Map(fixed(started).map(([key, value]) => [key, JSON.stringify(value)]));
    const after = new Map(fixed(config).map(([key, value]) => [key, JSON.stringify(value)]));
    const keys = new Set([...before.keys(), ...after.keys()]);
    this.restartNeeded = [...keys].filter((key) => before.get(key) !== after.get(key));
    if (this.restartNeeded.length > 0) this.events.restartNeeded(this.restartNeeded);
  }
}

function revocationSource(file: string): FileSource<RevocationList> {
  return new FileSource<RevocationList>({
    name: 'revocations',
    files: () => [file],
    parse: (contents) => {
      const text = contents.get(file)?.toString('utf8') ?? '';
      const { list, problems } = parseRevocations(text, file);
      return list === undefined || problems.length > 0
        ? err(problems.map(formatProblem).join('\n'))
        : ok(list);
    },
  });
}
