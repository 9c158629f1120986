import type { Socket } from 'node:net';
import type { Refusal } from '../reasons.js';

/** Something that arrived behind a request whose answer is still under way. */
export interface Turn {
  /** False while its body is still arriving. */
  readonly isWhole: boolean;
  /** Set when the rest of its body turned out to be malformed while it waited. */
  fault: Refusal | undefined;
  take(): void;
  /** Its client has gone: it is recorded and nothing more. */
  drop(): void;
}

/** With so many waiting, no more are read until some are done. */
const MANY = 32;

/**
 * Pipelined requests, taken one at a time and in order (RFC 9112 9.3.2): each is judged at its own turn, under what is true
 * then, and nothing behind an answer that closes the connection has any effect (P067, P086, P087).
 */
export class Turns {
  readonly #socket: Socket;
  #waiting: Turn[] = [];
  #isPausePlanned = false;
  #isPaused = false;
  /** Until then nothing more is read or taken. */
  #held: NodeJS.Timeout | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  get size(): number {
    return this.#waiting.length;
  }

  get last(): Turn | undefined {
    return this.#waiting.at(-1);
  }

  get isHeld(): boolean {
    return this.#held !== undefined;
  }

  /** For so long nothing more is read or taken; `over` is called then. */
  hold(ms: number, over: () => void): void {
    if (this.#held !== undefined) return;
    this.#held = setTimeout(() => {
      this.letGo();
      over();
    }, ms).unref();
    this.#planPause();
  }

  letGo(): void {
    clearTimeout(this.#held);
    this.#held = undefined;
    if (this.#waiting.length < MANY) this.#resume();
  }

  wait(turn: Turn): void {
    this.#waiting.push(turn);
    if (this.#waiting.length >= MANY) this.#planPause();
  }

  #planPause(): void {
    if (this.#isPausePlanned) return;
    this.#isPausePlanned = true;
    // Node starts reading again, one tick later, at the end of each message that it has parsed: the pause comes after that.
    process.nextTick(() => process.nextTick(() => this.#pause()));
  }

  /** The one before is done. */
  next(): void {
    if (this.#waiting.length === 0) return;
    if (this.#socket.destroyed) {
      for (const turn of this.#takeAll()) turn.drop();
      return;
    }
    if (this.isHeld) return;
    const turn = this.#waiting.shift();
    if (this.#waiting.length < MANY) this.#resume();
    turn?.take();
  }

  /** The connection closes after the answer under way: what waits was never asked (RFC 9112 9.6). */
  forget(): void {
    this.#takeAll();
    this.#resume();
  }

  #takeAll(): Turn[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    return waiting;
  }

  #pause(): void {
    this.#isPausePlanned = false;
    if (this.#waiting.length < MANY && !this.isHeld) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#socket.resume();
  }
}
