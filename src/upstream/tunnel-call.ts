import type { TunnelHandler, TunnelledCall } from '../listener/ports.js';
import { Failure, type FailureCode } from '../reasons.js';
import type { ByteTunnel, TunnelEnds } from './byte-tunnel.js';
import type { Carrier, Opening, OpenOptions } from './connector.js';
import { resetSocket } from './reset-socket.js';

/** A transport of one's own, and who wants to hear what became of it. */
export interface TunnelLease {
  readonly carrier: Carrier;
  /** What it was for is over. @param failure where the server failed it before it said anything. */
  end(failure?: Failure): void;
}

/** Opens a transport to whichever target is next. */
export interface TunnelRoad {
  open(options: Partial<OpenOptions>, done: (result: TunnelLease | Failure) => void): Opening;
}

/** What every tunnel has in common: a transport that is opened for it alone, a last question, and one end. */
export abstract class TunnelCall implements TunnelledCall, TunnelEnds {
  hasBegun = false;
  protected lease: TunnelLease | undefined;
  protected tunnel: ByteTunnel | undefined;
  protected isOver = false;
  #opening: Opening | undefined;

  constructor(
    readonly handler: TunnelHandler,
    road: TunnelRoad,
    options: Partial<OpenOptions>,
  ) {
    this.#opening = road.open({ ...options, allowHalfOpen: true }, (result) => this.#opened(result));
  }

  /** Its transport is there, and it may begin. */
  protected abstract begin(lease: TunnelLease): void;

  resume(): void {}

  letGo(): void {
    this.tunnel?.stop();
  }

  abort(): void {
    if (this.isOver) return;
    this.over();
    this.#opening?.cancel();
    this.tunnel?.destroy();
    if (this.lease !== undefined) resetSocket(this.lease.carrier.socket);
  }

  abstract isCutShort(side: 'client' | 'upstream'): boolean;

  onDone(): void {
    if (this.isOver) return;
    this.over();
    this.handler.onClose();
  }

  onBroken(side: 'client' | 'upstream', cause: Error | undefined): void {
    // Ended by us: its server is not acceptable any more.
    if (side === 'upstream' && cause instanceof Failure) return this.fail(cause.code, cause.message, cause);
    if (side === 'upstream')
      return this.fail('upstream_reset', cause?.message ?? 'the connection closed', cause);
    if (this.isOver) return;
    this.over();
    this.handler.onFailure(new Failure('client_aborted', cause?.message ?? 'cut short'));
  }

  /** Before or after the tunnel is open: nothing more comes. */
  protected fail(code: FailureCode, message: string, cause?: unknown): void {
    if (this.isOver) return;
    const failure = new Failure(code, message, { cause });
    this.over(this.tunnel === undefined ? failure : undefined);
    if (this.lease !== undefined) resetSocket(this.lease.carrier.socket);
    this.handler.onFailure(failure);
  }

  protected over(failure?: Failure): void {
    this.isOver = true;
    this.lease?.end(failure);
  }

  #opened(result: TunnelLease | Failure): void {
    this.#opening = undefined;
    if (result instanceof Failure) {
      this.isOver = true;
      return this.handler.onFailure(result);
    }
    this.lease = result;
    const { socket, server } = result.carrier;
    socket.on('error', ignore); // its close tells
    const refusal = result.carrier.refusal();
    // Where only our own SVID has rotated meanwhile, it is as good as one that was opened before.
    if (refusal?.code === 'upstream_untrusted') return this.fail(refusal.code, refusal.message, refusal);
    if (!this.#mayBegin()) return;
    this.handler.onServer(server);
    this.begin(result);
  }

  #mayBegin(): boolean {
    try {
      if (this.handler.mayBegin() && !this.isOver) return true;
    } catch (cause) {
      this.fail('internal_error', 'a tunnel could not be judged again', cause);
    }
    this.abort();
    return false;
  }
}

const ignore = (): void => undefined;
