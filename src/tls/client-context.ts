import { constants } from 'node:crypto';
import { createSecureContext, type SecureContext, type SecureContextOptions } from 'node:tls';
import type { OwnSvid } from '../snapshot.js';

const { SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET } = constants;

/**
 * What a client that shows our own SVID gives to `tls.connect`, made once an SVID. `ca: []` is deliberate, as for servers
 * (server-context.ts): OpenSSL proves that the server has its key and judges no path; that is ours to do, by the bundle of the
 * server's own trust domain. Without tickets and renegotiation nobody proves anything but in a whole handshake.
 */
export function clientContextOptions(
  own: OwnSvid,
): SecureContextOptions & { readonly secureContext: SecureContext } {
  const options: SecureContextOptions = {
    cert: own.certificatePem,
    key: own.keyPem,
    ca: [],
    minVersion: 'TLSv1.2', // RFC 9325 3.1.1
    secureOptions: SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION,
  };
  return { ...options, secureContext: createSecureContext(options) };
}
