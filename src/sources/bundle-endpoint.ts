import { createHash } from 'node:crypto';
import { judgeBundleUpdate, refreshIntervalMs } from '../identity/bundle-update.js';
import { parseFetchedBundle } from '../identity/fetched-bundle.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import { createSignatureCheck } from '../identity/x509-svid.js';
import { err, ok, type Result } from '../reasons.js';
import type {
  BundleEndpointDeps,
  BundleEndpointEvents,
  BundleEndpointOptions,
  BundleEndpointStatus,
} from './bundle-endpoint-options.js';
import { BundleStore, type StoredBundle } from './bundle-store.js';
import { type DocumentRules, fetchDocument } from './document-exchange.js';
import { plainProblem, type ServerTrust } from './endpoint-connection.js';

/** Until the first answer, tries come sooner than the interval: 1 s, 2 s, 4 s, … up to it. Afterwards at the interval (Federation 6.2). */
const FIRST_RETRY_MS = 1000;
const STALE_INTERVALS = 3;
const MIN_STALE_MS = 15 * 60_000;
/** What is kept says when it was last confirmed; it need not be written at every poll for that. */
const CONFIRM_KEPT_MS = 300_000;
/** Of one outage. A hostile endpoint could word its errors anew at every poll. */
const MAX_SAID = 8;

const BUNDLE: DocumentRules = {
  what: 'the bundle',
  accept: 'application/json',
  maxBytes: 4 * 1024 * 1024,
  maxRedirects: 5,
  exchangeMs: 30_000,
};

/** Polls one bundle endpoint for one trust domain. What is in force changes by a sound, newer, proven answer only. */
export class BundleEndpoint {
  /** The latest bundle: fetched, kept from before, or configured. */
  bundle: TrustBundle | undefined;
  readonly #trust: ServerTrust;
  readonly #store: BundleStore | undefined;
  readonly #end = new AbortController();
  #lastFetchMs: number | undefined;
  #nextPollMs: number | undefined;
  #lastError: string | undefined;
  #failures = 0;
  /** Failed polls in a row before the first that succeeded; undefined from then on. */
  #firstTries: number | undefined = 0;
  #startedMs = 0;
  #staleSinceMs: number | undefined;
  readonly #said = new Set<string>();
  #kept = { digest: '', atMs: 0 };
  #loading: Promise<void> | undefined;
  #polling: Promise<boolean> | undefined;
  #cancelNext: () => void = () => undefined;

  constructor(
    readonly options: BundleEndpointOptions,
    readonly deps: BundleEndpointDeps,
    readonly events: BundleEndpointEvents,
  ) {
    this.#trust = this.#serverTrust();
    if (options.storeFile !== undefined) this.#store = new BundleStore(options.storeFile, options);
  }

  get status(): BundleEndpointStatus {
    return {
      url: this.options.url.shown,
      lastFetchAt: isoTime(this.#lastFetchMs),
      nextPollAt: isoTime(this.#nextPollMs),
      lastError: this.#lastError,
      failures: this.#failures,
      sequence: this.bundle?.sequence?.toString(),
      staleSince: isoTime(this.#staleSinceMs),
    };
  }

  /** What it fetched, for a client that takes its place; undefined while that is nothing. */
  get fetched(): StoredBundle | undefined {
    const { bundle } = this;
    const fetchedAtMs = this.#lastFetchMs;
    if (bundle === undefined || fetchedAtMs === undefined) return undefined;
    return { bundle, fetchedAtMs, bootstrapRevision: this.options.bootstrap?.revision ?? '' };
  }

  /** Puts in force what was kept or configured, then begins to poll; resolves before the first answer. */
  async start(): Promise<void> {
    await this.#load();
    void this.poll();
  }

  /** Polls now; calls during a poll are that poll. @returns true where the endpoint gave a bundle that is in force. */
  poll(): Promise<boolean> {
    this.#polling ??= this.#pollOnce().finally(() => {
      this.#polling = undefined;
    });
    return this.#polling;
  }

  /** Stops polling; a poll under way is broken off. What is kept stays, for the next start. */
  async close(): Promise<void> {
    this.#end.abort('closed');
    this.#cancelNext();
    this.#nextPollMs = undefined;
    await this.#loading;
    await this.#polling;
  }

  /** Closes, and deletes what was kept: the relationship has ended (Federation 6.3). The caller drops the bundle. */
  async forget(): Promise<void> {
    await this.close();
    this.bundle = undefined;
    await this.#store?.remove();
  }

  get #closed(): boolean {
    return this.#end.signal.aborted;
  }

