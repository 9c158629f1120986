import type { Readable, Writable } from 'node:stream';
import type { Reason } from '../reasons.js';
import type { Connection } from './connection.js';
import type { Lingering } from './lingering.js';
import type { RawRequest } from './pipeline.js';

/** Who answers hears of the client's pace, and when its message is over. */
export interface AnswerSender {
  clientStalls(): void;
  clientMoves(): void;
  /** The answer is out, or whatever carried it is gone. */
  connectionClosed(): void;
}

/** A request's body on its way in. */
export interface BodySource {
  readonly stream: Readable;
  /** All of it has arrived, and its end was said. */
  readonly isWhole: boolean;
}

/** One request and its answer, as the client's version of HTTP carries them. */
export abstract class ClientMessage implements BodySource {
  /** As it came, for `admit`. */
  abstract readonly request: RawRequest;
  abstract readonly stream: Readable;
  abstract readonly isWhole: boolean;
  /** An answer has begun. */
  abstract readonly hasAnswered: boolean;
  /** All of the answer is out. */
  abstract readonly isOut: boolean;
  /** Trailers can follow its answer. */
  readonly takesTrailers: boolean = false;
  /** What the client sent broke it off, not the client itself. */
  get brokeProtocol(): boolean {
    return false;
  }
  /** It is a gRPC call. */
  readonly isGrpc: boolean = false;
  /** Octets of the body, where its head tells. */
  #length: number | undefined;
  #written = 0;
  /** Nothing that makes the answer whole goes out before its end. */
  #holdsLast = false;
  #held: Buffer | undefined;
  #awaitsDrain = false;
  lingering: Lingering | undefined;
  protected sender: AnswerSender | undefined;

  constructor(protected readonly out: Writable) {}

  /** Before anything else. */
  attach(sender: AnswerSender): void {
    this.sender = sender;
  }

  /** RFC 9110 10.1.1: the body may come. */
  abstract sendContinue(): void;
  /** RFC 8297. */
  abstract sendEarlyHints(rawHeaders: readonly string[]): void;
  /** The head goes out now, though nothing of the body is there. */
  abstract flush(): void;
  /** Says in the head that this answer is the last on its connection, where the version says it there. */
  abstract sayLast(headers: string[]): void;
  /** Whether a refusal for this reason ends the connection. @param closes where the request's end is not known after it. */
  abstract endsConnection(reason: Reason, closes: boolean): boolean;
  /** Its caller asks for too much: it is told later, or read later. */
  abstract holdBack(connection: Connection, ms: number): void;
  /** What goes out behind the body. */
  abstract setTrailers(trailers: string[]): void;
  /** Ends it so that nobody takes what arrived for a whole message. */
  abstract reset(connection: Connection, reason: Reason | undefined): void;

  protected abstract writeHead(status: number, headers: string[], length: number | undefined): void;
  /** @param isBinary the last piece is octets as latin1 text. */
  protected abstract writeEnd(last: Buffer | string | undefined, isBinary: boolean, mayCome: boolean): void;

  /**
   * @param length of the body that follows; undefined where that is not known, or none follows.
   * @param holdsLast what makes it whole waits for `end`.
   */
  begin(status: number, headers: string[], length?: number, holdsLast = false): void {
    this.#length = length;
    this.#holdsLast = holdsLast;
    this.writeHead(status, headers, length);
  }

  /** @returns false where the client is to take what there is first; the sender hears when it moves. */
  write(chunk: Buffer): boolean {
    this.#written += chunk.length;
    // A whole body in one piece goes out with its head.
    if (this.#length === this.#written && (this.#holdsLast || this.#length === chunk.length)) {
      this.#held = chunk;
      return true;
    }
    if (this.out.write(chunk)) return true;
    if (!this.#awaitsDrain) {
      this.#awaitsDrain = true;
      this.sender?.clientStalls();
      this.out.once('drain', () => {
        this.#awaitsDrain = false;
        this.sender?.clientMoves();
      });
    }
    return false;
  }

  /**
   * The answer is whole. While the client may still be sending, what it sends is thrown away.
   * @param mayCome more of the request's body. @param text of a body of our own.
   */
  end(mayCome: boolean, text?: string): void {
    this.writeEnd(this.#held ?? text, this.#held !== undefined, mayCome);
  }

  /** The client does not take what there is for it. */
  get isStalled(): boolean {
    return this.#awaitsDrain;
  }
}
