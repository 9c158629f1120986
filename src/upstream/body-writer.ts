import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';

/** Pieces up to this size become text, so that they go out in one piece with what frames them. */
const MAX_INLINE_BYTES = 8192;

/** Sends one request's body behind its head, as fast as the upstream takes it, with exactly the framing that the head tells. */
export class BodyWriter {
  /** All of the request was handed to the socket. */
  isWhole = false;
  /** Not sent yet: it waits a moment for the body's first piece. */
  #head: string;
  /** Octets; undefined = chunked. */
  #left: number | undefined;
  #stopped = false;
  readonly #socket: Socket;
  readonly #body: Readable;
  readonly #onFault: (problem: string) => void;

  /** @param onFault called at most once: what is sent can no longer become the request that its head tells of. */
  constructor(
    socket: Socket,
    head: string,
    body: Readable,
    length: number | undefined,
    onFault: (problem: string) => void,
  ) {
    this.#socket = socket;
    this.#head = head;
    this.#body = body;
    this.#left = length;
    this.#onFault = onFault;
    body.on('data', (chunk: Buffer) => this.#write(chunk));
    body.on('end', () => this.#end());
    body.on('error', (error: Error) => this.#fault(error.message));
    body.on('close', () => this.#end());
    setImmediate(flushHead, this);
  }

  /** What was written before is on its way. */
  drained(): void {
    if (!this.#stopped) this.#body.resume();
  }

  /** Nothing more is sent; the rest of the body is its owner's to throw away. */
  stop(): void {
    this.#stopped = true;
    this.#body.destroy();
  }

  flushHead(): void {
    if (this.#stopped || this.#head === '') return;
    this.#socket.write(this.#head, 'latin1');
    this.#head = '';
    this.isWhole = this.#left === 0;
  }

  #write(chunk: Buffer): void {
    if (this.#stopped || chunk.length === 0) return;
    if (this.#left === undefined) this.#send(`${chunk.length.toString(16)}\r\n`, chunk, '\r\n');
    else if (chunk.length > this.#left) this.#fault('the body is longer than was declared');
    else {
      this.#left -= chunk.length;
      this.#send('', chunk, '');
      this.isWhole = this.#left === 0;
    }
  }

  #send(before: string, chunk: Buffer, after: string): void {
    const socket = this.#socket;
    const lead = this.#head + before;
    this.#head = '';
    let canTakeMore: boolean;
    if (chunk.length <= MAX_INLINE_BYTES && (lead !== '' || after !== '')) {
      canTakeMore = socket.write(`${lead}${chunk.toString('latin1')}${after}`, 'latin1');
    } else {
      socket.cork();
      if (lead !== '') socket.write(lead, 'latin1');
      canTakeMore = socket.write(chunk);
      if (after !== '') canTakeMore = socket.write(after, 'latin1');
      socket.uncork();
    }
    if (!canTakeMore) this.#body.pause();
  }

  #end(): void {
    if (this.#stopped || this.isWhole) return;
    if (!this.#body.readableEnded) return this.#fault('the body was given up');
    this.flushHead();
    if (this.#left === undefined) {
      this.#socket.write('0\r\n\r\n', 'latin1');
      this.isWhole = true;
    } else if (this.#left > 0) this.#fault('the body is shorter than was declared');
  }

  #fault(problem: string): void {
    if (this.#stopped || this.isWhole) return;
    this.stop();
    this.#onFault(problem);
  }
}

function flushHead(writer: BodyWriter): void {
  writer.flushHead();
}