  #serverTrust(): ServerTrust {
    const { profile, trustDomain, clockSkewMs = 0 } = this.options;
    if (profile.kind === 'https_web') return { kind: 'https_web', ca: profile.ca };
    const { endpointBundles, readPeer, checkSvid, nowMs } = this.deps;
    const { endpointId } = profile;
    // Serving its own domain, it is verified with the latest bundle of ours and no other, never with two at once (Federation 5.2.2.4).
    const bundles = (): TrustBundleSet =>
      endpointId.trustDomain === trustDomain
        ? new Map(this.bundle === undefined ? [] : [[trustDomain, this.bundle]])
        : endpointBundles();
    const checkSignature = createSignatureCheck();
    return {
      kind: 'https_spiffe',
      verification: { endpointId, bundles, readPeer, checkSvid, nowMs, clockSkewMs, checkSignature },
    };
  }

  #load(): Promise<void> {
    this.#loading ??= this.#loadKept();
    return this.#loading;
  }

  async #loadKept(): Promise<void> {
    this.#startedMs = this.deps.nowMs();
    const { bootstrap, inForce } = this.options;
    const kept = inForce === undefined ? ((await this.#store?.read()) ?? ok(undefined)) : ok(inForce);
    if (this.#closed) return;
    if (!kept.ok) this.#say(kept.error);
    const stored = kept.ok ? kept.value : undefined;
    if (stored !== undefined && !this.#isOverruled(stored)) {
      this.#lastFetchMs = Math.min(stored.fetchedAtMs, this.#startedMs);
      this.#put(stored.bundle);
    } else if (bootstrap !== undefined) this.#put(bootstrap);
  }

  /** A bundle configured anew since is a local update, which counts as the latest unless its sequence is older (Federation 4.2). */
  #isOverruled(stored: StoredBundle): boolean {
    const { bootstrap } = this.options;
    if (bootstrap === undefined || bootstrap.revision === stored.bootstrapRevision) return false;
    return judgeBundleUpdate(stored.bundle, bootstrap).outcome === 'replace';
  }

  #put(bundle: TrustBundle, note?: string): void {
    const before = this.bundle;
    this.bundle = bundle;
    try {
      this.events.onBundle(bundle, note);
    } catch (cause) {
      this.bundle = before; // not taken up: the next poll must bring it again, not find it in force
      throw cause;
    }
  }

  async #pollOnce(): Promise<boolean> {
    this.#cancelNext();
    this.#nextPollMs = undefined;
    let fetched: Result<Buffer, string>;
    try {
      await this.#load();
      if (this.#closed) return false;
      fetched = await fetchDocument(
        this.options.url,
        this.#trust,
        BUNDLE,
        this.deps.timers,
        this.#end.signal,
      );
      if (this.#closed) return false;
      fetched = fetched.ok ? this.#adopt(fetched.value) : fetched;
      if (fetched.ok) await this.#succeed(fetched.value);
      else this.#fail(fetched.error);
    } catch (cause) {
      fetched = err(plainProblem(cause));
      this.#fail(fetched.error);
    }
    this.#schedule();
    return fetched.ok;
  }

  /** @returns the document, where what it says is in force. */
  #adopt(document: Buffer): Result<Buffer, string> {
    const bundle = parseFetchedBundle(this.options.trustDomain, document);
    if (!bundle.ok) return err(plainProblem({ message: bundle.error }));
    const { outcome, why } = judgeBundleUpdate(this.bundle, bundle.value);
    if (outcome === 'keep') return err(`the bundle is not taken: ${why}; ${this.#wayOut()}`);
    this.#lastFetchMs = this.deps.nowMs();
    // The hint may have changed with nothing else.
    if (outcome === 'replace') this.#put(bundle.value, why);
    else this.bundle = bundle.value;
    return ok(document);
  }

  #wayOut(): string {
    const { storeFile } = this.options;
    const how = storeFile === undefined ? 'restart' : `remove ${storeFile} and restart`;
    return `if its publisher has begun to count anew, ${how}`;
  }

  async #succeed(document: Buffer): Promise<void> {
    this.#firstTries = undefined;
    this.#staleSinceMs = undefined;
    const unkept = await this.#keep(document);
    this.#lastError = unkept;
    if (unkept !== undefined) return this.#say(unkept);
    if (this.#said.size === 0) return;
    this.#said.clear();
    if (!this.#closed) this.events.onRecovered();
  }

  /** @returns why it cannot be kept. */
  async #keep(document: Buffer): Promise<string | undefined> {
    if (this.#store === undefined) return undefined;
    const nowMs = this.deps.nowMs();
    const digest = createHash('sha256').update(document).digest('hex');
    if (digest === this.#kept.digest && nowMs - this.#kept.atMs < CONFIRM_KEPT_MS) return undefined;
    const written = await this.#store.write(document, nowMs, this.options.bootstrap?.revision ?? '');
    if (!written.ok) return written.error;
    this.#kept = { digest, atMs: nowMs };
    return undefined;
  }

  #fail(problem: string): void {
    if (this.#firstTries !== undefined) this.#firstTries++;
    this.#failures++;
    this.#lastError = problem;
    this.#say(problem);
    this.#judgeAge();
  }

  #say(problem: string): void {
    if (this.#closed || this.#said.has(problem) || this.#said.size >= MAX_SAID) return;
    this.#said.add(problem);
    this.events.onProblem(`${this.options.url.shown}: ${problem}`);
  }

  #judgeAge(): void {
    if (this.#closed || this.bundle === undefined || this.#staleSinceMs !== undefined) return;
    const sinceMs = this.#lastFetchMs ?? this.#startedMs;
    const limitMs = Math.max(STALE_INTERVALS * refreshIntervalMs(this.bundle), MIN_STALE_MS);
    if (this.deps.nowMs() - sinceMs <= limitMs) return;
    this.#staleSinceMs = sinceMs;
    this.events.onStale(sinceMs);
  }

  #schedule(): void {
    if (this.#closed) return;
    const intervalMs = refreshIntervalMs(this.bundle);
    const tries = this.#firstTries;
    const waitMs =
      tries === undefined ? intervalMs : Math.min(FIRST_RETRY_MS * 2 ** Math.max(tries - 1, 0), intervalMs);
    this.#nextPollMs = this.deps.nowMs() + waitMs;
    this.#cancelNext = this.deps.timers.after(waitMs, () => void this.poll());
  }
}

const isoTime = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();
