import { createHash } from 'node:crypto';
import { formatAddress } from '../config/address.js';
import type { EndpointSocket } from '../config/endpoint-socket.js';
import { createTrustBundle, type TrustBundle } from '../identity/create-trust-bundle.js';
import type { Crl } from '../identity/crl.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type {
  JwtBundlesResponse,
  X509BundlesResponse,
  X509SvidResponse,
} from '../identity/workload-proto.js';
import { chooseSvid, type WorkloadSvid } from '../identity/workload-svid.js';
import {
  type JwtBundles,
  readJwtBundles,
  readX509Bundles,
  readX509Update,
  type X509Bundles,
  type X509Update,
} from '../identity/workload-update.js';
import { type Pacing, systemPacing } from './pacing.js';
import { type StreamPhase, type StreamSpec, WorkloadStream } from './workload-stream.js';

export interface WorkloadApiOptions {
  readonly socket: EndpointSocket;
  /** Without `svids` only trust is asked for: our own SVID then comes from elsewhere. */
  readonly wants: { readonly svids: boolean; readonly jwtBundles: boolean };
  /** Which of several SVIDs to present; without either the first. */
  readonly id?: SpiffeId | undefined;
  readonly hint?: string | undefined;
}

/** What the Workload API says now, whole; replaced, never changed. */
export interface WorkloadState {
  /** undefined where none was asked for, or where the one asked for is not among those given (any more). */
  readonly svid: WorkloadSvid | undefined;
  /** By trust domain: authorities for X509-SVIDs and keys for JWT-SVIDs side by side, neither ever used for the other. */
  readonly bundles: ReadonlyMap<string, TrustBundle>;
  /** Read, not yet believed: `bindCrls` does that. */
  readonly crls: readonly Crl[];
}

export interface WorkloadApiEvents {
  /** Something changed; equal content gives no call. */
  onUpdate(state: WorkloadState): void;
  /**
   * Said once for each distinct problem until it is over. `revoked`: we are entitled to nothing any more, and what `onUpdate`
   * gave must not be used; else it stays in force.
   */
  onProblem(message: string, how: { readonly revoked: boolean }): void;
  /** No problem is left. */
  onRecovered(): void;
}

export interface WorkloadApiStatus {
  readonly socket: string;
  readonly streams: readonly {
    readonly method: string;
    readonly phase: StreamPhase;
    readonly lastError?: string;
  }[];
  /** Of the state in force. */
  readonly loadedAt: string | undefined;
  readonly failures: number;
}

/** What one of the streams says is wrong, and what was said of it since it last went well. */
interface Trouble {
  current: string | undefined;
  readonly said: Set<string>;
}

const MAX_SAID = 32;
const JWT_BUNDLES = 'FetchJWTBundles';

