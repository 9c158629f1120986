import { randomBytes } from 'node:crypto';
import { constants, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { parseFetchedBundle } from '../identity/fetched-bundle.js';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.js';
import { isJsonObject, JsonNumber, parseStrictJson } from '../identity/strict-json.js';
import type { TrustBundle } from '../identity/trust-bundle.js';
import { err, ok, type Result } from '../reasons.js';

const FORMAT = 1n;
const MODE = 0o600;
const OTHERS_MAY_WRITE = 0o022;
/** A document of 4 MiB, with every quote and line end in it escaped. */
const MAX_STORE_BYTES = 9 * 1024 * 1024;

/** A bundle as it was fetched, and what it was fetched under. */
export interface StoredBundle {
  readonly bundle: TrustBundle;
  readonly fetchedAtMs: number;
  /** Revision of the bundle that was configured to begin with; '' for none. */
  readonly bootstrapRevision: string;
}

/** What a kept bundle belongs to. */
interface StoreOwner {
  readonly trustDomain: TrustDomain;
  readonly url: BundleEndpointUrl;
  readonly profile:
    | { readonly kind: 'https_web' }
    | { readonly kind: 'https_spiffe'; readonly endpointId: SpiffeId };
}

/**
 * Keeps the last good bundle of one endpoint in a file, so that a restart during an outage loses no rotation, and cannot be
 * used to serve an older bundle again. It belongs to one trust domain and one endpoint: under others it is not used.
 */
export class BundleStore {
  readonly #endpoint: string;

  constructor(
    readonly file: string,
    readonly owner: StoreOwner,
  ) {
    const { url, profile } = owner;
    this.#endpoint = [profile.kind, profile.kind === 'https_spiffe' ? profile.endpointId.uri : '', url.href]
      .filter((part) => part !== '')
      .join(' ');
  }

  /** @returns undefined where nothing is kept yet; the error says why what is there is not used, and what to do. */
  async read(): Promise<Result<StoredBundle | undefined, string>> {
    const bytes = await this.#readBytes();
    if (!bytes.ok) return bytes;
    if (bytes.value === undefined) return ok(undefined);
    const stored = this.#parse(bytes.value);
    return stored.ok ? stored : err(`${this.file}: ${stored.error}; it is not used and will be replaced`);
  }

  async #readBytes(): Promise<Result<Buffer | undefined, string>> {
    try {
      const handle = await open(this.file, constants.O_RDONLY | constants.O_NONBLOCK); // a pipe would wait for ever
      try {
        const info = await handle.stat();
        if (!info.isFile() || info.size > MAX_STORE_BYTES)
          return err(`${this.file}: is not a file that was written here`);
        // Whoever can write it decides whom we trust.
        if (process.platform !== 'win32' && (info.mode & OTHERS_MAY_WRITE) !== 0)
          return err(`${this.file}: others may write it, so it is not used; chmod 600`);
        return ok(await handle.readFile());
      } finally {
        await handle.close();
      }
    } catch (cause) {
      const code = codeOf(cause);
      return code === 'ENOENT' ? ok(undefined) : err(`${this.file}: cannot be read (${code})`);
    }
  }

  #parse(bytes: Buffer): Result<StoredBundle, string> {
    const json = parseStrictJson(bytes);
    if (!json.ok || !isJsonObject(json.value)) return err('it is damaged');
    const text = (name: string): string | undefined => {
      const value = json.ok && isJsonObject(json.value) ? json.value.get(name) : undefined;
      return typeof value === 'string' ? value : undefined;
    };
    const version = json.value.get('version');
    if (!(version instanceof JsonNumber) || version.integer !== FORMAT)
      return err('it is of another version');
    // Never another domain's bundle (Federation 7.3), nor what another endpoint said of this one.
    if (text('trustDomain') !== this.owner.trustDomain) return err('it is of another trust domain');
    if (text('endpoint') !== this.#endpoint) return err('it came from another endpoint');
    const fetchedAtMs = Date.parse(text('fetchedAt') ?? '');
    const bootstrapRevision = text('bootstrap');
    const document = text('document');
    if (Number.isNaN(fetchedAtMs) || bootstrapRevision === undefined || document === undefined)
      return err('it is damaged');
    const bundle = parseFetchedBundle(this.owner.trustDomain, Buffer.from(document));
    return bundle.ok ? ok({ bundle: bundle.value, fetchedAtMs, bootstrapRevision }) : bundle;
  }

  /** Writes beside the file and renames over it: a crash leaves the old one or the new one. */
  async write(
    document: Buffer,
    fetchedAtMs: number,
    bootstrapRevision: string,
  ): Promise<Result<void, string>> {
    const content = JSON.stringify({
      version: Number(FORMAT),
      trustDomain: this.owner.trustDomain,
      endpoint: this.#endpoint,
      fetchedAt: new Date(fetchedAtMs).toISOString(),
      bootstrap: bootstrapRevision,
      document: document.toString('utf8'),
    });
    const temporary = join(
      dirname(this.file),
      `.${basename(this.file)}.${randomBytes(6).toString('hex')}.tmp`,
    );
    try {
      const handle = await open(temporary, 'wx', MODE);
      try {
        await handle.writeFile(content);
        await handle.sync();
      } finally {
        await handle.close();
      }
      await rename(temporary, this.file);
      return ok(undefined);
    } catch (cause) {
      await rm(temporary, { force: true }).catch(() => undefined);
      return err(
        `the bundle cannot be kept in ${this.file} (${codeOf(cause)}): a restart would begin without it`,
      );
    }
  }

  /** The end of a federation relationship deletes what was kept (Federation 6.3). */
  async remove(): Promise<void> {
    await rm(this.file, { force: true });
  }
}

const codeOf = (cause: unknown): string => String((cause as { code?: unknown }).code ?? cause);
