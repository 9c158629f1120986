import { connect } from 'node:net';
import type { UpstreamTarget } from '../config/config.js';
import type { Failure } from '../reasons.js';
import type { Carrier, Connector, Opening, OpenOptions } from './connector.js';
import { SocketOpening, socketOptions } from './socket-opening.js';

/** TCP or a unix socket, without TLS. */
export class PlainConnector implements Connector {
  constructor(readonly target: UpstreamTarget) {}

  open(options: OpenOptions, done: (result: Carrier | Failure) => void): Opening {
    const socket = connect(socketOptions(this.target, options));
    const server = { target: this.target.name, identity: undefined };
    const carrier: Carrier = { socket, server, alpn: undefined, refusal: never };
    return new SocketOpening(socket, 'connect', options.connectMs, () => carrier, done);
  }
}

const never = (): undefined => undefined;