/** A client of the SPIFFE Workload API: keeps its streams open and joins what they say. */
export class WorkloadApi {
  #x509: (X509Bundles & { readonly svid: WorkloadSvid | undefined }) | undefined;
  #jwt: JwtBundles | undefined;
  #state: WorkloadState | undefined;
  #content = '';
  #loadedAtMs: number | undefined;
  #failures = 0;
  readonly #streams: {
    open(): void;
    close(): void;
    readonly method: string;
    readonly phase: StreamPhase;
  }[];
  readonly #troubles = new Map<string, Trouble>();

  constructor(
    private readonly options: WorkloadApiOptions,
    private readonly events: WorkloadApiEvents,
    private readonly nowMs: () => number,
    private readonly pacing: Pacing = systemPacing,
  ) {
    const { svids, jwtBundles } = options.wants;
    const x509 = svids ? this.#svidStream() : this.#bundleStream();
    this.#streams = jwtBundles ? [x509, this.#jwtStream()] : [x509];
  }

  start(): void {
    for (const stream of this.#streams) if (stream.phase === 'idle') stream.open();
  }

  /** The keys of JWT-SVIDs too, from now on. */
  wantJwtBundles(): void {
    if (this.#streams.some(({ method }) => method === JWT_BUNDLES)) return;
    const stream = this.#jwtStream();
    this.#streams.push(stream);
    stream.open();
  }

  /** Nothing is said after it. */
  close(): void {
    for (const stream of this.#streams) stream.close();
  }

  get status(): WorkloadApiStatus {
    return {
      socket: formatAddress(this.options.socket),
      streams: this.#streams.map(({ method, phase }) => {
        const lastError = this.#troubles.get(method)?.current;
        return { method, phase, ...(lastError === undefined ? {} : { lastError }) };
      }),
      loadedAt: this.#loadedAtMs === undefined ? undefined : new Date(this.#loadedAtMs).toISOString(),
      failures: this.#failures,
    };
  }

  #svidStream() {
    const method = 'FetchX509SVID';
    return this.#stream<X509SvidResponse, X509Update>(
      { socket: this.options.socket, method, read: readX509Update },
      ({ svids, bundles, crls }) => {
        // A withdrawn SVID is not presented any more (Workload API 5.2.1), and no other one in its place (8). Trust goes on.
        const chosen = chooseSvid(svids, this.options);
        this.#x509 = { svid: chosen.ok ? chosen.value : undefined, bundles, crls };
        return chosen.ok ? undefined : chosen.error;
      },
      () => this.#loseX509(),
    );
  }

  #bundleStream() {
    return this.#stream<X509BundlesResponse, X509Bundles>(
      { socket: this.options.socket, method: 'FetchX509Bundles', read: readX509Bundles },
      (bundles) => {
        this.#x509 = { ...bundles, svid: undefined };
        return undefined;
      },
      () => this.#loseX509(),
    );
  }

  #jwtStream() {
    return this.#stream<JwtBundlesResponse, JwtBundles>(
      { socket: this.options.socket, method: JWT_BUNDLES, read: readJwtBundles },
      (bundles) => {
        this.#jwt = bundles;
        return undefined;
      },
      () => {
        this.#jwt = undefined;
        this.#publish();
        return false;
      },
    );
  }

  /** `take` adopts a value and says what is wrong with it, `lose` gives up what came before and says whether that was all. */
  #stream<M extends object, T>(
    spec: StreamSpec<M, T>,
    take: (value: T) => string | undefined,
    lose: () => boolean,
  ): WorkloadStream<M, T> {
    const { method } = spec;
    this.#troubles.set(method, { current: undefined, said: new Set() });
    const events = {
      onValue: (value: T) => {
        const problem = take(value);
        this.#publish();
        if (problem === undefined) this.#recover(method);
        else this.#complain(method, problem, false);
      },
      onProblem: (problem: string) => this.#complain(method, problem, false),
      onDenied: (problem: string) => this.#complain(method, problem, lose()),
    };
    return new WorkloadStream(spec, events, this.nowMs, this.pacing);
  }

  /** True where there was something in force. */
  #loseX509(): boolean {
    const hadState = this.#state !== undefined;
    this.#x509 = undefined;
    this.#state = undefined;
    this.#content = '';
    this.#loadedAtMs = undefined;
    return hadState;
  }

  #publish(): void {
    if (this.#x509 === undefined) return;
    const { svid, crls } = this.#x509;
    const state = { svid, crls, bundles: joinBundles(this.#x509.bundles, this.#jwt, this.#state?.bundles) };
    const content = contentOf(state);
    if (content === this.#content) return; // Workload API appendix A: no reload for what is in force already
    this.#content = content;
    this.#state = state;
    this.#loadedAtMs = this.nowMs();
    this.events.onUpdate(state);
  }

  #complain(method: string, problem: string, revoked: boolean): void {
    const trouble = this.#troubles.get(method);
    if (trouble === undefined) return;
    this.#failures++;
    trouble.current = problem;
    const isNew = !trouble.said.has(problem) && trouble.said.size < MAX_SAID;
    if (isNew) trouble.said.add(problem);
    const where = `Workload API at ${formatAddress(this.options.socket)}: ${method}: ${problem}`;
    if (isNew || revoked) this.events.onProblem(where, { revoked });
  }

  #recover(method: string): void {
    const trouble = this.#troubles.get(method);
    if (trouble?.current === undefined) return;
    trouble.current = undefined;
    trouble.said.clear();
    if ([...this.#troubles.values()].every(({ current }) => current === undefined)) this.events.onRecovered();
  }
}

/** What did not change keeps its object, so that nothing is computed for it again. */
function joinBundles(
  x509: ReadonlyMap<string, TrustBundle>,
  jwt: JwtBundles | undefined,
  before: ReadonlyMap<string, TrustBundle> | undefined,
): ReadonlyMap<string, TrustBundle> {
  const joined = new Map<string, TrustBundle>();
  for (const [domain, bundle] of [...x509, ...(jwt ?? [])]) {
    if (joined.has(domain)) continue;
    const keys = jwt?.get(domain)?.jwtKeys;
    const whole = keys === undefined ? bundle : createTrustBundle({ ...bundle, jwtKeys: keys });
    const known = before?.get(domain);
    joined.set(domain, known?.revision === whole.revision ? known : whole);
  }
  return joined;
}

function contentOf({ svid, bundles, crls }: WorkloadState): string {
  const content = [
    svid === undefined ? null : [svid.id.uri, svid.hint, svid.chain.fingerprint],
    [...bundles].map(([domain, { revision }]) => `${domain} ${revision}`).sort(),
    crls.map(({ sha256 }) => sha256).sort(),
  ];
  return createHash('sha256').update(JSON.stringify(content)).digest('hex');
}
