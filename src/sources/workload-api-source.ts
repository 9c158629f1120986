import { formatAddress } from '../config/address.js';
import type { Address } from '../config/config.js';
import { bindCrls, type Crl } from '../identity/crl.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import { err, ok, type Result } from '../reasons.js';
import { type LoadedSvid, verifyOwnSvid, whyUnusable } from './own-svid.js';
import type { Source, SourceHost, SourceStatus } from './source.js';
import type { WorkloadApi, WorkloadState } from './workload-api.js';

export interface WorkloadApiWants {
  readonly socket: Address;
  /** Which SVID is ours; undefined = our SVID comes by file. */
  readonly identity: { readonly id?: SpiffeId; readonly hint?: string } | undefined;
}

/** All that the Workload API gives, as one source: our SVID and the bundles change together or not at all. */
export class WorkloadApiSource implements Source {
  readonly name = 'workload-api';
  readonly files: readonly string[] = [];
  readonly stale = undefined;
  value: WorkloadState | undefined;
  own: LoadedSvid | undefined;
  /** We are not, or no longer, entitled to present an SVID (Workload API 5.2.1). */
  isWithdrawn = false;
  lastError: string | undefined;
  #api: WorkloadApi | undefined;
  /** By trust domain, bound once: no join verifies a signature again. */
  #crls: ReadonlyMap<string, readonly Crl[]> = new Map();
  #refused: WorkloadState | undefined;
  #hasStarted = false;
  #wantsJwtBundles = false;
  #isClosed = false;

  constructor(
    readonly wants: WorkloadApiWants,
    readonly host: SourceHost,
  ) {}

  get hasValue(): boolean {
    return this.value !== undefined && (this.wants.identity === undefined || this.own !== undefined);
  }

  crlsOf(trustDomain: string): readonly Crl[] {
    return this.#crls.get(trustDomain) ?? [];
  }

  get isAwaited(): boolean {
    return !this.hasValue;
  }

  get isUnsettled(): boolean {
    return this.#refused !== undefined;
  }

  get status(): SourceStatus {
    const {
      socket = formatAddress(this.wants.socket),
      streams,
      loadedAt,
      failures = 0,
    } = this.#api?.status ?? {};
    return {
      name: this.name,
      files: [],
      loadedAt,
      lastError: this.lastError,
      failures,
      remote: { socket, streams, withdrawn: this.isWithdrawn },
    };
  }

  async loadNow(): Promise<boolean> {
    if (this.#hasStarted) return false;
    this.#hasStarted = true;
    const { WorkloadApi } = await import('./workload-api.js'); // gRPC takes a fifth of a second to load
    if (this.#isClosed) return false;
    const { socket, identity } = this.wants;
    this.#api = new WorkloadApi(
      { socket, wants: { svids: identity !== undefined, jwtBundles: this.#wantsJwtBundles }, ...identity },
      {
        onUpdate: (state) => this.#take(state),
        onProblem: (message, { revoked }) => this.#complain(message, revoked),
        onRecovered: () => this.#recover(),
      },
      () => this.host.nowMs(),
    );
    this.#api.start();
    return false;
  }

  /** The keys of JWT-SVIDs as well, from now on. What it has said already stays in force meanwhile. */
  wantJwtBundles(): void {
    this.#wantsJwtBundles = true;
    this.#api?.wantJwtBundles();
  }

  async check(): Promise<boolean> {
    return false; // it speaks up by itself
  }

  async refresh(): Promise<boolean> {
    if (this.#refused !== undefined) this.#take(this.#refused);
    return false;
  }

  close(): void {
    this.#isClosed = true;
    this.#api?.close();
  }

  #take(state: WorkloadState): void {
    this.#refused = undefined;
    const isLost = this.wants.identity !== undefined && state.svid === undefined;
    if (state.svid !== undefined) {
      const own = this.#readOwn(state);
      if (!own.ok) {
        this.#refused = state;
        return this.#complain(own.error, false);
      }
      // The same one again, beside other news: whoever shows it need not begin anew.
      if (this.own?.own.certificatePem !== own.value.own.certificatePem) this.own = own.value;
    }
    this.isWithdrawn = isLost;
    this.value = state;
    this.#crls = this.#bind(state);
    this.#recover();
    this.host.adopted(this);
  }

  /** Each list to the domain whose authority signed it. One that nobody signed decides nothing; where a status is required, that refuses. */
  #bind({ bundles, crls }: WorkloadState): ReadonlyMap<string, readonly Crl[]> {
    const bound = new Map<string, Crl[]>();
    for (const crl of crls) {
      let isBound = false;
      for (const [domain, bundle] of bundles) {
        const lists = bindCrls(bundle, [crl]);
        if (!lists.ok) continue;
        isBound = true;
        bound.set(domain, [...(bound.get(domain) ?? []), ...lists.value]);
      }
      if (!isBound) this.host.noted(this, `no authority stands behind the revocation list of ${crl.issuer}`);
    }
    return bound;
  }

  /** As strict as with files: what no peer could accept, or OpenSSL would not take, is refused with all that came with it. */
  #readOwn({ svid, bundles }: WorkloadState): Result<LoadedSvid, string> {
    const { id, chain, key, certificatePem, keyPem } = svid!;
    const own = { id, leaf: chain.leaf, certificatePem, keyPem };
    const unusable = whyUnusable(own);
    if (unusable !== undefined) return err(unusable);
    const loaded: LoadedSvid = { own, read: { chain, key } };
    const verified = verifyOwnSvid(loaded, bundles, this.host.nowMs(), this.host.clockSkewMs);
    return verified.ok ? ok(loaded) : verified;
  }

  #complain(message: string, isRevoked: boolean): void {
    this.lastError = message;
    if (isRevoked) {
      this.value = undefined;
      this.#refused = undefined; // nor is anything given before to be tried again
      this.#crls = new Map();
      this.isWithdrawn = this.wants.identity !== undefined;
      this.host.adopted(this);
    }
    this.host.spoke(this);
  }

  #recover(): void {
    if (this.lastError === undefined || this.#refused !== undefined) return;
    this.lastError = undefined;
    this.host.spoke(this);
  }
}
