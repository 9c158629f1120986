import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';

/** What Node reads by; missing from the types. */
interface ReadHandle {
  /** Under TLS: the transport's own. */
  _parent?: ReadHandle | null;
  reading?: boolean;
  onread?: (this: ReadHandle, bytes: ArrayBuffer | undefined) => unknown;
  readStart?(): number;
}

/**
 * Tells a stream that TLS's close_notify ended from one that a FIN cut short (RFC 8446 6.1): whoever is on the way can send a FIN,
 * and Node reports both alike. At that very moment a transport that saw a FIN is read no more, while behind a close_notify it
 * still is (libuv, uv__stream_eof), or was stopped by ourselves. Where this cannot be seen, every end counts as cut.
 */
export class EndWatch {
  /** Set when an end was reported that close_notify vouches for. */
  #isVouchedFor = false;

  constructor(socket: TLSSocket) {
    const handle = handleOf(socket);
    const told = handle?.onread;
    if (handle === undefined || told === undefined) return;
    const note = (): void => {
      const transport = handle._parent;
      // Reading what is read already is refused; what begins to read again here finds the same FIN, and TLS has its end by then.
      this.#isVouchedFor = handle.reading === false || (transport?.readStart?.() ?? 0) < 0;
    };
    // What is read into a buffer of ours comes without bytes as well: the last to tell is the end.
    handle.onread = function (bytes) {
      if (bytes === undefined) note();
      return told.call(this, bytes);
    };
  }

  /** Of an end that was reported: it came without TLS's goodbye. */
  get isCutShort(): boolean {
    return !this.#isVouchedFor;
  }
}

const handleOf = (socket: Socket | undefined): ReadHandle | undefined =>
  (socket as { _handle?: ReadHandle | null } | undefined)?._handle ?? undefined;
