import { constants } from 'node:crypto';
import {
  createSecureContext,
  type SecureContext,
  type SecureContextOptions,
  type TlsOptions,
} from 'node:tls';
import type { OwnSvid, ServerCertificate } from '../snapshot.js';

const { SSL_OP_NO_RENEGOTIATION, SSL_OP_NO_TICKET } = constants;

/** What a server shows of itself. */
type Shown = Pick<OwnSvid, 'certificatePem' | 'keyPem'>;

/**
 * The part of a server's TLS options that follows the own SVID. `ca: []` is deliberate and not the same as leaving it out
 * (which would mean the public web roots): OpenSSL gets no authority at all, proves possession of the key, and judges no
 * path. Paths are verified by identity/x509-svid.ts, each domain by its own bundle; one pooled CA list would let domain
 * B's authority sign for domain A, and on Node 24 would hide what the peer sent.
 */
export function serverContextOptions(own: Shown): SecureContextOptions {
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

/**
 * Everything for `tls.createServer` of an inbound listener. Any handshake that proves a key gets in: the judging is ours.
 * @param special what is shown now to those that cannot verify an SVID.
 */
export function serverTlsOptions(
  own: OwnSvid,
  handshakeMs: number,
  alpn: readonly string[],
  special: () => ServerCertificate | undefined = () => undefined,
): TlsOptions {
  return {
    ...serverContextOptions(own),
    requestCert: true,
    rejectUnauthorized: false,
    handshakeTimeout: handshakeMs,
    SNICallback: (name, done) => {
      const shown = special();
      if (shown === undefined || !isNamed(shown, name)) return done(null); // then it is our own SVID
      try {
        done(null, contextOf(shown));
      } catch (cause) {
        done(cause instanceof Error ? cause : new Error(String(cause)));
      }
    },
    ...(alpn.length === 0 ? {} : { ALPNProtocols: [...alpn] }),
  };
}

const contexts = new WeakMap<ServerCertificate, SecureContext>();

function contextOf(shown: ServerCertificate): SecureContext {
  const known = contexts.get(shown);
  if (known !== undefined) return known;
  const context = createSecureContext(serverContextOptions(shown));
  contexts.set(shown, context);
  return context;
}

/** `*.` stands for one whole label (RFC 9525 6.3). */
function isNamed({ names }: ServerCertificate, asked: string): boolean {
  const name = asked.toLowerCase();
  const dot = name.indexOf('.');
  return names.includes(name) || (dot > 0 && names.includes(`*${name.slice(dot)}`));
}
