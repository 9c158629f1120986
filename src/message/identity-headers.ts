import { escapeDnText } from './char-class.js';
import type { ForwardPlan } from './forward-policy.js';
import { type ForwardTemplateValues, formatForwardTemplate } from './forward-template.js';
import { formatXfcc, type XfccPair } from './xfcc.js';

/** A verified peer as far as headers tell of it. */
export interface PeerIdentity {
  readonly id: string;
  readonly trustDomain: string;
  /** SPIFFE path, with its leading slash. */
  readonly path: string;
  readonly leafDer: Uint8Array;
  /** Issuers in TLS order, without the leaf and the root. */
  readonly chainDer: readonly Uint8Array[];
  /** Lower-case hex SHA-256 of the leaf's DER. */
  readonly sha256: string;
  readonly serial: string;
  readonly subject: string;
  readonly issuer: string;
  readonly dnsSans: readonly string[];
  readonly notAfterMs: number;
  /** By the registry, where it knows them. */
  readonly owner?: string | undefined;
  readonly environment?: string | undefined;
}

/** Header lines that are the same for every request of one credential under one plan. */
export interface IdentityHeaders {
  /** Flat [name, value, …]. */
  readonly fixed: readonly string[];
  /** Our element of x-forwarded-client-cert; undefined where there is no certificate to tell of. */
  readonly xfccElement: string | undefined;
}

/** Built once a connection and plan, then shared by its requests. */
export function buildIdentityHeaders(plan: ForwardPlan, peer: PeerIdentity): IdentityHeaders {
  const fixed: string[] = [];
  if (plan.spiffeId) fixed.push('x-spiffe-id', escapeDnText(peer.id));
  if (plan.clientCert) {
    fixed.push('client-cert', byteSequence(peer.leafDer));
    if (peer.chainDer.length > 0) fixed.push('client-cert-chain', peer.chainDer.map(byteSequence).join(', '));
  }
  if (plan.headers.length > 0) {
    const values = templateValues(peer);
    for (const { name, template } of plan.headers) {
      const value = formatForwardTemplate(template, values);
      if (value !== undefined) fixed.push(name, value);
    }
  }
  return { fixed, xfccElement: ownXfccElement(plan.ownSpiffeId, peer) };
}

/** Envoy's order By, Hash, Subject, URI; By only with an own URI SAN, Subject and URI even when empty (XF-5). */
export function ownXfccElement(
  ownSpiffeId: string | undefined,
  peer: { readonly sha256: string; readonly subject?: string; readonly id?: string },
): string {
  const pairs: XfccPair[] = [];
  if (ownSpiffeId !== undefined) pairs.push(['By', ownSpiffeId]);
  pairs.push(['Hash', peer.sha256]);
  if (peer.subject !== undefined) pairs.push(['Subject', peer.subject]);
  if (peer.id !== undefined) pairs.push(['URI', peer.id]);
  return formatXfcc([pairs]);
}

/** RFC 9440 2.1: an RFC 8941 Byte Sequence, padded base64 in colons. */
const byteSequence = (der: Uint8Array): string =>
  `:${Buffer.from(der.buffer, der.byteOffset, der.byteLength).toString('base64')}:`;

const templateValues = (peer: PeerIdentity): ForwardTemplateValues => ({
  id: peer.id,
  trustDomain: peer.trustDomain,
  path: peer.path,
  serial: peer.serial,
  sha256: peer.sha256,
  subject: peer.subject,
  issuer: peer.issuer,
  notAfter: new Date(peer.notAfterMs).toISOString(),
  owner: peer.owner,
  environment: peer.environment,
});
