import { looksBegun, piecesOf } from '../glued-line.js';
import type { FileLine } from '../line-cutter.js';
import { type Fields, fieldsOf } from '../record-line.js';
import type { SealHead } from '../seal-head.js';
import { sealHash } from '../seal-head.js';
import { parseSealJws, parseSealLine, type SealLine } from '../seal-line.js';
import { Findings, type Place, placeOf } from './verify-findings.js';
import { ExpectedHeads } from './verify-heads.js';
import { signatureProblem, type VerifyKeys } from './verify-keys.js';
import { isWholeAccess, openingOf, parseOpening, parseWhole, seqOf } from './verify-line.js';
import { claimOf, StreamVerifier } from './verify-stream.js';
import { endOf, type StreamSummary, summaryOf, suspect } from './verify-summary.js';
import { type Fragment, refuseFragment, TornLines } from './verify-torn.js';

/** Streams that are followed; a process that restarts every minute has fewer in two months. */
const MAX_STREAMS = 100_000;
const JWS = /"jws":"([\w-]+\.[\w-]+\.[\w-]+)"/;
const CARRIAGE_RETURN = 0x0d;
const CLOSING_BRACE = 0x7d;

export interface Verification {
  readonly findings: Findings;
  readonly streams: readonly StreamSummary[];
  readonly lines: number;
  /** Lines that a file ends in before they are whole. */
  readonly cutAt: readonly Place[];
}

/** Proves record files by their seals, line by line: of what it read it keeps what no seal covers yet, and a few words for each stream. */
export class Verifier {
  readonly findings = new Findings();
  readonly #streams = new Map<string, StreamVerifier>();
  readonly #torn = new TornLines(this.findings);
  readonly #heads: ExpectedHeads;
  readonly #cutAt: Place[] = [];
  #file = -1;
  #lines = 0;

  constructor(
    readonly keys: VerifyKeys,
    heads: readonly SealHead[] = [],
  ) {
    this.#heads = new ExpectedHeads(heads);
  }

  /** What is taken from now on is of the next file. */
  beginFile(): void {
    this.#file++;
  }

