import type { KeySetOrigin } from '../config/config.js';
import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { type KeySet, parseKeySet } from '../identity/key-set.js';
import { metadataUrlOf } from '../identity/provider-metadata.js';
import { err, type Result } from '../reasons.js';
import { caSource } from './ca-source.js';
import { FileSource } from './file-source.js';
import { type FetchedKeys, KeySetEndpoint } from './key-set-endpoint.js';
import type { Source, SourceHost, SourceStatus } from './source.js';
import { systemTimers } from './timers.js';

/** The keys of one issuer, from wherever they come. */
export interface KeySource extends Source {
  readonly value: KeySet | undefined;
}

/** Keys that stand in a file. */
export const keyFileSource = (name: string, file: string): FileSource<KeySet> =>
  new FileSource<KeySet>({
    name,
    files: () => [file],
    parse: (contents) => {
      const keys = parseKeySet(contents.get(file) ?? Buffer.alloc(0));
      return keys.ok ? keys : err(`${file}: ${keys.error}`);
    },
    hasShrunk: (next, current) => {
      const left = new Set(next.keys.map(({ thumbprint }) => thumbprint));
      return current.keys.some(({ thumbprint }) => !left.has(thumbprint));
    },
  });

export type RemoteKeys = Exclude<KeySetOrigin, { kind: 'file' }>;

/** Keys that are fetched. None of them yet, or too old ones, refuse the tokens of this issuer and nothing else. */
export class KeySetSource implements KeySource {
  readonly isOptional = true;
  value: KeySet | undefined;
  readonly #ca: FileSource<readonly string[]> | undefined;
  readonly #place: Result<BundleEndpointUrl, string>;
  #endpoint: KeySetEndpoint | undefined;
  #isOutdated = false;
  #remoteError: string | undefined;
  #loadedAtMs: number | undefined;
  #isClosed = false;

  constructor(
    readonly name: string,
    readonly origin: RemoteKeys,
    /** `iss` of its tokens. */
    readonly issuer: string,
    readonly host: SourceHost,
    /** What is in force of the same place, asked in another way: it serves until the first answer. */
    readonly inherited?: FetchedKeys,
  ) {
    this.#place = origin.kind === 'url' ? { ok: true, value: origin.url } : metadataUrlOf(issuer);
    if (origin.caFile !== undefined) this.#ca = caSource(origin.caFile);
    this.value = inherited?.keys;
    this.#loadedAtMs = inherited?.atMs;
  }

  get hasValue(): boolean {
    return this.value !== undefined && this.#endpoint !== undefined;
  }

  get isAwaited(): boolean {
    return this.value === undefined && this.#localError === undefined;
  }

  get lastError(): string | undefined {
    return this.#localError ?? this.#remoteError;
  }

  get isUnsettled(): boolean {
    return this.#ca?.isUnsettled ?? false;
  }

  get files(): readonly string[] {
    return this.#ca?.files ?? [];
  }

  /** What it fetched, for a source that takes its place. */
  get fetched(): FetchedKeys | undefined {
    return this.#endpoint?.fetched;
  }

  get stale(): string | undefined {
    const sinceMs = this.#endpoint?.outdatedSinceMs(this.host.nowMs());
    if (sinceMs === undefined) return undefined;
    const since = new Date(sinceMs).toISOString();
    return `${this.#shown} has not confirmed the keys since ${since}: they count no more`;
  }

  get status(): SourceStatus {
    const remote = this.#endpoint?.status;
    return {
      name: this.name,
      files: this.files,
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      lastError: this.lastError,
      failures: (remote?.failures ?? 0) + (this.#ca?.status.failures ?? 0),
      ...(remote === undefined ? {} : { remote }),
    };
  }

  /** Begins to fetch; nobody waits for the answer. */
  async loadNow(): Promise<boolean> {
    await this.#ca?.loadNow();
    this.#connect();
    return this.hasValue;
  }

  /** Its file, and whether its keys have just become too old: time alone ends what rests on them. */
  async check(): Promise<boolean> {
    if ((await this.#ca?.check()) === true) this.#useFile();
    return this.#ages();
  }

  async refresh(): Promise<boolean> {
    if ((await this.#ca?.refresh()) === true) this.#useFile();
    await this.#endpoint?.fetch();
    return this.#ages();
  }

  /** For a token that names a key that is not there. @returns true where the keys are other ones now. */
  async lookForKey(): Promise<boolean> {
    return (await this.#endpoint?.lookForKey()) ?? false;
  }

  close(): void {
    this.#isClosed = true;
    this.#endpoint?.close();
  }

  get #localError(): string | undefined {
    return this.#place.ok ? this.#ca?.lastError : this.#place.error;
  }

  get #shown(): string {
    return this.#place.ok ? this.#place.value.shown : this.issuer;
  }

  /** True once when the keys in force have become too old. That they are fresh again is told by whoever fetched them. */
  #ages(): boolean {
    if (this.#isOutdated || this.stale === undefined) return false;
    this.#isOutdated = true;
    return true;
  }

  #useFile(): void {
    if (this.#endpoint === undefined) this.#connect();
    else void this.#endpoint.renew();
  }

  #connect(): void {
    if (this.#isClosed || this.#endpoint !== undefined || !this.#place.ok) return;
    if (this.#ca !== undefined && this.#ca.value === undefined) return;
    const { origin, host, issuer } = this;
    const endpoint = new KeySetEndpoint(
      {
        url: this.#place.value,
        discovers: origin.kind === 'discovery' ? issuer : undefined,
        refreshMs: origin.refreshMs,
        maxStaleMs: origin.maxStaleMs,
        ca: () => this.#ca?.value,
      },
      { timers: systemTimers, nowMs: () => host.nowMs() },
      { onFetched: (keys) => this.#take(keys), onProblem: (message) => this.#say(message) },
      this.inherited,
    );
    this.#endpoint = endpoint;
    void endpoint.fetch();
  }

  #take(keys: KeySet): void {
    const hasChanged = keys !== this.value || this.#isOutdated;
    this.value = keys;
    this.#isOutdated = false;
    this.#loadedAtMs = this.host.nowMs();
    if (hasChanged) this.host.adopted(this);
    if (this.#remoteError !== undefined) this.#say(undefined);
  }

  #say(problem: string | undefined): void {
    this.#remoteError = problem;
    this.host.spoke(this);
  }
}
