import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { listBundleFolder } from '../config/bundle-folder.js';
import type { TrustConfig, TrustFolderConfig } from '../config/config.js';
import { parseTrustDomain } from '../identity/spiffe-id.js';
import { ok, type Result } from '../reasons.js';
import type { Source, SourceStatus } from './source.js';
import { connectTrust, type TrustOrigins, type TrustSources } from './trust-source.js';

/** A file that is gone gets as long to come back as one that has lost something: whoever is distrusted for it stays out. */
const GONE_SETTLE_MS = 1000;
const NO_REVOCATION: TrustConfig['revocation'] = {
  crlFiles: [],
  require: 'none',
  stale: 'deny',
  staleGraceMs: 0,
};

/** A folder of bundles: which domains are trusted is its own value; each bundle in it is a source by itself. */
export class TrustFolder implements Source {
  readonly name: string;
  readonly stale = undefined;
  readonly isAwaited = false;
  trust: readonly TrustSources[] = [];
  lastError: string | undefined;
  #hasValue = false;
  #failures = 0;
  #loadedAtMs: number | undefined;
  #listed = '';
  #files: Files = new Map();
  #checking: Promise<boolean> | undefined;
  #before: TrustFolder | undefined;

  constructor(
    readonly config: TrustFolderConfig,
    /** Domains that are configured elsewhere: a second bundle for one of them would be a second opinion. */
    readonly taken: ReadonlySet<string>,
    readonly origins: TrustOrigins,
    /** Folders that are configured in front of this one, whose bundles count before those here. */
    readonly inFront: readonly TrustFolder[] = [],
    /** The same folder in force, with something else beside it: its bundles keep their last good. */
    before?: TrustFolder,
  ) {
    this.name = `bundles:${config.folder}`;
    this.#before = before;
  }

  get hasValue(): boolean {
    return this.#hasValue;
  }

  isBeside(taken: ReadonlySet<string>, inFront: readonly TrustFolder[]): boolean {
    const isSame = taken.size === this.taken.size && [...taken].every((domain) => this.taken.has(domain));
    return isSame && inFront.length === this.inFront.length && inFront.every((f, i) => f === this.inFront[i]);
  }

  /** Where this domain is configured in front of this folder, if anywhere. */
  #placeOf(domain: string): string | undefined {
    if (this.taken.has(domain)) return 'has an entry of its own already';
    const folder = this.inFront.find(({ trust }) => trust.some((of) => of.config.trustDomain === domain));
    return folder && `is in ${folder.config.folder} already`;
  }

  get isUnsettled(): boolean {
    return this.lastError !== undefined;
  }

  /** The folder itself is watched whole; the files are their own sources'. */
  get files(): readonly string[] {
    return [join(this.config.folder, '*')];
  }

  get status(): SourceStatus {
    return {
      name: this.name,
      files: this.files,
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      lastError: this.lastError,
      failures: this.#failures,
    };
  }

  /**
   * With every bundle in it: at the start a broken one, or a name that says nothing, is a broken configuration. What was wrong
   * already with the same folder in force is said, and holds up nothing: a new configuration may take access away.
   */
  async loadNow(): Promise<boolean> {
    const listing = await this.#list();
    if (!listing.ok) return this.#fail(listing.error);
    const before = this.#before;
    this.#before = undefined;
    const known = new Set<Source>(before?.trust.flatMap(({ own }) => own));
    await this.#adopt(listing.value.files, before?.trust);
    const broken = this.trust
      .flatMap(({ own }) => own)
      .find((source) => !source.hasValue && !known.has(source));
    const { problems } = listing.value;
    const isNew = problems.some((problem) => before?.lastError?.split('\n').includes(problem) !== true);
    if (problems.length > 0) this.#fail(problems.join('\n'));
    else if (broken !== undefined) this.#fail(`${broken.name}: ${broken.lastError}`);
    this.#hasValue = !isNew && broken === undefined;
    return this.#hasValue;
  }

  check(): Promise<boolean> {
    this.#checking ??= this.#check().finally(() => {
      this.#checking = undefined;
    });
    return this.#checking;
  }

  refresh(): Promise<boolean> {
    return this.check();
  }

  /** Files have nothing open: those that this folder's successor has go on. */
  close(): void {
    for (const { own } of this.trust) for (const source of own) source.close(false);
  }

  async #check(): Promise<boolean> {
    let listing = await this.#list();
    if (listing.ok && this.#hasGone(listing.value.files)) {
      await delay(GONE_SETTLE_MS); // a folder is not read at one moment, and a file may be on its way back
      listing = await this.#list();
    }
    if (!listing.ok) return this.#fail(listing.error);
    const { files, problems } = listing.value;
    const isNew = keyOf(files) !== this.#listed;
    if (isNew) await this.#adopt(files);
    // A misnamed file is said; it must not hold up the distrust of another domain.
    if (problems.length === 0) this.lastError = undefined;
    else this.#fail(problems.join('\n'));
    return isNew;
  }

  #hasGone(files: Files): boolean {
    return this.trust.some(({ config }) => !files.has(config.trustDomain));
  }

  async #list(): Promise<Result<Listing, string>> {
    const { folder } = this.config;
    const names = await listBundleFolder(folder);
    if (!names.ok) return names;
    const { domains, contested, problems } = names.value;
    const files = new Map<string, string>();
    const taken: string[] = [];
    for (const [domain, file] of domains) {
      const place = this.#placeOf(domain);
      if (place === undefined) files.set(domain, file);
      else taken.push(`${join(folder, file)}: ${domain} ${place}`);
    }
    for (const [domain, candidates] of contested) {
      const known = (this.#before ?? this).#files.get(domain);
      if (known === undefined || !candidates.includes(known)) continue;
      if (this.#placeOf(domain) === undefined) files.set(domain, known); // the one that stands stays
    }
    return ok({ files, problems: [...problems.map((text) => `${folder}: ${text}`), ...taken] });
  }

  async #adopt(files: Files, trust = this.trust): Promise<void> {
    const known = new Map(trust.map((sources) => [sources.config.trustDomain as string, sources]));
    const next: TrustSources[] = [];
    const fresh: Promise<boolean>[] = [];
    for (const [name, file] of files) {
      const trustDomain = parseTrustDomain(name);
      if (!trustDomain.ok) continue;
      const config: TrustConfig = {
        entry: this.config.entry,
        trustDomain: trustDomain.value,
        bundle: { kind: 'file', file: join(this.config.folder, file) },
        revocation: NO_REVOCATION,
      };
      const sources = connectTrust(config, known.get(name), this.origins);
      next.push(sources);
      for (const source of sources.own) if (!source.hasValue) fresh.push(source.loadNow());
    }
    await Promise.all(fresh);
    this.trust = next;
    this.#files = files;
    this.#listed = keyOf(files);
    this.#hasValue = true;
    this.#loadedAtMs = this.origins.host.nowMs();
  }

  #fail(error: string): false {
    if (error !== this.lastError) this.#failures++;
    this.lastError = error;
    return false;
  }
}

type Files = ReadonlyMap<string, string>;

interface Listing {
  readonly files: Files;
  readonly problems: readonly string[];
}

const keyOf = (files: Files): string => JSON.stringify([...files].sort());
