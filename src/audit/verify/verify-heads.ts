import type { SealHead } from '../seal-head.js';
import type { SealPayload } from '../seal-line.js';
import type { Findings } from './verify-findings.js';

/** Up to where a stream came, as a head that was kept is compared with it. */
export interface StreamEnd {
  readonly number: number;
  readonly to: number;
  /** Of its first seal here. */
  readonly first: number;
}

/** Heads that were kept elsewhere: each must be found, or what it stands for is gone. */
export class ExpectedHeads {
  readonly #wanted = new Map<string, SealHead[]>();
  readonly #met = new Set<SealHead>();
  readonly #altered = new Set<SealHead>();

  constructor(heads: readonly SealHead[]) {
    for (const head of heads) {
      const key = keyOf(head.boot, head.worker);
      this.#wanted.set(key, [...(this.#wanted.get(key) ?? []), head]);
    }
  }

  /** A seal whose signature is good. @param hash of its JWS */
  see({ stream, number, from, to, previous }: SealPayload, hash: string): void {
    for (const head of this.#wanted.get(keyOf(stream.boot, stream.worker)) ?? []) {
      if (head.number === number)
        (head.hash === hash && head.to === to ? this.#met : this.#altered).add(head);
      // Its own seal is in a file before these; what follows it says so.
      if (head.number === number - 1 && head.hash === previous && head.to === from - 1) this.#met.add(head);
    }
  }

  /** @param endOf of the stream; undefined = it has no seal here. */
  report(endOf: (boot: string, worker: number) => StreamEnd | undefined, findings: Findings): void {
    for (const head of [...this.#wanted.values()].flat()) {
      if (this.#met.has(head)) continue;
      const end = endOf(head.boot, head.worker);
      findings.fail('head', undefined, undefined, this.#whatIsWrong(head, end));
    }
  }

  #whatIsWrong(head: SealHead, end: StreamEnd | undefined): string {
    const { boot, worker, number, to } = head;
    const which = `the head of boot ${boot}, worker ${worker}, seal ${number}`;
    if (end === undefined)
      return `${which}: the stream is missing, ${seals(1, number)} with records 1..${to}`;
    if (this.#altered.has(head)) return `${which}: that seal is another one here`;
    if (end.number < number)
      return `${which}: ${seals(end.number + 1, number)} with records ${end.to + 1}..${to} are missing at the end`;
    const before = `the files begin with seal ${end.first} of this stream: give those before too`;
    return number < end.first ? `${which}: ${before}` : `${which}: that seal is missing`;
  }
}

const seals = (from: number, to: number): string => (from === to ? `seal ${from}` : `seals ${from}..${to}`);

const keyOf = (boot: string, worker: number): string => `${boot}.${worker}`;
