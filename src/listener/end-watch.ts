import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';

/**
 * Stands between a transport and TLS on connections whose bytes say nothing of their own end: Node tells alike of a stream that
 * TLS's close_notify ended and of one that a FIN cut short (RFC 8446 6.1), and whoever is on the way can send a FIN.
 */
export class EndWatch extends Duplex {
  /** Set when TLS is up. */
  tls: TLSSocket | undefined;
  /** What came of its handshake has its record. */
  isRecorded = false;
  /** The transport ended, and TLS had not. */
  isCutShort = false;
  #drained: ((error?: Error | null) => void) | undefined;

  constructor(readonly transport: Socket) {
    super({ allowHalfOpen: true });
    transport.allowHalfOpen = true;
    transport.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) transport.pause();
    });
    transport.once('end', () => this.push(null));
    transport.on('drain', () => this.#drain());
    transport.on('error', (error) => this.destroy(error));
    transport.once('close', () => this.destroy());
    // Here all that arrived has been through TLS, which has not been told of this end yet.
    this.once('end', () => {
      this.isCutShort = !hasEnded(this.tls);
    });
  }

  override _read(): void {
    this.transport.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    if (this.transport.write(chunk)) done();
    else this.#drained = done;
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    const { transport } = this;
    let takesMore = true;
    transport.cork();
    for (const { chunk } of chunks) takesMore = transport.write(chunk);
    transport.uncork();
    if (takesMore) done();
    else this.#drained = done;
  }

  override _final(done: (error?: Error | null) => void): void {
    this.transport.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.transport.destroy();
    done(error);
  }

  #drain(): void {
    const done = this.#drained;
    this.#drained = undefined;
    done?.();
  }
}

/** Told of the end, though its last bytes may not have been taken yet: `readableEnded` would wait for that. */
const hasEnded = (socket: TLSSocket | undefined): boolean =>
  (socket as { _readableState?: { ended: boolean } } | undefined)?._readableState?.ended === true;

const watchOf = Symbol('endWatch');
type Watched = Socket & {
  [watchOf]?: EndWatch;
  /** Where Node keeps what it wraps, for as long as it is open. */
  readonly _handle?: { readonly _parentWrap?: { readonly stream?: unknown } } | null;
};

/** The one under this TLS, where there is one; for good once it was found. */
export function endWatchOf(socket: Watched): EndWatch | undefined {
  const known = socket[watchOf];
  if (known !== undefined) return known;
  const stream = socket._handle?._parentWrap?.stream;
  if (!(stream instanceof EndWatch)) return undefined;
  socket[watchOf] = stream;
  return stream;
}
