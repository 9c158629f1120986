import type { Fields } from '../record-line.js';
import { sealHash } from '../seal-head.js';
import type { SealLine, SealPayload, StreamName } from '../seal-line.js';
import { OpenBatch } from './verify-batch.js';
import { checksumsOf, diagnose, linesBefore } from './verify-diagnosis.js';
import type { Findings, Place } from './verify-findings.js';
import { type SeqField, timeAfter } from './verify-line.js';
import { SequenceNumbers } from './verify-sequence.js';
import type { Fragment } from './verify-torn.js';

/** What a covered record of a later stream says of the lines that a killed process left without a seal. */
export interface AdoptionClaim {
  /** undefined = there is nothing of it here. */
  readonly of: StreamVerifier | undefined;
  /** The lines that are there are those that were adopted. */
  readonly holds: boolean;
  readonly place: Place;
  readonly from: number;
  readonly to: number;
}

interface Sealed {
  readonly number: number;
  readonly to: number;
  /** Of its JWS; undefined = it could not be checked, so that what follows it is not compared with it. */
  readonly hash: string | undefined;
}

/** One stream: its lines as they come, each batch judged when its seal comes. */
export class StreamVerifier {
  batch = new OpenBatch();
  sealed: Sealed | undefined;
  /** Seals that are good. */
  seals = 0;
  firstSeal = 0;
  /** Records that a seal proves. */
  proven = 0;
  /** Records before a seal that does not prove them. */
  unproven = 0;
  from = 0;
  to = 0;
  timeFrom = '';
  timeTo = '';
  isLast = false;
  /** Records that a later stream took over, once that is proven. */
  adopted = 0;
  /** Somebody took over what it left: nothing may follow. */
  isAdopted = false;
  /** Parts of lines that were not written to their end. */
  torn: readonly Fragment[] = [];
  #claims: AdoptionClaim[] = [];
  readonly #numbers: SequenceNumbers;

  constructor(
    readonly name: StreamName,
    readonly findings: Findings,
  ) {
    this.#numbers = new SequenceNumbers(name, findings);
  }

  addRecord(line: Buffer, { seq, end: seqEnd }: SeqField, place: Place): void {
    if (this.isLast || this.isAdopted) {
      const end = this.isLast ? 'its last seal' : 'its end was taken over';
      this.#fail('after_the_end', place, `record ${seq} follows after ${end}`);
      this.unproven++;
      return;
    }
    if (this.batch.records === 0) this.batch.firstTime = timeAfter(line, seqEnd);
    this.batch.add(line, seq, place);
  }

  /** An audit.gap record of this stream, in the batch that is open, says that these were lost. */
  declareLost(from: number, to: number): void {
    this.#numbers.declare(from, to);
  }

  claim(claim: AdoptionClaim): void {
    this.#claims.push(claim);
  }

  /** A seal of this stream whose signature is good. */
  takeSeal({ payload, jws }: SealLine, place: Place): void {
    const { batch, sealed } = this;
    const { number, to } = payload;
    if (sealed !== undefined && number <= sealed.number) {
      this.#refuseOldSeal(payload, place, sealed);
      return this.#drop();
    }
    if (this.isLast) this.#fail('after_the_end', place, `seal ${number} follows after the last seal`);
    const matches = batch.records === payload.records && !batch.isTooLong && batch.digest() === payload.hash;
    this.#judgeChain(payload, (matches ? batch.firstPlace : undefined) ?? place, matches);
    if (matches) this.#prove(payload);
    else this.#diagnose(payload, place);
    if (sealed === undefined) this.firstSeal = number;
    this.sealed = { number, to, hash: sealHash(jws) };
    this.isLast ||= payload.last;
    if (!matches) this.#drop();
  }

  /** A line that was to be a seal of this stream and proves nothing. */
  refuseSeal(payload: SealPayload | undefined): void {
    const { batch, sealed } = this;
    if (sealed !== undefined || payload !== undefined) {
      const number = (sealed?.number ?? payload!.number - 1) + 1;
      const to = batch.records > 0 ? batch.lastSeq : (sealed?.to ?? payload!.to);
      if (this.firstSeal === 0) this.firstSeal = number;
      this.sealed = { number, to, hash: undefined };
    }
    this.#drop();
  }

  /** Of what is not proven yet: jumps in the numbers that nothing declares. */
  end(): void {
    if (this.batch.records > 0) this.#numbers.judge(this.batch, this.#nextSeq, undefined);
    this.#numbers.end();
  }

  /** Records said to be lost. */
  get lost(): number {
    return this.#numbers.lost;
  }

