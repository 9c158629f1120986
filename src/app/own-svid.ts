import { parseOwnSvid } from '../identity/own-svid.js';
import { judgeSvid } from '../identity/revocation.js';
import { createSignatureCheck, type PeerChain, verifyX509Svid } from '../identity/x509-svid.js';
import type { Diagnostics } from '../listener/ports.js';
import type { Refusal } from '../reasons.js';
import type { OwnSvid, Snapshot } from '../snapshot.js';

type News = 'refused' | 'revoked' | 'expiring';

/** Where it is said. */
export interface OwnSvidEars {
  readonly diagnostics: Diagnostics;
  setRevoked(isRevoked: boolean): void;
  record(event: 'svid.revoked' | 'svid.expiring', snapshot: Snapshot, detail: string): void;
}

const checkSignature = createSignatureCheck();

/** Judges our own SVID as any peer's, whenever what it depends on changes or time goes on. Each thing is said once an SVID. */
export class OwnSvidWatch {
  /** Why our peers refuse us: revoked, expired, or no authority of its trust domain stands behind it any more. */
  refusal: Refusal | undefined;
  #own: OwnSvid | undefined;
  #chain: PeerChain | undefined;
  #told = new Set<News>();

  constructor(readonly ears: OwnSvidEars) {}

  get isRevoked(): boolean {
    return this.refusal?.reason === 'svid_revoked';
  }

  get problem(): string | undefined {
    const { refusal } = this;
    return refusal && `${refusal.reason}${refusal.detail && `: ${refusal.detail}`}`;
  }

  /** Judges it now. What is open is served on, whatever is wrong: it is our peers who refuse us. */
  look(snapshot: Snapshot, nowMs: number): void {
    if (snapshot.own !== this.#own) this.#read(snapshot.own);
    const { notBeforeMs, notAfterMs } = snapshot.own.leaf;
    this.refusal = this.#refusalOf(snapshot, nowMs);
    const tell = (what: News, isSo: boolean): void => {
      if (isSo && !this.#told.has(what)) this.#say(what, snapshot);
      if (isSo) this.#told.add(what);
      else this.#told.delete(what);
    };
    tell('refused', this.refusal !== undefined);
    tell('revoked', this.isRevoked);
    tell('expiring', nowMs > notAfterMs - (notAfterMs - notBeforeMs) / 4);
    this.ears.setRevoked(this.isRevoked);
  }

  #say(news: News, snapshot: Snapshot): void {
    const { diagnostics } = this.ears;
    const { problem } = this;
    const { serial, notAfterMs } = snapshot.own.leaf;
    if (news === 'refused')
      return diagnostics.error({ serial, problem }, 'the own SVID is not acceptable: peers refuse it');
    if (news === 'revoked') return this.ears.record('svid.revoked', snapshot, `${serial}: ${problem}`);
    const notAfter = new Date(notAfterMs).toISOString();
    diagnostics.warn(
      { serial, notAfter },
      'less than a quarter of the own SVID is left, and it was not rotated',
    );
    this.ears.record('svid.expiring', snapshot, `${serial} ends at ${notAfter}`);
  }

  #refusalOf(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    const chain = this.#chain;
    if (chain === undefined) return undefined;
    const { clockSkewMs } = snapshot.config.identityOptions;
    const verified = verifyX509Svid(chain, snapshot.bundles, nowMs, { clockSkewMs, checkSignature });
    if (!verified.ok) return verified.error;
    const judged = judgeSvid(verified.value, nowMs, {
      revocations: snapshot.revocations,
      revocation: snapshot.revocationPolicies.get(chain.id.trustDomain),
      clockSkewMs,
    });
    return judged.ok ? undefined : judged.error;
  }

  #read(own: OwnSvid): void {
    const read = parseOwnSvid(Buffer.from(own.certificatePem, 'latin1'), Buffer.from(own.keyPem, 'latin1'));
    this.#own = own;
    this.#chain = read.ok ? read.value.chain : undefined;
    this.#told = new Set();
  }
}
