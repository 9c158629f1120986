import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { type KeySet, parseKeySet } from '../identity/key-set.js';
import { parseProviderMetadata } from '../identity/provider-metadata.js';
import { err, type Result } from '../reasons.js';
import { type DocumentRules, fetchDocument, withinDeadline } from './document-exchange.js';
import { plainProblem, type ServerTrust } from './endpoint-connection.js';
import type { Timers } from './timers.js';

/** After a failure: 1 s, 2 s, 4 s, … up to the interval. */
const FIRST_RETRY_MS = 1000;
/** Between two fetches that tokens ask for: whoever makes up key ids must not make us knock at the issuer's door. */
const COOLDOWN_MS = 30_000;
/** For all documents together. */
const FETCH_MS = 10_000;
/** Of one outage. A hostile server could word its errors anew at every fetch. */
const MAX_SAID = 8;

const limits = { maxBytes: 256 * 1024, maxRedirects: 0, exchangeMs: FETCH_MS };
const METADATA: DocumentRules = { ...limits, what: 'the metadata', accept: 'application/json' };
const KEYS: DocumentRules = {
  ...limits,
  what: 'the key set',
  accept: 'application/jwk-set+json, application/json',
};

export interface KeySetEndpointOptions {
  /** Where to begin: at the keys, or at the metadata of this issuer. */
  readonly url: BundleEndpointUrl;
  readonly discovers: string | undefined;
  readonly refreshMs: number;
  readonly maxStaleMs: number;
  /** PEM; undefined = Node's roots. Asked at each fetch. */
  ca(): readonly string[] | undefined;
}

/** Keys as they were fetched. */
export interface FetchedKeys {
  readonly keys: KeySet;
  readonly atMs: number;
}

export interface KeySetEndpointEvents {
  /** In force from now on; the same object where nothing has changed. Whatever was wrong is over. */
  onFetched(keys: KeySet): void;
  /** A fetch failed; the last good keys serve on until they are too old. Each problem is told once an outage. */
  onProblem(message: string): void;
}

export interface KeySetEndpointStatus {
  readonly url: string;
  readonly lastFetchAt: string | undefined;
  readonly nextFetchAt: string | undefined;
  readonly lastError: string | undefined;
  /** Since the start. */
  readonly failures: number;
}

/** Fetches one issuer's keys, at an interval and when a token names one that is not there. The last good ones stay. */
export class KeySetEndpoint {
  #fetched: FetchedKeys | undefined;
  readonly #end = new AbortController();
  /** Of the fetch under way. */
  #now: AbortController | undefined;
  #fetching: Promise<boolean> | undefined;
  #lastTriedMs = Number.NEGATIVE_INFINITY;
  #nextMs: number | undefined;
  #cancelNext: () => void = () => undefined;
  #failuresInARow = 0;
  #failures = 0;
  #lastError: string | undefined;
  readonly #said = new Set<string>();

  constructor(
    readonly options: KeySetEndpointOptions,
    readonly deps: { readonly timers: Timers; nowMs(): number },
    readonly events: KeySetEndpointEvents,
    /** What another one fetched at the same place. */
    inherited?: FetchedKeys,
  ) {
    this.#fetched = inherited;
  }

  get fetched(): FetchedKeys | undefined {
    return this.#fetched;
  }

