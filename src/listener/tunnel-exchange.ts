import type { Socket } from 'node:net';
import type { Failure, Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { AdmittedExchange } from './admitted-exchange.js';
import type { Connection, OpenExchange } from './connection.js';
import type { ListenerContext } from './context.js';
import { EngineWatch } from './engine-watch.js';
import { isRouteAsked } from './external-question.js';
import type { Admitted, Pending } from './pipeline.js';
import type { ExternalAnswer, TunnelHandler, TunnelledCall } from './ports.js';

/** What becomes a tunnel when it is let through: admitted like any request, ended the moment its access is. */
export abstract class TunnelExchange extends AdmittedExchange implements TunnelHandler, OpenExchange {
  readonly socket: Socket;
  protected call: TunnelledCall | undefined;
  /** The upstream's side is there. */
  protected isOpen = false;
  /** Bytes may have flowed. */
  protected hasBegun = false;
  #idleMs = Number.POSITIVE_INFINITY;
  #endsAtMs = Number.POSITIVE_INFINITY;
  #movedAtMs = 0;
  #movedBytes = 0;
  /** What an external engine once allowed is asked about again. */
  #watch: EngineWatch | undefined;
  readonly #readBefore: number;
  readonly #writtenBefore: number;

  constructor(
    listener: ListenerContext,
    connection: Connection,
    snapshot: Snapshot | undefined,
    method: string | undefined,
    target: string | undefined,
  ) {
    super(listener, connection, snapshot, method, target);
    const { socket } = connection;
    this.socket = socket;
    this.#readBefore = socket.bytesRead;
    this.#writtenBefore = socket.bytesWritten;
    connection.open.add(this);
    connection.requests++;
    connection.closing = true; // nothing else follows on this connection
    socket.once('close', () => this.connectionClosed());
    socket.on('error', () => socket.destroy());
  }

  get longLived(): boolean {
    return true;
  }

  /** Every question was answered yes: goes to the upstream. */
  protected abstract openTunnel(admitted: Admitted): void;

  /** What the client sends meanwhile stays in its socket. */
  protected get isOver(): boolean {
    return this.reason !== undefined || this.socket.destroyed;
  }

  protected override engineAnswered(answer: ExternalAnswer): void {
    this.#watch ??= new EngineWatch();
    this.#watch.answered(answer, this.snapshot!, performance.now());
  }

  protected goOn(admitted: Admitted): void {
    const { tunnelIdleMs, tunnelAgeMs } = admitted.snapshot.config.deadlines;
    this.#idleMs = admitted.route.deadlines?.tunnelIdleMs ?? tunnelIdleMs;
    this.#endsAtMs = this.startedMs + (admitted.route.deadlines?.tunnelAgeMs ?? tunnelAgeMs);
    this.openTunnel(admitted);
  }

  onOpen(begin: () => void): void {
    this.isOpen = true;
    this.upstreamMs = performance.now() - this.startedMs;
    this.#movedAtMs = performance.now();
    const tell = (): void => {
      this.hasBegun = true;
      begin();
    };
    this.recordStart(tell, () => this.resetBoth());
  }

  onFailure(failure: Failure): void {
    if (!this.isOpen) return this.refuse(failure.code, failure.message);
    if (this.reason !== undefined) return;
    this.setRefusal(failure.code, failure.message);
    this.outcome = failure.code === 'client_aborted' ? 'client_aborted' : 'upstream_cut_short';
    this.connection.reset();
  }

  onClose(): void {
    this.socket.destroySoon();
  }

  /** An answer that is no tunnel, once its record is kept. */
  protected answer(send: () => void): void {
    if (this.isRecordedFirst) this.recordFirst(send, () => this.resetBoth());
    else send();
  }

  protected resetBoth(): void {
    this.call?.abort();
    this.connection.reset();
  }

  /** A permit that nothing was sent under is taken back: `allow` in a record means that the upstream may have seen it. */
  protected withdraw(reason: Reason, detail: string): void {
    this.setRefusal(reason, detail);
    this.stopAsking();
    if (this.call?.hasBegun !== true && !reason.startsWith('upstream_')) this.permit = undefined;
    this.outcome = this.permit === undefined ? 'refused' : 'upstream_failed';
    this.call?.abort();
  }

  cut(reason: Reason): void {
    if (this.socket.destroyed) return;
    this.setRefusal(reason, '');
    this.outcome = reason === 'deadline_exceeded' ? 'deadline_exceeded' : 'access_ended';
    this.call?.abort();
    this.connection.reset();
  }

  sever(): void {
    this.setRefusal('access_ended', '');
    this.outcome = 'access_ended';
    this.call?.letGo();
  }

  limitTo(): void {
    this.cut('access_ended');
  }

  sweep(tickMs: number): void {
    if (!this.isOpen) return;
    if (
      this.snapshot?.config.externalDecision !== undefined ||
      this.listener.snapshots.current !== this.snapshot
    )
      this.#lookToEngine(tickMs);
    if (tickMs >= this.#endsAtMs) return this.cut('deadline_exceeded');
    const moved = this.socket.bytesRead + this.socket.bytesWritten;
    if (moved !== this.#movedBytes) {
      this.#movedBytes = moved;
      this.#movedAtMs = tickMs;
    } else if (tickMs - this.#movedAtMs >= this.#idleMs) this.cut('deadline_exceeded');
  }

  #lookToEngine(tickMs: number): void {
    const { permit, route } = this;
    const snapshot = this.listener.snapshots.current;
    if (snapshot?.config.externalDecision === undefined || permit === undefined || route === undefined)
      return;
    if (this.caller === undefined) return; // its end is under way
    if (!isRouteAsked(snapshot, route)) return;
    this.#watch ??= new EngineWatch();
    if (!this.#watch.isDue(tickMs, snapshot)) return;
    const asks = { ...permit.request, nowMs: this.listener.clock.nowMs() };
    void this.#askAgain({ asks, route, snapshot }, this.#watch);
  }

  async #askAgain(pending: Pending, watch: EngineWatch): Promise<void> {
    try {
      const answer = await this.ask(pending, true);
      const over = watch.answered(answer, pending.snapshot, performance.now());
      if (over !== undefined && this.reason === undefined && !this.socket.destroyed) this.cut(over);
    } catch (cause) {
      this.listener.diagnostics.error({ err: cause, id: this.id }, 'a tunnel could not be asked about');
      this.cut('internal_error');
    }
  }

  /** The client has gone, and nothing says why. */
  protected get isAbandoned(): boolean {
    return this.reason === undefined && !this.hasBegun;
  }

  connectionClosed(): void {
    if (this.connection.isSevered) return; // it is called again
    this.stopAsking();
    if (this.isOpen) {
      this.requestBytes = this.socket.bytesRead - this.#readBefore;
      this.responseBytes = this.socket.bytesWritten - this.#writtenBefore;
    }
    if (this.isAbandoned) {
      this.outcome = 'client_aborted';
      this.setRefusal('client_aborted', '');
    }
    this.call?.abort();
    this.finish();
  }
}
