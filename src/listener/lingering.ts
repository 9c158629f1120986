import type { IncomingMessage, ServerResponse } from 'node:http';

/** A refused request's body is read and thrown away up to here, so that the answer is not lost to a reset; then the connection goes. */
const LINGER_BYTES = 256 * 1024;
const LINGER_MS = 1000;

/** An answer that is out whole while its client may still be sending: the message stays open, else our close would reset it. */
export class Lingering {
  /** False once the message is closed. */
  isUnderWay = true;
  readonly #untilMs = performance.now() + LINGER_MS;
  readonly #response: ServerResponse;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#response = response;
    let dropped = 0;
    request.on('data', (chunk: Buffer) => {
      dropped += chunk.length;
      if (dropped > LINGER_BYTES) this.#end();
    });
    request.once('end', () => this.#end());
    request.once('close', () => this.#end());
    request.resume();
  }

  /** The client has been sending for too long. */
  isOver(tickMs: number): boolean {
    return tickMs >= this.#untilMs;
  }

  #end(): void {
    this.isUnderWay = false;
    this.#response.end();
  }
}