  get status(): KeySetEndpointStatus {
    return {
      url: this.options.url.shown,
      lastFetchAt: isoTime(this.#fetched?.atMs),
      nextFetchAt: isoTime(this.#nextMs),
      lastError: this.#lastError,
      failures: this.#failures,
    };
  }

  /** Since when (Unix time) no fetch has gone well, where that is too long ago for the keys to count. */
  outdatedSinceMs(nowMs: number): number | undefined {
    if (this.#fetched === undefined) return undefined;
    const { atMs } = this.#fetched;
    return nowMs - atMs > this.options.maxStaleMs ? atMs : undefined;
  }

  /** Fetches now; calls during a fetch are that fetch. @returns true where the keys that came are in force. */
  fetch(): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false);
    this.#fetching ??= this.#fetchOnce().finally(() => {
      this.#fetching = undefined;
    });
    return this.#fetching;
  }

  /** For a token that names a key that is not there. @returns true where the keys are other ones now. */
  async lookForKey(): Promise<boolean> {
    const before = this.#fetched?.keys;
    const sinceMs = this.deps.nowMs() - this.#lastTriedMs;
    // A clock that was set back must not stop it for as long as it was wrong.
    const isTooSoon = sinceMs >= 0 && sinceMs < COOLDOWN_MS;
    if (this.#fetching === undefined && isTooSoon) return false;
    await this.fetch();
    return this.#fetched?.keys !== before;
  }

  /** Servers are judged by other authorities from now on: what was fetched under the old ones is not taken any more. */
  async renew(): Promise<void> {
    this.#now?.abort('the authorities that count have changed');
    await this.#fetching;
    await this.fetch();
  }

  /** Stops fetching; a fetch under way is broken off. */
  close(): void {
    this.#end.abort('closed');
    this.#cancelNext();
    this.#nextMs = undefined;
  }

  get #isClosed(): boolean {
    return this.#end.signal.aborted;
  }

  async #fetchOnce(): Promise<boolean> {
    this.#cancelNext();
    this.#nextMs = undefined;
    const now = new AbortController();
    this.#now = now;
    const onEnd = (): void => now.abort('closed');
    this.#end.signal.addEventListener('abort', onEnd);
    const keys = await this.#fetchKeys(now.signal);
    this.#end.signal.removeEventListener('abort', onEnd);
    if (this.#isClosed) return false;
    this.#lastTriedMs = this.deps.nowMs();
    const problem = now.signal.aborted
      ? String(now.signal.reason)
      : keys.ok
        ? this.#take(keys.value)
        : keys.error;
    if (problem === undefined) this.#succeed();
    else this.#fail(problem);
    this.#schedule();
    return problem === undefined;
  }

  async #fetchKeys(signal: AbortSignal): Promise<Result<KeySet, string>> {
    try {
      const { timers } = this.deps;
      return await withinDeadline(FETCH_MS, timers, signal, (inTime) => this.#ask(inTime));
    } catch (cause) {
      return err(plainProblem(cause));
    }
  }

  async #ask(signal: AbortSignal): Promise<Result<KeySet, string>> {
    const { url, discovers, ca } = this.options;
    const { timers } = this.deps;
    const trust: ServerTrust = { kind: 'https_web', ca: ca() };
    let place = url;
    if (discovers !== undefined) {
      const metadata = await fetchDocument(url, trust, METADATA, timers, signal);
      if (!metadata.ok) return metadata;
      const found = parseProviderMetadata(metadata.value, discovers);
      if (!found.ok) return err(plainProblem({ message: found.error }));
      place = found.value;
    }
    const document = await fetchDocument(place, trust, KEYS, timers, signal);
    if (!document.ok)
      return place === url ? document : err(`${place.shown.slice(0, 200)}: ${document.error}`);
    const keys = parseKeySet(document.value);
    return keys.ok ? keys : err(plainProblem({ message: keys.error }));
  }

  /** @returns why they cannot be taken up. */
  #take(keys: KeySet): string | undefined {
    const before = this.#fetched;
    const isSame = before?.keys.revision === keys.revision;
    this.#fetched = { keys: isSame ? before.keys : keys, atMs: this.deps.nowMs() };
    try {
      this.events.onFetched(this.#fetched.keys);
    } catch (cause) {
      this.#fetched = before; // not taken up: the next fetch must bring it again, not find it in force
      return plainProblem(cause);
    }
    return undefined;
  }

  #succeed(): void {
    this.#failuresInARow = 0;
    this.#lastError = undefined;
    this.#said.clear();
  }

  #fail(problem: string): void {
    this.#failuresInARow++;
    this.#failures++;
    this.#lastError = problem;
    if (this.#said.has(problem) || this.#said.size >= MAX_SAID) return;
    this.#said.add(problem);
    this.events.onProblem(`${this.options.url.shown}: ${problem}`);
  }

  #schedule(): void {
    if (this.#isClosed) return;
    const { refreshMs } = this.options;
    const failed = this.#failuresInARow;
    const waitMs = failed === 0 ? refreshMs : Math.min(FIRST_RETRY_MS * 2 ** (failed - 1), refreshMs);
    this.#nextMs = this.deps.nowMs() + waitMs;
    this.#cancelNext = this.deps.timers.after(waitMs, () => void this.fetch());
  }
}

const isoTime = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();
