import type { OnReadOpts, Socket } from 'node:net';
import type { SecureContextOptions, TLSSocket } from 'node:tls';
import type { UpstreamTarget } from '../config/config.js';
import type { UpstreamServer } from '../listener/ports.js';
import type { PrincipalPattern } from '../policy/pattern.js';
import type { Failure, Refusal, Result } from '../reasons.js';

export type Alpn = 'h2' | 'http/1.1';

/** A transport to one target, ready for bytes. Who gets it listens to its socket's errors from the same moment on. */
export interface Carrier {
  readonly socket: Socket;
  /** Which target it is, and who it proved to be where that was asked. */
  readonly server: UpstreamServer;
  /** What TLS settled. */
  readonly alpn: Alpn | undefined;
  /** Why no further request may be sent on it now (revoked, expired, our SVID has rotated); undefined = it may. Cheap: asked before each. */
  refusal(): Failure | undefined;
  /** Of TLS: an end that was reported came without its goodbye, so that what came may not be all (RFC 8446 6.1, RFC 9112 9.8). */
  isCutShort?(): boolean;
}

export interface OpenOptions {
  /** All of it: name, TCP, TLS, verification. */
  readonly connectMs: number;
  readonly alpn?: readonly Alpn[];
  /** As net.connect takes it: what is read then never becomes `data` events. */
  readonly onread?: OnReadOpts;
  /** The end that the other side sends does not end ours (tunnels). */
  readonly allowHalfOpen?: boolean;
}

/** Opens transports to one target: TCP or unix socket, plaintext or TLS. */
export interface Connector {
  readonly target: UpstreamTarget;
  /** @param done called once, later, with what came of it, unless it is given up by what this returns. */
  open(options: OpenOptions, done: (result: Carrier | Failure) => void): Opening;
}

export interface Opening {
  cancel(): void;
}

/** Who servers are; app hands it in. */
export interface ServerTrust {
  /** Our SVID and key, no CA: we verify ourselves. Another object when our SVID has rotated; undefined while there is none. */
  readonly clientTls: SecureContextOptions | undefined;
  /** Judges what a server presented in a finished handshake against the configured pattern. */
  identify(socket: TLSSocket, expected: PrincipalPattern): Result<ServerCredential>;
}

export interface ServerCredential {
  /** Now; cached like a client's. */
  judge(): Refusal | undefined;
  readonly fields: NonNullable<UpstreamServer['identity']>;
}
