import { constants } from 'node:crypto';
import type { SecureContextOptions, TlsOptions } from 'node:tls';
import type { OwnSvid } from '../snapshot.js';

const { SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET } = constants;

/**
 * The part of a server's TLS options that follows the own SVID. `ca: []` is deliberate and not the same as leaving it out
 * (which would mean the public web roots): OpenSSL gets no authority at all, proves possession of the key, and judges no
 * path. Paths are verified by identity/x509-svid.ts, each domain by its own bundle; one pooled CA list would let domain
 * B's authority sign for domain A, and on Node 24 would hide what the peer sent.
 */
export function serverContextOptions(own: OwnSvid): SecureContextOptions {
  return {
    cert: own.certificatePem,
    key: own.keyPem,
    ca: [],
    minVersion: 'TLSv1.2', // RFC 9325 3.1.1
    honorCipherOrder: true,
    // No tickets: resumption is off in 1.2 and 1.3, so that no session outlives a revocation (measured on 20, 22, 24, 26).
    secureOptions: SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION,
  };
}

/** Everything for `tls.createServer` of an inbound listener. Any handshake that proves a key gets in: the judging is ours. */
export function serverTlsOptions(own: OwnSvid, handshakeMs: number, alpn: readonly string[]): TlsOptions {
  return {
    ...serverContextOptions(own),
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: handshakeMs,
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  };
}
