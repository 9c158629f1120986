import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { Credential } from '../listener/credential.js';
import { CredentialIndex } from '../listener/credential.js';
import type { Clock, Diagnostics, PeerReader, SnapshotHolder } from '../listener/ports.js';
import { matchPrincipal, type PrincipalPattern } from '../policy/pattern.js';
import { Failure, ok, type Refusal, type RefusalReason, type Result, refuse } from '../reasons.js';
import type { OwnSvid } from '../snapshot.js';
import type { ServerCredential, ServerTrust } from '../upstream/connector.js';

/** After so long other events get their turn: a thousand ends must not hold up a request. */
const SLICE_MS = 2;

/** Told of every server that proved itself, or did not. */
export interface ServerEars {
  count(expected: string, result: 'accepted' | 'refused', reason: RefusalReason | ''): void;
}

/** What a change ends is counted by it until it is gone. */
export interface EndingCause {
  hold(): void;
  release(): void;
  ends(reason: RefusalReason): void;
  gone(): void;
}

export interface ServerTrustOptions {
  readonly snapshots: SnapshotHolder;
  readonly clock: Clock;
  readonly diagnostics: Diagnostics;
  readonly metrics: ServerEars;
  /** Reads what a server presented. */
  readonly readPeer: PeerReader;
  /** What shows our SVID to a server. */
  clientTls(own: OwnSvid): SecureContextOptions;
}

/** Who servers are: by the same judgement as clients, only that they must be fit for a server, and have the configured ID. */
export class SpiffeServerTrust implements ServerTrust {
  readonly #index = new CredentialIndex(undefined, 'server');
  /** Open connections by what their servers presented. */
  readonly #open = new Map<Credential, Set<TLSSocket>>();
  /** What was said last of servers that were not who they should be, by the ID that was expected. */
  readonly #told = new Map<string, string>();
  #shown: { readonly own: OwnSvid; readonly options: SecureContextOptions } | undefined;

  constructor(readonly options: ServerTrustOptions) {}

  get clientTls(): SecureContextOptions | undefined {
    const snapshot = this.options.snapshots.current;
    if (snapshot === undefined || snapshot.isOwnWithdrawn) return undefined;
    const { own } = snapshot;
    if (this.#shown?.own !== own) this.#shown = { own, options: this.options.clientTls(own) };
    return this.#shown.options;
  }

  identify(socket: TLSSocket, expected: PrincipalPattern): Result<ServerCredential> {
    const presented = this.options.readPeer(socket);
    const credential = presented && this.#index.find(presented);
    const refusal =
      credential === undefined
        ? { reason: 'certificate_missing' as const, detail: 'the server showed no certificate' }
        : (this.#judge(credential) ?? mismatch(credential, expected));
    this.#tell(expected, refusal);
    const fields = credential?.principalFields();
    if (refusal !== undefined || credential === undefined || fields === undefined) {
      this.#index.discardUnvouched(credential);
      return refuse(refusal?.reason ?? 'svid_malformed', refusal?.detail);
    }
    this.#register(credential, socket);
    return ok({ fields, judge: () => this.#judge(credential) });
  }

  /** Ends the connections to servers that are not acceptable any more; in slices, and what runs on them fails. */
  judgeServers(cause: EndingCause): void {
    cause.hold();
    const ends: { socket: TLSSocket; failure: Failure }[] = [];
    for (const [credential, sockets] of this.#open) {
      const refusal = this.#judge(credential);
      if (refusal === undefined) continue;
      const { reason, detail } = refusal;
      const failure = new Failure('upstream_untrusted', `${reason}${detail && `: ${detail}`}`);
      for (const socket of sockets) {
        if (socket.destroyed) continue;
        cause.ends(reason);
        socket.once('close', () => cause.gone());
        ends.push({ socket, failure });
      }
      this.#open.delete(credential);
    }
    const next = (): void => {
      const untilMs = performance.now() + SLICE_MS;
      for (let end = ends.pop(); end !== undefined; end = ends.pop()) {
        end.socket.destroy(end.failure);
        if (performance.now() >= untilMs) break;
      }
      if (ends.length > 0) setImmediate(next);
      else cause.release();
    };
    next();
  }

  #judge(credential: Credential): Refusal | undefined {
    const { snapshots, clock } = this.options;
    if (snapshots.current === undefined) return { reason: 'not_ready', detail: 'no snapshot is in force' };
    return credential.judge(snapshots.current, clock.nowMs());
  }

  #register(credential: Credential, socket: TLSSocket): void {
    const sockets = this.#open.get(credential) ?? new Set();
    this.#open.set(credential, sockets.add(socket));
    socket.once('close', () => {
      sockets.delete(socket);
      if (sockets.size === 0 && this.#open.get(credential) === sockets) this.#open.delete(credential);
    });
  }

  /** Said once a problem, until the server is who it should be. */
  #tell(expected: PrincipalPattern, refusal: Refusal | undefined): void {
    const { metrics, diagnostics } = this.options;
    metrics.count(expected.text, refusal === undefined ? 'accepted' : 'refused', refusal?.reason ?? '');
    if (refusal === undefined) return void this.#told.delete(expected.text);
    const problem = `${refusal.reason}: ${refusal.detail}`;
    if (this.#told.get(expected.text) === problem) return;
    this.#told.set(expected.text, problem);
    diagnostics.warn(
      { expected: expected.text, problem },
      'a server is not who it should be: nothing is sent to it',
    );
  }
}

/** Only of a credential that nothing else stands against: what it says of itself is true then. */
function mismatch({ svid }: Credential, expected: PrincipalPattern): Refusal | undefined {
  if (svid === undefined) return { reason: 'chain_untrusted', detail: '' };
  if (matchPrincipal(expected, svid.id)) return undefined;
  return { reason: 'svid_id_invalid', detail: `it is ${svid.id.uri}, not ${expected.text}` };
}
