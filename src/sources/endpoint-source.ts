import type { BundleEndpointConfig } from '../config/config.js';
import type { TrustDomain } from '../identity/spiffe-id.js';
import { parseTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { BundleEndpoint } from './bundle-endpoint.js';
import type { BundleEndpointOptions } from './bundle-endpoint-options.js';
import type { StoredBundle } from './bundle-store.js';
import { caSource } from './ca-source.js';
import { FileSource } from './file-source.js';
import type { Source, SourceHost, SourceStatus } from './source.js';
import { systemTimers } from './timers.js';

/** A trust bundle from a bundle endpoint, with the files that its configuration names. */
export class EndpointSource implements Source {
  readonly name: string;
  value: TrustBundle | undefined;
  stale: string | undefined;
  readonly #bootstrap: FileSource<TrustBundle> | undefined;
  readonly #ca: FileSource<readonly string[]> | undefined;
  #endpoint: BundleEndpoint | undefined;
  #connecting: Promise<void> = Promise.resolve();
  #remoteError: string | undefined;
  #loadedAtMs: number | undefined;
  #isClosed = false;

  constructor(
    readonly trustDomain: TrustDomain,
    readonly config: BundleEndpointConfig,
    readonly host: SourceHost,
  ) {
    this.name = `bundle:${trustDomain}`;
    const { profile, bootstrapFile } = config;
    if (bootstrapFile !== undefined) this.#bootstrap = bootstrapSource(trustDomain, bootstrapFile);
    if (profile.kind === 'https_web' && profile.caFile !== undefined) this.#ca = caSource(profile.caFile);
  }

  get hasValue(): boolean {
    return this.value !== undefined;
  }

  get isAwaited(): boolean {
    return this.value === undefined && this.#localError === undefined;
  }

  get lastError(): string | undefined {
    return this.#localError ?? this.#remoteError;
  }

  get isUnsettled(): boolean {
    return this.#locals.some((source) => source.isUnsettled);
  }

  get files(): readonly string[] {
    return this.#locals.flatMap((source) => source.files);
  }

  get status(): SourceStatus {
    const remote = this.#endpoint?.status;
    return {
      name: this.name,
      files: this.files,
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      lastError: this.lastError,
      failures: (remote?.failures ?? 0) + this.#locals.reduce((sum, { status }) => sum + status.failures, 0),
      ...(remote === undefined ? {} : { remote }),
    };
  }

  async loadNow(): Promise<boolean> {
    for (const source of this.#locals) await source.loadNow();
    if (this.#localError !== undefined) return false;
    await this.#connect();
    return this.hasValue;
  }

  /** Its files; what the endpoint says comes by itself. */
  async check(): Promise<boolean> {
    return this.#lookAtFiles((source) => source.check());
  }

  async refresh(): Promise<boolean> {
    await this.#lookAtFiles((source) => source.refresh());
    await this.#endpoint?.poll();
    return false;
  }

  close(isEnded: boolean): void {
    this.#isClosed = true;
    // Federation 6.3: with the relationship goes what was kept of it.
    void (isEnded ? this.#endpoint?.forget() : this.#endpoint?.close());
  }

  get #locals(): readonly FileSource<unknown>[] {
    return [this.#bootstrap, this.#ca].filter((source) => source !== undefined) as FileSource<unknown>[];
  }

  get #localError(): string | undefined {
    return this.#locals.find((source) => source.lastError !== undefined)?.lastError;
  }

  async #lookAtFiles(look: (source: FileSource<unknown>) => Promise<boolean>): Promise<boolean> {
    const changed = await Promise.all(this.#locals.map(look));
    if (changed.includes(true)) await this.#connect();
    return false;
  }

  /**
   * With other files it is another client: nothing of how the last one judged servers is to live on. What it fetched does:
   * the bundle that was configured to begin with, or an older one that was kept, may hold authorities that were revoked since.
   */
  #connect(): Promise<void> {
    // One after the other: of two at once the first would never be closed, and poll on as it was told then.
    const run = this.#connecting.then(() => this.#connectAnew());
    this.#connecting = run.catch(() => undefined);
    return run;
  }

  async #connectAnew(): Promise<void> {
    await this.#endpoint?.close();
    if (this.#isClosed) return;
    const { host } = this;
    const endpoint = new BundleEndpoint(
      this.#options(this.#endpoint?.fetched),
      {
        endpointBundles: () => host.bundles(),
        readPeer: host.readPeer,
        checkSvid: (svid, nowMs) => host.checkSvid(svid, nowMs),
        nowMs: () => host.nowMs(),
        timers: systemTimers,
      },
      {
        onBundle: (bundle, note) => this.#take(bundle, note),
        onProblem: (message) => this.#say(message),
        onRecovered: () => this.#say(undefined),
        onStale: (sinceMs) => this.#goStale(sinceMs),
      },
    );
    this.#endpoint = endpoint;
    await endpoint.start();
  }

  #options(inForce: StoredBundle | undefined): BundleEndpointOptions {
    const { url, profile, storeFile } = this.config;
    const ca = this.#ca?.value;
    const bootstrap = this.#bootstrap?.value;
    return {
      trustDomain: this.trustDomain,
      url,
      profile:
        profile.kind === 'https_spiffe'
          ? profile
          : { kind: 'https_web', ...(ca === undefined ? {} : { ca }) },
      ...(bootstrap === undefined ? {} : { bootstrap }),
      ...(storeFile === undefined ? {} : { storeFile }),
      ...(inForce === undefined ? {} : { inForce }),
      clockSkewMs: this.host.clockSkewMs,
    };
  }

  #take(bundle: TrustBundle, note: string | undefined): void {
    this.stale = undefined;
    this.value = bundle;
    this.#loadedAtMs = this.host.nowMs();
    if (note !== undefined) this.host.noted(this, note);
    this.host.adopted(this);
  }

  #say(problem: string | undefined): void {
    this.#remoteError = problem;
    if (problem === undefined) this.stale = undefined;
    this.host.spoke(this);
  }

  #goStale(sinceMs: number): void {
    const since = new Date(sinceMs).toISOString();
    this.stale = `${this.config.url.shown} has not confirmed the bundle since ${since}`;
    this.host.spoke(this);
  }
}

const bootstrapSource = (trustDomain: TrustDomain, file: string): FileSource<TrustBundle> =>
  new FileSource({
    name: `bundle:${trustDomain}`,
    files: () => [file],
    parse: (contents) => parseTrustBundle(trustDomain, contents.get(file) ?? Buffer.alloc(0)),
  });