  /** As ByteLines gives them: the bytes are its own again after. */
  take(bytes: Buffer, start: number, end: number, number: number, state: FileLine['state']): void {
    const place = placeOf(this.#file, number);
    this.#lines++;
    if (state === 'too_long')
      return this.findings.fail('not_a_record', place, undefined, 'not a record: far too long');
    const line = bytes.subarray(start, end);
    if (state === 'cut') return this.#takeCut(line, place);
    if (line.length === 0) return this.#takeBlank(place);
    const pieces = piecesOf(line);
    if (pieces === undefined) return this.#takeLine(line, place);
    this.#takeLine(pieces.at(-1)!, place);
    // After the line, which is another's: who was torn begins a new line before it writes again.
    for (const torn of pieces.slice(0, -1)) this.#takeFragment(torn, place, 'glued');
  }

  /** Nothing more comes. */
  end(): Verification {
    const { findings } = this;
    for (const fragment of this.#torn.nameless) this.#placeNameless(fragment);
    for (const stream of this.#streams.values()) stream.end();
    const streams = [...this.#streams.values()];
    this.#heads.report((boot, worker) => endOf(streams, boot, worker), findings);
    const summaries = streams.map(summaryOf);
    const missing = findings.kept.flatMap(({ kind, place }) =>
      kind === 'missing' || kind === 'seal_missing' ? (place ?? []) : [],
    );
    this.#torn.end(missing);
    suspect(summaries, findings, missing.at(-1) ?? 0);
    const cutAt = this.#cutAt.filter((place) => !this.#torn.wholeLater.has(place));
    return { findings, streams: summaries, lines: this.#lines, cutAt };
  }

  #takeLine(line: Buffer, place: Place): void {
    const opening = openingOf(line);
    const stream = opening === undefined ? undefined : this.#streamOf(opening, place);
    if (stream === undefined || opening === undefined) return this.#takeStrange(line, place);
    const seq = seqOf(line, opening.length);
    if (seq === undefined) return this.#takeSeal(line, place, stream);
    const fields = isWholeAccess(line) ? undefined : parseWhole(line);
    if (fields === undefined && !isWholeAccess(line)) return this.#takeFragment(line, place);
    if (!this.#torn.isEmpty) this.#torn.meet(stream, line, place);
    stream.addRecord(line, seq, place);
    if (fields?.event === 'audit.gap') this.#takeGap(stream, fields, place);
  }

  #takeCut(line: Buffer, place: Place): void {
    const isWhole = line.length > 1 && parseWhole(line.subarray(0, -1)) !== undefined;
    if (isWhole && parseWhole(line) === undefined)
      return this.findings.fail(
        'altered',
        place,
        undefined,
        'a whole line ends with something else than a newline',
      );
    this.#cutAt.push(place);
    this.#takeFragment(line, place, 'cut');
  }

  #takeBlank(place: Place): void {
    if (!this.#torn.takeBlank())
      this.findings.fail('not_a_record', place, undefined, 'not a record: an empty line');
  }

  /** A line that does not begin as lines of streams do: what is left of its seal may still say whose it was. */
  #takeStrange(line: Buffer, place: Place): void {
    if (this.#recover(line, place)) return;
    if (looksBegun(line) && parseWhole(line) === undefined) return this.#takeFragment(line, place);
    this.#refuse(line, place);
  }

  #takeFragment(bytes: Buffer, place: Place, how?: 'cut' | 'glued'): void {
    if (!looksBegun(bytes)) return this.#refuse(bytes, place);
    const opening = openingOf(bytes);
    const stream = opening === undefined ? undefined : this.#streamOf(opening, place);
    if (stream?.isLast || stream?.isAdopted)
      return this.findings.fail(
        'after_the_end',
        place,
        stream.name,
        'part of a line follows after the end of its stream',
      );
    const fragment = { bytes: Buffer.from(bytes), place, isCut: how === 'cut', isGlued: how === 'glued' };
    if (!this.#torn.add(stream, fragment)) refuseFragment(this.findings, place);
  }

  #refuse(line: Buffer, place: Place): void {
    const isMarked = line[0] === 0xef && line[1] === 0xbb && line[2] === 0xbf;
    const why = isMarked
      ? 'it begins with a byte order mark, as editors write one'
      : 'altered, cut, or of something else';
    this.findings.fail('not_a_record', place, undefined, `not a record: ${why}`);
  }

  #takeSeal(line: Buffer, place: Place, stream: StreamVerifier): void {
    const text = line.toString('utf8');
    const seal = parseSealLine(text);
    if (seal.ok && Buffer.byteLength(text) === line.length) {
      if (!this.#torn.isEmpty) this.#torn.meet(stream, line, place);
      return this.#judgeSeal(seal.value, place, stream);
    }
    if (this.#recover(line, place)) return;
    const isWhole = JWS.test(text) || (text.endsWith('}') && text.includes('jws'));
    if (!isWhole && parseWhole(line) === undefined) return this.#takeFragment(line, place);
    const why = seal.ok ? 'it is not UTF-8' : seal.error;
    this.findings.fail('seal_altered', place, stream.name, `the seal is altered: ${why}`);
    stream.refuseSeal(undefined);
  }

  /** Where only what stands around a JWS was altered, the JWS proves what it did, and of which stream. */
  #recover(line: Buffer, place: Place): boolean {
    const last = line[line.length - 1];
    if (last !== CLOSING_BRACE && last !== CARRIAGE_RETURN) return false;
    const jws = JWS.exec(line.toString('latin1', 0, line.length))?.[1];
    const seal = jws === undefined ? undefined : parseSealJws(jws);
    if (!seal?.ok || signatureProblem(seal.value, this.keys) !== undefined) return false;
    const { stream: name } = seal.value.payload;
    const stream = this.#streamOf(
      Buffer.from(JSON.stringify({ stream: name }))
        .toString('latin1')
        .slice(0, -1),
      place,
    );
    if (stream === undefined) return false;
    const why =
      last === CARRIAGE_RETURN ? 'its line ends with CR' : 'its line says something else than its JWS';
    this.findings.fail('seal_altered', place, name, `the seal is altered: ${why}`);
    this.#judgeSeal(seal.value, place, stream);
    return true;
  }

  #judgeSeal(seal: SealLine, place: Place, stream: StreamVerifier): void {
    const problem = signatureProblem(seal, this.keys);
    if (problem === undefined) {
      this.#heads.see(seal.payload, sealHash(seal.jws));
      return stream.takeSeal(seal, place);
    }
    const { number } = seal.payload;
    if (problem === 'unknown_key')
      this.findings.fail(
        'unknown_key',
        place,
        stream.name,
        `seal ${number} is signed with key ${seal.kid}, which the given keys do not hold`,
      );
    else
      this.findings.fail(
        'seal_altered',
        place,
        stream.name,
        `seal ${number} is altered: its signature does not fit`,
      );
    stream.refuseSeal(seal.payload);
  }

  #takeGap(stream: StreamVerifier, fields: Fields, place: Place): void {
    const { why, from, to, boot, worker, adopted } = fieldsOf(fields.gap);
    if (why !== 'ended_without_last_word') {
      if (typeof from === 'number' && typeof to === 'number') stream.declareLost(from, to);
      return;
    }
    const left = [...this.#streams.values()].find(
      ({ name, isLast, isAdopted }) => name.boot === boot && name.worker === worker && !isLast && !isAdopted,
    );
    if (left === stream) return;
    if (left !== undefined) this.#torn.release(left.torn);
    // Without that nothing vouches for what is left of it: it stays open.
    if (adopted !== undefined) stream.claim(claimOf(fieldsOf(adopted), left, place));
  }

  /** Too little to say whose: of a process that was killed, where one was that writes so. */
  #placeNameless(fragment: Fragment): void {
    if (fragment.isCut) return;
    const text = fragment.bytes.toString('latin1', 0, fragment.bytes.length);
    const owners = [...this.#streams].filter(([opening, { isLast }]) => !isLast && opening.startsWith(text));
    if (owners.length === 0) refuseFragment(this.findings, fragment.place);
    else this.findings.note(fragment.place, 'part of a line that was torn when its process ended');
  }

  #streamOf(opening: string, place: Place): StreamVerifier | undefined {
    const known = this.#streams.get(opening);
    if (known !== undefined) return known;
    const name = parseOpening(opening);
    if (name === undefined) return undefined;
    if (this.#streams.size >= MAX_STREAMS) {
      this.findings.fail('unknown_stream', place, name, `of more than ${MAX_STREAMS} streams`);
      return undefined;
    }
    const stream = new StreamVerifier(name, this.findings);
    this.#streams.set(opening, stream);
    return stream;
  }
}
