import { isIP } from 'node:net';
import { checkServerIdentity, connect } from 'node:tls';
import type { UpstreamTarget } from '../config/config.js';
import { EndWatch } from '../end-watch.js';
import { Failure } from '../reasons.js';
import type { Carrier, Connector, Opening, OpenOptions } from './connector.js';
import { RefusingConnector } from './refusing-connector.js';
import type { Roots } from './roots.js';
import { SocketOpening, socketOptions } from './socket-opening.js';

/**
 * TLS to a server with a certificate for its host name (RFC 9110 4.3.4). We show no certificate, and no session is resumed: each
 * connection verifies the server anew.
 */
export class RootsConnector implements Connector {
  readonly #name: string;

  /** @param serverName that the certificate must have, where it is not the target's host. */
  constructor(
    readonly target: UpstreamTarget,
    readonly roots: Roots,
    serverName: string | undefined,
  ) {
    const { address } = target;
    this.#name = serverName ?? (address.kind === 'tcp' ? address.host : 'localhost');
  }

  open(options: OpenOptions, done: (result: Carrier | Failure) => void): Opening {
    const { context } = this.roots;
    const name = this.#name;
    if (context === undefined)
      return new RefusingConnector(this.target, `${this.roots.file}: holds no authorities`).open(
        options,
        done,
      );
    const socket = connect({
      ...socketOptions(this.target, options),
      secureContext: context,
      rejectUnauthorized: true,
      checkServerIdentity: (_host, certificate) => checkServerIdentity(name, certificate),
      ...(isIP(name) === 0 ? { servername: name } : {}), // RFC 6066 3: no address
      ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
    });
    const ready = (): Carrier | Failure => {
      if (!socket.authorized || socket.isSessionReused())
        return new Failure('upstream_untrusted', 'the certificate was not verified');
      const alpn =
        socket.alpnProtocol === 'h2' || socket.alpnProtocol === 'http/1.1' ? socket.alpnProtocol : undefined;
      const ends = new EndWatch(socket);
      const server = { target: this.target.name, identity: undefined };
      return {
        socket,
        server,
        alpn,
        refusal: () => (this.roots.context === context ? undefined : outdated()),
        isCutShort: () => ends.isCutShort,
      };
    };
    return new SocketOpening(socket, 'secureConnect', options.connectMs, ready, done);
  }
}

/** What it has begun it finishes: it was verified by what counted then. */
const outdated = (): Failure => new Failure('upstream_reset', 'the authorities have changed since');
