import type { IncomingMessage, ServerResponse } from 'node:http';
import { Lingering } from './lingering.js';

/** Bodies up to this size are sent together with their head. */
const MAX_INLINE_BYTES = 8192;

/** Who sends the answer hears of the client's pace. */
export interface AnswerSender {
  clientStalls(): void;
  clientMoves(): void;
}

/** An answer on its way to its client: a small one in one piece with its head, a large one at the client's pace. */
export class AnswerStream {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #sender: AnswerSender;
  /** Octets of the body, where its head tells. */
  #length: number | undefined;
  #written = 0;
  /** Nothing that makes the answer whole goes out before its end. */
  #holdsLast = false;
  #held: Buffer | undefined;
  #awaitsDrain = false;
  lingering: Lingering | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, sender: AnswerSender) {
    this.#request = request;
    this.#response = response;
    this.#sender = sender;
  }

  /**
   * @param length of the body that follows; undefined where that is not known, or none follows.
   * @param holdsLast what makes it whole waits for `end`.
   */
  begin(status: number, headers: string[], length?: number, holdsLast = false): void {
    this.#length = length;
    this.#holdsLast = holdsLast;
    this.#response.writeHead(status, headers);
  }

  /** @returns false where the client is to take what there is first; the sender hears when it moves. */
  write(chunk: Buffer): boolean {
    this.#written += chunk.length;
    // A whole body in one piece goes out with its head.
    if (this.#length === this.#written && (this.#holdsLast || this.#length === chunk.length)) {
      this.#held = chunk;
      return true;
    }
    if (this.#response.write(chunk)) return true;
    if (!this.#awaitsDrain) {
      this.#awaitsDrain = true;
      this.#sender.clientStalls();
      this.#response.once('drain', () => {
        this.#awaitsDrain = false;
        this.#sender.clientMoves();
      });
    }
    return false;
  }

  /**
   * The answer is whole. While the client may still be sending, the message stays open; what it sends is thrown away.
   * @param mayCome more of the request's body. @param text of a body of our own.
   */
  end(mayCome: boolean, text?: string): void {
    const held = this.#held;
    // As latin1 text a small body goes out in one piece with its head: one buffer, one write, one TLS record.
    const isSmall = held !== undefined && held.length <= MAX_INLINE_BYTES;
    const last = isSmall ? held.toString('latin1') : (held ?? text);
    const encoding = text === undefined ? 'latin1' : 'utf8';
    if (!mayCome) return void this.#response.end(last, encoding);
    if (last === undefined) this.#response.flushHeaders();
    else this.#response.write(last, encoding);
    this.lingering = new Lingering(this.#request, this.#response);
  }
}
