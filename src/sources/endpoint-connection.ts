import { constants, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import { readPemCertificates } from '../identity/pem.js';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import {
  type PeerChain,
  parsePeerChain,
  type SignatureCheck,
  type VerifiedSvid,
  verifyX509Svid,
} from '../identity/x509-svid.js';
import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import type { Timers } from './timers.js';

const CONNECT_MS = 10_000;
const MAX_PROBLEM_CHARACTERS = 300;

/** What a server presented, as DER in the order it was sent. */
export interface PresentedChain {
  readonly leaf: Buffer;
  readonly intermediates: readonly Buffer[];
}

/** Reads what the server presented in the handshake. */
export type PeerReader = (socket: TLSSocket) => PresentedChain | undefined;

/** What an https_spiffe endpoint is verified with, asked at the moment of each verification. */
export interface SpiffeVerification {
  readonly endpointId: SpiffeId;
  bundles(): TrustBundleSet;
  readonly readPeer: PeerReader;
  /** What else stands against it: revocation, above all. */
  checkSvid(svid: VerifiedSvid, nowMs: number): Refusal | undefined;
  nowMs(): number;
  readonly clockSkewMs: number;
  readonly checkSignature: SignatureCheck;
}

/** How the server at the other end must prove itself. One way is given, and no other is ever tried. */
export type ServerTrust =
  | { readonly kind: 'https_web'; readonly ca: readonly string[] | undefined }
  | { readonly kind: 'https_spiffe'; readonly verification: SpiffeVerification };

/** A TLS connection whose server has proven who it is. */
export interface ProvenConnection {
  readonly socket: TLSSocket;
  /** Why the server would not be accepted any more at this moment, or undefined. */
  problemNow(): string | undefined;
}

/**
 * Opens a TLS connection of its own, without a client certificate or a session to resume. No byte of a request can go out
 * before the server has proven itself: the connection is handed over only then. Errors: text, within 10 seconds at most.
 */
export function connectEndpoint(
  url: BundleEndpointUrl,
  trust: ServerTrust,
  timers: Timers,
  signal: AbortSignal,
): Promise<Result<ProvenConnection, string>> {
  const options = tlsOptions(url, trust);
  if (!options.ok) return Promise.resolve(options);
  return new Promise((resolve) => {
    const socket = connect(options.value);
    const finish = (result: Result<ProvenConnection, string>): void => {
      cancelDeadline();
      signal.removeEventListener('abort', onAbort);
      if (!result.ok) socket.destroy();
      resolve(result);
    };
    const onAbort = (): void => finish(err(String(signal.reason)));
    const cancelDeadline = timers.after(CONNECT_MS, () =>
      finish(err(`no TLS connection within ${CONNECT_MS / 1000} seconds`)),
    );
    signal.addEventListener('abort', onAbort);
    // Stays for the socket's life: an error between two owners of it would otherwise end the process.
    socket.on('error', (error) => finish(err(`no TLS connection: ${plainProblem(error)}`)));
    socket.once('close', () => finish(err('the connection was closed during the TLS handshake')));
    socket.once('secureConnect', () => {
      const problemNow = proofOf(socket, trust);
      const problem = problemNow();
      finish(problem === undefined ? ok({ socket, problemNow }) : err(problem));
    });
    if (signal.aborted) onAbort();
  });
}

function tlsOptions(url: BundleEndpointUrl, trust: ServerTrust): Result<ConnectionOptions, string> {
  const common: ConnectionOptions = {
    host: url.host,
    port: url.port,
    // An address is no name to ask for (RFC 6066 3); the host check then takes the address itself.
    ...(isIP(url.host) === 0 ? { servername: url.host.replace(/\.$/, '') } : {}),
    ALPNProtocols: ['http/1.1'],
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
  };
  if (trust.kind === 'https_spiffe')
    // OpenSSL proves possession of the key and judges no path. With `ca: []` it holds no authority; left out, it would hold the web's.
    return ok({ ...common, ca: [], rejectUnauthorized: false });
  if (trust.ca === undefined) return ok({ ...common, rejectUnauthorized: true });
  const unusable = whyUnusable(trust.ca);
  return unusable === undefined
    ? ok({ ...common, ca: [...trust.ca], rejectUnauthorized: true })
    : err(unusable);
}

/** OpenSSL takes the readable half of broken PEM without a word, and of a wholly unreadable one nothing. */
function whyUnusable(authorities: readonly string[]): string | undefined {
  let count = 0;
  for (const text of authorities) {
    const certificates = readPemCertificates(Buffer.from(text, 'latin1'));
    if (!certificates.ok) return `the configured web authorities cannot be read: ${certificates.error}`;
    for (const der of certificates.value) {
      try {
        new X509Certificate(der);
      } catch {
        return 'the configured web authorities hold a block that is no certificate';
      }
      count++;
    }
  }
  return count === 0 ? 'the configured web authorities hold no certificate' : undefined;
}

/** Reads what the server presented, once, while the connection lives; judging it can be repeated. */
function proofOf(socket: TLSSocket, trust: ServerTrust): () => string | undefined {
  if (trust.kind === 'https_web') {
    const problem = socket.authorized ? undefined : 'the server has not proven itself';
    return () => problem;
  }
  const { verification } = trust;
  const doubt = (cause: unknown): string =>
    `the server's certificate could not be judged: ${plainProblem(cause)}`;
  try {
    const chain = readServer(socket, verification);
    return () => {
      try {
        const refusal = chain.ok ? judgeServer(chain.value, verification) : chain.error;
        if (refusal === undefined) return undefined;
        const { reason, detail } = refusal;
        return `the server is not accepted as ${verification.endpointId.uri}: ${reason} ${detail}`.trim();
      } catch (cause) {
        return doubt(cause);
      }
    };
  } catch (cause) {
    return () => doubt(cause);
  }
}

/** The chain of exactly the configured ID (Federation 5.2.2.4). Host names do not count. */
function readServer(socket: TLSSocket, { readPeer, endpointId }: SpiffeVerification): Result<PeerChain> {
  const presented = readPeer(socket);
  if (presented === undefined) return refuse('certificate_missing');
  const chain = parsePeerChain(presented.leaf, presented.intermediates, 'server');
  if (!chain.ok) return chain;
  const { uri } = chain.value.id;
  return uri === endpointId.uri ? chain : refuse('svid_id_invalid', `it presents ${uri}`);
}

function judgeServer(chain: PeerChain, verification: SpiffeVerification): Refusal | undefined {
  const { clockSkewMs, checkSignature } = verification;
  const nowMs = verification.nowMs();
  const svid = verifyX509Svid(chain, verification.bundles(), nowMs, { clockSkewMs, checkSignature });
  return svid.ok ? verification.checkSvid(svid.value, nowMs) : svid.error;
}

/** An error in words for a log line: a server has a say in some of them, so they are cut short and keep to printable characters. */
export function plainProblem(cause: unknown): string {
  const { code, message } = cause as { code?: unknown; message?: unknown };
  const text = [message, code].filter((part) => typeof part === 'string' && part !== '');
  const line = text.length === 0 ? String(cause) : text.join(' ');
  return line.replace(/[^\x20-\x7e]+/g, ' ').slice(0, MAX_PROBLEM_CHARACTERS);
}
