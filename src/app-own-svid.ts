import { parseOwnSvid } from './identity/own-svid.js';
import { judgeSvid } from './identity/revocation.js';
import { createSignatureCheck, type PeerChain, verifyX509Svid } from './identity/x509-svid.js';
import type { Refusal } from './reasons.js';
import type { OwnSvid, Snapshot } from './snapshot.js';

/** What is new to be said of our own SVID. */
export type OwnSvidNews = 'refused' | 'revoked' | 'expiring';

const checkSignature = createSignatureCheck();

/** Judges our own SVID as any peer's, whenever what it depends on changes or time goes on. Each thing is news once an SVID. */
export class OwnSvidWatch {
  /** Why our peers refuse us: revoked, expired, or no authority of its trust domain stands behind it any more. */
  refusal: Refusal | undefined;
  #own: OwnSvid | undefined;
  #chain: PeerChain | undefined;
  #told = new Set<OwnSvidNews>();

  get isRevoked(): boolean {
    return this.refusal?.reason === 'svid_revoked';
  }

  get problem(): string | undefined {
    const { refusal } = this;
    return refusal && `${refusal.reason}${refusal.detail && `: ${refusal.detail}`}`;
  }

  look(snapshot: Snapshot, nowMs: number): readonly OwnSvidNews[] {
    if (snapshot.own !== this.#own) this.#read(snapshot.own);
    const { notBeforeMs, notAfterMs } = snapshot.own.leaf;
    this.refusal = this.#refusalOf(snapshot, nowMs);
    const news: OwnSvidNews[] = [];
    const tell = (what: OwnSvidNews, isSo: boolean): void => {
      if (isSo && !this.#told.has(what)) news.push(what);
      if (isSo) this.#told.add(what);
      else this.#told.delete(what);
    };
    tell('refused', this.refusal !== undefined);
    tell('revoked', this.isRevoked);
    tell('expiring', nowMs > notAfterMs - (notAfterMs - notBeforeMs) / 4);
    return news;
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
