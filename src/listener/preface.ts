import { BlockList, isIPv4, type Socket } from 'node:net';
import type { ListenerConfig } from '../config/config.js';
import {
  formatPostgresError,
  GSS_REFUSED,
  parsePostgresStart,
  SSL_ACCEPTED,
} from '../message/postgres-start.js';
import { parseProxyHeader } from '../message/proxy-protocol.js';
import type { ListenerContext } from './context.js';
import { addressOf, rememberTold } from './peer-address.js';
import { type HandshakeReason, refuseHandshake } from './refused-handshake.js';

/** What came of looking at the bytes so far: more is needed, or it is over, and so many of them are taken. */
type Step = 'more' | { readonly taken: number };

/** What comes before TLS on listeners that say so: a load balancer's PROXY header, and a protocol's own way to ask for TLS. */
export class Prefaces {
  readonly #context: ListenerContext;
  #from: NonNullable<ListenerConfig['proxyProtocol']>['from'] | undefined;
  #balancers: BlockList | undefined;

  constructor(context: ListenerContext) {
    this.#context = context;
  }

  /** @param next called when TLS is what comes next; never where the connection was refused. */
  read(socket: Socket, next: () => void): void {
    const snapshot = this.#context.snapshots.current;
    const config = snapshot?.listeners.get(this.#context.name)?.config;
    const isProxied = this.#isBalancer(config, addressOf(socket));
    const isPostgres = config?.startTls === 'postgres';
    if (!isProxied && !isPostgres) return next();
    const preface = new Preface(this.#context, socket, snapshot!.config.deadlines.handshakeMs);
    const afterHeader = isPostgres ? () => preface.readPostgres(next) : () => preface.done(next);
    if (isProxied) preface.readProxyHeader(afterHeader);
    else afterHeader();
  }

  #isBalancer(config: ListenerConfig | undefined, address: string): boolean {
    const from = config?.proxyProtocol?.from;
    if (from === undefined) return false;
    if (from !== this.#from) {
      this.#from = from;
      this.#balancers = new BlockList();
      for (const { address: network, prefix, family } of from)
        this.#balancers.addSubnet(network, prefix, family);
    }
    return this.#balancers?.check(address, isIPv4(address) ? 'ipv4' : 'ipv6') === true;
  }
}

/** One connection before TLS: bounded by what its parsers take, and by the deadline of handshakes. */
class Preface {
  #bytes: Buffer = Buffer.alloc(0);
  #step: (bytes: Buffer) => Step = () => 'more';
  #next: () => void = () => undefined;
  #isOver = false;
  readonly #timer: NodeJS.Timeout;

  constructor(
    readonly context: ListenerContext,
    readonly socket: Socket,
    deadlineMs: number,
  ) {
    this.#timer = setTimeout(
      () => this.#refuse('tls_handshake_timeout', 'what comes before TLS took too long'),
      deadlineMs,
    );
    socket.on('data', this.#onData).once('end', this.#onEnd).once('close', this.#onEnd);
    socket.on('error', this.#onError);
  }

  readProxyHeader(next: () => void): void {
    this.#await(next, (bytes) => {
      const header = parseProxyHeader(bytes);
      if (header === undefined) return 'more';
      if (!header.ok) return this.#refuse('proxy_header_malformed', header.error);
      const { told, length } = header.value;
      if (told !== undefined) rememberTold(this.socket, told);
      return { taken: length };
    });
  }

  readPostgres(next: () => void): void {
    let isGssRefused = false;
    this.#await(
      () => this.done(next),
      (bytes) => {
        const start = parsePostgresStart(bytes);
        if (start === undefined) return 'more';
        if (!start.ok) return this.#refuse('tls_required', start.error.detail, start.error.speaksPostgres);
        if (start.value === 'tls') return { taken: 0 };
        if (start.value === 'gss-request') {
          if (isGssRefused) return this.#refuse('tls_required', 'asked for GSSAPI twice');
          isGssRefused = true;
          this.socket.write(GSS_REFUSED);
          this.#bytes = Buffer.alloc(0);
          return 'more';
        }
        this.socket.write(SSL_ACCEPTED);
        return { taken: bytes.length };
      },
    );
  }

  /** Hands the socket on as it was accepted, with what was read too much. */
  done(next: () => void): void {
    if (this.#isOver) return;
    this.#leave();
    const { socket } = this;
    socket.pause();
    if (this.#bytes.length > 0) socket.unshift(this.#bytes);
    next();
  }

  #await(next: () => void, step: (bytes: Buffer) => Step): void {
    this.#next = next;
    this.#step = step;
    if (this.#bytes.length > 0) this.#look();
  }

  #look(): void {
    const step = this.#step(this.#bytes);
    if (step === 'more' || this.#isOver) return;
    this.#bytes = this.#bytes.subarray(step.taken);
    this.#step = () => 'more';
    this.#next();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#bytes = this.#bytes.length === 0 ? chunk : Buffer.concat([this.#bytes, chunk]);
    this.#look();
  };

  /** A TCP probe that opens and closes is nobody who was refused. */
  readonly #onEnd = (): void => {
    if (this.socket.bytesRead > 0) this.#refuse('tls_handshake_failed', 'ended before TLS began');
    else {
      this.#leave();
      this.socket.destroy();
    }
  };

  readonly #onError = (): void => void this.socket.destroy();

  #refuse(reason: HandshakeReason, detail: string, speaksPostgres = false): Step {
    if (this.#isOver) return 'more';
    this.#leave();
    refuseHandshake(this.context, reason, detail, addressOf(this.socket));
    const { socket } = this;
    socket.on('error', () => undefined);
    if (speaksPostgres) {
      socket.end(formatPostgresError('28000', 'TLS and a client certificate are required'));
      socket.destroySoon();
    } else socket.destroy();
    return 'more';
  }

  #leave(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onEnd);
    this.socket.off('error', this.#onError);
  }
}