  get #nextSeq(): number {
    return this.sealed === undefined ? this.batch.firstSeq : this.sealed.to + 1;
  }

  #fail(kind: Parameters<Findings['fail']>[0], place: Place, what: string): void {
    this.findings.fail(kind, place, this.name, what);
  }

  /** What waits is proven by nothing and never will be. */
  #drop(): void {
    this.unproven += this.batch.records;
    this.#next();
  }

  #next(): void {
    this.batch = new OpenBatch();
    this.#claims = [];
    this.#numbers.forgetDeclared();
  }

  #prove(payload: SealPayload): void {
    const { batch } = this;
    this.#numbers.judge(batch, payload.from, payload.to);
    this.seals++;
    this.proven += batch.records;
    if (this.from === 0) {
      this.from = payload.from;
      this.timeFrom = batch.firstTime;
    }
    this.to = payload.to;
    this.timeTo = payload.time;
    for (const claim of this.#claims) this.#settle(claim);
    this.#next();
  }

  /** The record that says so is proven: what it says of another stream's end counts. */
  #settle({ of, holds, place, from, to }: AdoptionClaim): void {
    if (of === undefined || !holds) {
      const where = of?.batch.firstPlace ?? of?.torn[0]?.place ?? place;
      const which = from > to ? 'the line that was torn' : recordsText(from, to);
      const what = `${which}, left without a seal as a later record says, ${from > to ? 'is' : 'are'} not here as ${from > to ? 'it was' : 'they were'} then`;
      this.findings.fail('altered', where, of?.name ?? this.name, what);
      return;
    }
    if (of.batch.records > 0) {
      of.#numbers.judge(of.batch, of.#nextSeq, to);
      of.adopted += of.batch.records;
      of.to = to;
      if (of.from === 0) {
        of.from = from;
        of.timeFrom = of.batch.firstTime;
      }
      of.batch = new OpenBatch();
    }
    for (const torn of of.torn)
      this.findings.note(torn.place, 'part of a line that was torn when its process ended');
    of.torn = [];
    // What it had taken over itself is proven with it.
    const claims = of.#claims;
    of.#claims = [];
    for (const claim of claims) of.#settle(claim);
  }

  #judgeChain({ number, from, previous }: SealPayload, place: Place, matches: boolean): void {
    const { sealed } = this;
    if (sealed === undefined) return;
    const { number: before, to, hash } = sealed;
    if (number > before + 1) {
      if (matches)
        this.#fail(
          'seal_missing',
          place,
          `${sealsText(before + 1, number - 1)} missing before this line, with ${recordsText(to + 1, from - 1)}`,
        );
    } else if (hash === undefined) return;
    else if (previous !== hash)
      this.#fail('seal_altered', place, `seal ${number} does not follow seal ${before} as it stands here`);
    else if (from !== to + 1)
      this.#fail(
        'missing',
        place,
        `seal ${number} begins with record ${from}, and record ${to + 1} should follow`,
      );
  }

  #refuseOldSeal({ number, from, to, records, hash }: SealPayload, place: Place, sealed: Sealed): void {
    const { batch } = this;
    const isCopy = batch.records === records && batch.digest() === hash;
    if (isCopy)
      this.#fail(
        'repeated',
        batch.firstPlace ?? place,
        `${recordsText(from, to)} stand here a second time, or after later ones`,
      );
    else
      this.#fail(
        'out_of_order',
        place,
        `seal ${number} stands after seal ${sealed.number}, where it does not belong`,
      );
  }

  #diagnose(payload: SealPayload, place: Place): void {
    const { batch, sealed } = this;
    const { number, from, records } = payload;
    if (batch.isTooLong)
      return this.#fail('seal_missing', place, `more records precede seal ${number} than one seal covers`);
    const isAfterGap = sealed === undefined ? number > 1 : number > sealed.number + 1;
    const sealedBatch = { from, records, crcs: checksumsOf(payload.lines) };
    const before = isAfterGap ? linesBefore(sealedBatch, batch) : undefined;
    if (before !== undefined) {
      const { seqs, places } = batch;
      const leading = seqs.subarray(0, before);
      const strange = leading.findIndex((seq, i) => seq >= from || seq <= (seqs[i - 1] ?? 0));
      if (strange >= 0)
        return this.#fail(
          'out_of_order',
          places[strange]!,
          `record ${seqs[strange]} stands here, before record ${from}`,
        );
      return this.#fail(
        'seal_missing',
        places[before]!,
        `a seal is missing before this line, record ${from}`,
      );
    }
    if (isAfterGap && batch.records > 0 && batch.seqs.every((seq) => seq < from))
      return this.#fail('seal_missing', place, `seal ${number} stands where an earlier one should`);
    const { kind, place: where, what } = diagnose(sealedBatch, batch, place);
    this.#fail(kind, where, what);
    if (isAfterGap && sealed !== undefined)
      this.#fail(
        'seal_missing',
        place,
        `${sealsText(sealed.number + 1, number - 1)} missing before seal ${number}`,
      );
  }
}

const sealsText = (from: number, to: number): string =>
  from === to ? `seal ${from} is` : `seals ${from}..${to} are`;
const recordsText = (from: number, to: number): string =>
  from === to ? `record ${from}` : `records ${from}..${to}`;

/** Lines that a killed process left torn were ended by who came next, and are a part of what that took over; there may be no others. */
export function claimOf(
  { from, to, hash }: Fields,
  of: StreamVerifier | undefined,
  place: Place,
): AdoptionClaim {
  const range = { from: Number(from), to: Number(to) };
  if (of === undefined) return { of, holds: false, place, ...range };
  const { batch, torn, sealed } = of;
  of.isAdopted = true;
  const [first, last] =
    batch.records > 0 ? [batch.firstSeq, batch.lastSeq] : [(sealed?.to ?? 0) + 1, sealed?.to];
  const holds = first === from && last === to && batch.digest(torn.map(({ bytes }) => bytes)) === hash;
  return { of, holds, place, ...range };
}
