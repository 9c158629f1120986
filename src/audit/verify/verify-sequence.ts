import type { StreamName } from '../seal-line.js';
import type { OpenBatch } from './verify-batch.js';
import { missingRecords } from './verify-diagnosis.js';
import type { Findings, Place } from './verify-findings.js';

interface Range {
  readonly from: number;
  readonly to: number;
}

interface Jump extends Range {
  readonly place: Place;
}

const MAX_JUMPS = 1000;

/** Numbers of a stream follow each other, but for what a record declares lost; that record comes after the jump. */
export class SequenceNumbers {
  /** Numbers that were declared lost and are. */
  lost = 0;
  #jumps: Jump[] = [];
  #declared: Range[] = [];

  constructor(
    readonly name: StreamName,
    readonly findings: Findings,
  ) {}

  /** A record of the batch that is open says so. */
  declare(from: number, to: number): void {
    if (this.#declared.length < MAX_JUMPS) this.#declared.push({ from, to });
  }

  forgetDeclared(): void {
    this.#declared = [];
  }

  /** @param to up to which they must come; undefined = nobody says */
  judge({ seqs, places }: OpenBatch, from: number, to: number | undefined): void {
    let next = from;
    for (const [i, seq] of seqs.entries()) {
      const place = places[i]!;
      if (seq > next) this.#jumps.push({ from: next, to: seq - 1, place });
      if (seq < next) {
        const what = `record ${seq} stands where record ${next} should`;
        this.findings.fail('out_of_order', place, this.name, what);
      }
      next = seq + 1;
    }
    if (to !== undefined && to >= next) this.#jumps.push({ from: next, to, place: places.at(-1)! });
    this.#excuse();
  }

  /** What nothing declared is missing. */
  end(): void {
    for (const jump of this.#jumps) this.#miss(jump);
  }

  #excuse(): void {
    const declared = this.#declared;
    this.#jumps = this.#jumps.filter(({ from, to }) => {
      const isDeclared = declared.some((gap) => gap.from <= from && to <= gap.to);
      if (isDeclared) this.lost += to - from + 1;
      return !isDeclared;
    });
    for (const jump of this.#jumps.splice(MAX_JUMPS)) this.#miss(jump);
  }

  #miss({ from, to, place }: Jump): void {
    this.findings.fail('missing', place, this.name, `${missingRecords(from, to)}, and no record says why`);
  }
}
