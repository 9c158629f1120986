import type { TrustBundleSet } from '../identity/trust-bundle.js';
import type { VerifiedSvid } from '../identity/x509-svid.js';
import type { Refusal } from '../reasons.js';
import type { PeerReader } from './endpoint-connection.js';

export interface SourceStatus {
  readonly name: string;
  readonly files: readonly string[];
  readonly loadedAt: string | undefined;
  readonly lastError: string | undefined;
  readonly failures: number;
  /** Of a source that is asked for over a network or a socket: where, and how that goes. */
  readonly remote?: object;
}

/** Something that decisions rest on, all-or-nothing by itself and with its own last good. */
export interface Source {
  /** For logs, metrics and /snapshot, e.g. `bundle:example.org`. */
  readonly name: string;
  readonly hasValue: boolean;
  /** It has no value because somebody else has not given one yet: no fault of what stands here. */
  readonly isAwaited: boolean;
  /** We are ready without it: what rests on it is refused by itself. */
  readonly isOptional?: boolean;
  readonly status: SourceStatus;
  readonly lastError: string | undefined;
  /** Failed, or being looked into: what it was judged against may be out of date by the time it is judged. */
  readonly isUnsettled: boolean;
  /** In force and out of date: why. */
  readonly stale: string | undefined;
  /** Everything to watch. */
  readonly files: readonly string[];
  /** The first load. @returns true where a value was adopted. */
  loadNow(): Promise<boolean>;
  /** Looks whether anything changed, and adopts what is whole. */
  check(): Promise<boolean>;
  /** A check that looks again whatever it seems, and judges again what failed. */
  refresh(): Promise<boolean>;
  /** `isEnded`: what it was for is no longer configured, so that nothing of it is to be kept. */
  close(isEnded: boolean): void;
}

/** What a source that speaks up by itself needs of its keeper. */
export interface SourceHost {
  /** It has another value now. */
  adopted(source: Source): void;
  /** Its `lastError` or `stale` is another one now. */
  spoke(source: Source): void;
  /** Something that is in force and out of the ordinary. */
  noted(source: Source, note: string): void;
  nowMs(): number;
  readonly clockSkewMs: number;
  readonly readPeer: PeerReader;
  /** Everything trusted now. */
  bundles(): TrustBundleSet;
  /** What stands against a credential that verified, now. */
  checkSvid(svid: VerifiedSvid, nowMs: number): Refusal | undefined;
}
