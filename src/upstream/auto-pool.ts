import { Failure } from '../reasons.js';
import type { CallPool, PoolOptions } from './call-pool.js';
import type { Alpn, Carrier, Connector, Opening, OpenOptions } from './connector.js';
import type { UpstreamCall } from './upstream-call.js';
import { WaitingCalls } from './waiting-calls.js';

/** So many requests may wait until it is known what the server speaks. */
const MAX_WAITING = 1024;
const BOTH: readonly Alpn[] = ['h2', 'http/1.1'];

/** Makes the pool of what a server speaks. */
export type MakePool = (options: PoolOptions) => CallPool;

/**
 * What one target speaks is settled by ALPN (RFC 7301): the first connection decides, and every further one is asked again, so
 * that a server that speaks something else since is noticed.
 */
export class AutoPool implements CallPool {
  readonly #options: PoolOptions;
  readonly #make: Readonly<Record<Alpn, MakePool>>;
  readonly #waiting = new WaitingCalls(MAX_WAITING);
  #spoken: Alpn | undefined;
  #pool: CallPool | undefined;
  /** Finish what they were given. */
  readonly #former = new Set<CallPool>();
  #opening: Opening | undefined;
  #isClosing = false;
  #isDestroyed = false;

  constructor(options: PoolOptions, make: Readonly<Record<Alpn, MakePool>>) {
    this.#options = options;
    this.#make = make;
  }

  get connections(): number {
    let sum = this.#opening === undefined ? 0 : 1;
    for (const pool of this.#all) sum += pool.connections;
    return sum;
  }

  start(call: UpstreamCall, isAfresh: boolean): void {
    if (this.#pool !== undefined) return this.#pool.start(call, isAfresh);
    if (this.#isDestroyed) return call.fail(new Failure('upstream_reset', 'the upstream is given up'));
    const crowdedOut = this.#waiting.add(call);
    this.#learn(call);
    crowdedOut?.fail(new Failure('upstream_overloaded', `${MAX_WAITING} requests wait for the upstream`));
  }

  abandon(call: UpstreamCall): void {
    this.#waiting.delete(call);
    for (const pool of this.#all) pool.abandon(call);
  }

  judge(): void {
    for (const pool of this.#all) pool.judge();
  }

  close(): void {
    this.#isClosing = true;
    this.#pool?.close();
  }

  destroy(): void {
    this.#isDestroyed = true;
    this.#opening?.cancel();
    this.#opening = undefined;
    const waiting = [...this.#waiting];
    for (const call of waiting) this.#waiting.delete(call);
    for (const pool of this.#all) pool.destroy();
    for (const call of waiting) call.fail(new Failure('upstream_reset', 'the upstream is given up'));
  }

  get #all(): CallPool[] {
    return this.#pool === undefined ? [...this.#former] : [...this.#former, this.#pool];
  }

  #learn({ request }: UpstreamCall): void {
    if (this.#opening !== undefined) return;
    const connectMs = request.connectMs ?? this.#options.connectMs;
    this.#opening = this.#options.connector.open({ connectMs, alpn: BOTH }, (result) => this.#learnt(result));
  }

  #learnt(result: Carrier | Failure): void {
    this.#opening = undefined;
    if (!(result instanceof Failure)) return this.#speak(result);
    this.#options.onRefused(result);
    const waiting = [...this.#waiting];
    for (const call of waiting) this.#waiting.delete(call);
    for (const call of waiting) call.fail(result, 'unsent');
  }

  /** Nothing has been read of this connection: the pool of HTTP/2 takes it, that of HTTP/1.1 reads in another way. */
  #speak(carrier: Carrier): void {
    const spoken = spokenOn(carrier);
    this.#spoken = spoken;
    const connector = new AskingConnector(this.#options.connector, spoken, carrier, () =>
      this.#forget(spoken),
    );
    if (spoken !== 'h2') connector.dropFirst();
    const pool = this.#make[spoken]({ ...this.#options, connector });
    this.#pool = pool;
    for (let call = this.#waiting.takeNext(); call !== undefined; call = this.#waiting.takeNext())
      pool.start(call, false);
    connector.dropFirst();
    if (this.#isClosing) pool.close();
  }

  /** It speaks something else now: what comes next finds out what. */
  #forget(spoken: Alpn): void {
    if (this.#spoken !== spoken || this.#pool === undefined) return;
    for (const pool of this.#former) if (pool.connections === 0) this.#former.delete(pool);
    this.#former.add(this.#pool);
    this.#pool.close();
    this.#pool = undefined;
    this.#spoken = undefined;
  }
}

const spokenOn = ({ alpn }: Carrier): Alpn => alpn ?? 'http/1.1';

/** Offers both protocols each time, and gives on only connections that speak what its pool speaks. */
class AskingConnector implements Connector {
  #first: Carrier | undefined;

  /** @param first a connection that is open already. */
  constructor(
    readonly inner: Connector,
    readonly spoken: Alpn,
    first: Carrier,
    readonly onOther: () => void,
  ) {
    this.#first = first;
    first.socket.on('error', ignore);
  }

  get target(): Connector['target'] {
    return this.inner.target;
  }

  /** Where nobody has taken it at once, nobody will. */
  dropFirst(): void {
    this.#first?.socket.destroy();
    this.#first = undefined;
  }

  open(options: OpenOptions, done: (result: Carrier | Failure) => void): Opening {
    const first = this.#first;
    this.#first = undefined;
    if (first !== undefined && !first.socket.destroyed) return handOver(first, done);
    return this.inner.open({ ...options, alpn: BOTH }, (result) => {
      if (result instanceof Failure || spokenOn(result) === this.spoken) return done(result);
      result.socket.on('error', ignore);
      result.socket.destroy();
      this.onOther();
      done(new Failure('upstream_unreachable', `the server does not speak ${this.spoken} any more`));
    });
  }
}

/** Before anything that it reads becomes data: what comes early waits in the socket. */
function handOver(carrier: Carrier, done: (result: Carrier | Failure) => void): Opening {
  let isCancelled = false;
  process.nextTick(() => {
    if (isCancelled) return;
    carrier.socket.off('error', ignore);
    done(carrier);
  });
  return {
    cancel: () => {
      isCancelled = true;
      carrier.socket.destroy();
    },
  };
}

const ignore = (): void => undefined;
