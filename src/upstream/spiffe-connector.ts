import { isIP } from 'node:net';
import { connect, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { UpstreamTarget } from '../config/config.js';
import { EndWatch } from '../end-watch.js';
import type { PrincipalPattern } from '../policy/pattern.js';
import { Failure } from '../reasons.js';
import type { Alpn, Carrier, Connector, Opening, OpenOptions, ServerTrust } from './connector.js';
import { SocketOpening, socketOptions } from './socket-opening.js';

/**
 * TLS with our own SVID to a server that must have the configured SPIFFE ID. No byte of a request can go out before the server
 * has proven itself: the socket is handed over only then. Host names do not count, but for asking for one (SNI).
 */
export class SpiffeConnector implements Connector {
  constructor(
    readonly target: UpstreamTarget,
    readonly expected: PrincipalPattern,
    readonly trust: ServerTrust,
  ) {}

  open(options: OpenOptions, done: (result: Carrier | Failure) => void): Opening {
    const shown = this.trust.clientTls;
    if (shown === undefined) return failing('we have no SVID to show', done);
    const socket = connect({
      ...socketOptions(this.target, options),
      ...shown,
      ...serverNameFor(this.target),
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
      rejectUnauthorized: false, // judged by `identify`, and handed to nobody before
    });
    const judge = (): Carrier | Failure => this.#identify(socket, shown);
    return new SocketOpening(socket, 'secureConnect', options.connectMs, judge, done);
  }

  #identify(socket: TLSSocket, shown: SecureContextOptions): Carrier | Failure {
    const { target, trust, expected } = this;
    try {
      const identified = trust.identify(socket, expected);
      if (!identified.ok) return untrusted(target, identified.error);
      const credential = identified.value;
      const ends = new EndWatch(socket);
      return {
        socket,
        server: { target: target.name, identity: credential.fields },
        alpn: alpnOf(socket),
        refusal: () => {
          const refusal = credential.judge();
          if (refusal !== undefined) return untrusted(target, refusal);
          return trust.clientTls === shown
            ? undefined
            : new Failure('upstream_reset', 'our SVID has rotated');
        },
        isCutShort: () => ends.isCutShort,
      };
    } catch (cause) {
      return new Failure('upstream_untrusted', `${target.name} could not be judged`, { cause });
    }
  }
}

const untrusted = (
  { name }: UpstreamTarget,
  { reason, detail }: { reason: string; detail: string },
): Failure => new Failure('upstream_untrusted', `${name}: ${reason}${detail && `: ${detail}`}`);

function failing(problem: string, done: (result: Failure) => void): Opening {
  const handle = setImmediate(() => done(new Failure('upstream_untrusted', problem)));
  return { cancel: () => clearImmediate(handle) };
}

/** An address is no name to ask for (RFC 6066 3). */
function serverNameFor({ address }: UpstreamTarget): { servername?: string } {
  if (address.kind === 'unix' || isIP(address.host) !== 0) return {};
  return { servername: address.host.replace(/\.$/, '') };
}

const alpnOf = ({ alpnProtocol }: TLSSocket): Alpn | undefined =>
  alpnProtocol === 'h2' || alpnProtocol === 'http/1.1' ? alpnProtocol : undefined;
