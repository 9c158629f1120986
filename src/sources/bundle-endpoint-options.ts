import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.js';
import type { TrustBundle, TrustBundleSet } from '../identity/trust-bundle.js';
import type { VerifiedSvid } from '../identity/x509-svid.js';
import type { Refusal } from '../reasons.js';
import type { StoredBundle } from './bundle-store.js';
import type { PeerReader } from './endpoint-connection.js';
import type { Timers } from './timers.js';

export interface BundleEndpointOptions {
  readonly trustDomain: TrustDomain;
  readonly url: BundleEndpointUrl;
  readonly profile:
    | { readonly kind: 'https_web' /** PEM; in place of Node's roots. */; readonly ca?: readonly string[] }
    | { readonly kind: 'https_spiffe'; readonly endpointId: SpiffeId };
  /** The bundle to begin with; an https_spiffe endpoint in the domain itself needs one (Federation 5.2.2.2). */
  readonly bootstrap?: TrustBundle;
  /** What a client before this one fetched: newer than what is kept or configured, whatever that says. */
  readonly inForce?: StoredBundle;
  /** Where the last good bundle is kept across restarts: a file of this endpoint alone. */
  readonly storeFile?: string;
  /** For the endpoint's own SVID. */
  readonly clockSkewMs?: number;
}

export interface BundleEndpointDeps {
  /** The latest bundles, for an endpoint of another trust domain than the one it serves. */
  endpointBundles(): TrustBundleSet;
  readonly readPeer: PeerReader;
  /** What stands against an endpoint's SVID that verified: revocation, above all. */
  checkSvid(svid: VerifiedSvid, nowMs: number): Refusal | undefined;
  nowMs(): number;
  readonly timers: Timers;
}

export interface BundleEndpointEvents {
  /** In force from now on, in place of the one before; `note` where it is out of the ordinary. */
  onBundle(bundle: TrustBundle, note: string | undefined): void;
  /** A poll failed; the last good bundle serves on. Each problem is told once an outage. */
  onProblem(message: string): void;
  onRecovered(): void;
  /** The bundle in force has not been confirmed since then (Unix time) and for too long. Told once. */
  onStale(sinceMs: number): void;
}

export interface BundleEndpointStatus {
  readonly url: string;
  readonly lastFetchAt: string | undefined;
  readonly nextPollAt: string | undefined;
  readonly lastError: string | undefined;
  /** Failed polls since the start. */
  readonly failures: number;
  readonly sequence: string | undefined;
  readonly staleSince: string | undefined;
}
