import type { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { PeerCertificates } from '../listener/ports.js';

/** More than this from a peer is not a chain but a load; the verifier refuses it. */
const MAX_READ = 17;

/**
 * What the peer presented, leaf first, as DER in the order it was sent. This is the one file that knows Node's differences:
 * - `getPeerX509Certificate()` shows the sent certificates on 20, 22, 24 and 26, but only because the server's context
 *   holds no CA (server-context.ts): where OpenSSL finds a path of its own, Node 24 hides what the peer sent.
 * - It must come before any `getPeerCertificate(true)`; the legacy object drops certificates that are out of order.
 */
export function readPeerChain(socket: Duplex): PeerCertificates | undefined {
  const leaf: X509Certificate | undefined = (socket as TLSSocket).getPeerX509Certificate?.();
  if (leaf === undefined) return undefined;
  const intermediates: Buffer[] = [];
  let next = issuerOf(leaf);
  while (next !== undefined && intermediates.length < MAX_READ) {
    intermediates.push(next.raw);
    next = issuerOf(next);
  }
  return { leaf: leaf.raw, intermediates };
}

/** Not the issuer but the next certificate that was sent; missing from the types. */
const issuerOf = (certificate: X509Certificate): X509Certificate | undefined =>
  (certificate as { issuerCertificate?: X509Certificate }).issuerCertificate;
