import { createHash, type Hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { formatHead, sealHash } from '../audit/seal-head.js';
import type { SealKey } from '../audit/seal-key.js';
import { formatSealLine, formatSealPayload, type SealPayload, type StreamName } from '../audit/seal-line.js';
import type { RecordSealer } from './record-sealer.js';

const MAX_RECORDS = 4096;
const MAX_BYTES = 4 * 1024 * 1024;
const CHECKSUM_BYTES = 4;
const SEQ = ',"seq":';

export interface SealerOptions {
  readonly everyMs: number;
  /** The one in force: each seal is signed with what is in force then. */
  key(): SealKey;
  /** Unix milliseconds, for the seal's own time. */
  nowMs(): number;
  /** Milliseconds that only go on; performance.now() unless a test has another clock. */
  readonly monotonicMs?: () => number;
}

/** The newest seal of a stream that is written. */
export interface ShownHead {
  readonly stream: StreamName;
  readonly head: string;
  readonly number: number;
  /** Last sequence number that it covers. */
  readonly to: number;
  readonly time: string;
}

/** What waits for one seal. */
class Batch {
  readonly hash: Hash = createHash('sha256');
  checksums: Buffer = Buffer.allocUnsafe(MAX_RECORDS * CHECKSUM_BYTES);
  records = 0;
  bytes = 0;
  /** Sequence number of the last line. */
  to = 0;

  constructor(readonly beganMs: number) {}

  add(lines: readonly string[], bytes: Buffer): void {
    this.hash.update(bytes);
    this.bytes += bytes.length;
    this.#makeRoom(lines.length);
    for (let start = 0; start < bytes.length; ) {
      const newline = bytes.indexOf(NEWLINE, start);
      // A line without its end was no line: what is signed must be what a reader can find.
      if (newline < 0) throw new Error('only whole lines can be sealed');
      const checksum = crc32(bytes.subarray(start, newline));
      this.checksums.writeUInt32BE(checksum, this.records++ * CHECKSUM_BYTES);
      start = newline + 1;
    }
    this.to = seqOf(lines.at(-1) ?? '');
  }

  #makeRoom(records: number): void {
    const needed = (this.records + records) * CHECKSUM_BYTES;
    if (needed <= this.checksums.length) return;
    const larger = Buffer.allocUnsafe(needed * 2);
    this.checksums.copy(larger, 0, 0, this.records * CHECKSUM_BYTES);
    this.checksums = larger;
  }
}

const NEWLINE = 0x0a;

interface Signed {
  readonly line: string;
  readonly payload: SealPayload;
  readonly jws: string;
}

/** Seals one stream: a hash chain over batches of its lines. Covering a record costs it a hash and a checksum; signing is beside. */
export class Sealer implements RecordSealer {
  /** Of the newest seal that is written. */
  head: ShownHead | undefined;
  #batch: Batch | undefined;
  /** Signed, and not known to be written. */
  #signed: Signed | undefined;
  #isSigning = false;
  /** Of the newest seal that is written: its number, its last record, its hash. */
  #number = 0;
  #sealedTo = 0;
  #previous: string | null = null;

  constructor(
    readonly stream: StreamName,
    readonly options: SealerOptions,
  ) {}

  get isDue(): boolean {
    const batch = this.#batch;
    if (batch === undefined) return false;
    if (this.#signed !== undefined || batch.records >= MAX_RECORDS || batch.bytes >= MAX_BYTES) return true;
    return this.#monotonicMs() - batch.beganMs >= this.options.everyMs;
  }

  get isOpen(): boolean {
    return this.#batch !== undefined;
  }

  /** Records that no written seal covers. */
  get unsealed(): number {
    return this.#batch?.records ?? 0;
  }

  cover(lines: readonly string[], bytes: Buffer): void {
    if (lines.length === 0) return;
    // A line that comes before its seal and is not covered by it would break the proof of both.
    if (this.#isSigning) throw new Error('a line came between a batch and its seal');
    this.#signed = undefined; // it could not be written: the next one covers its batch as well
    this.#batch ??= new Batch(this.#monotonicMs());
    this.#batch.add(lines, bytes);
  }

  async seal(isLast: boolean): Promise<string> {
    if (this.#signed !== undefined) return this.#signed.line; // it could not be written: the same once more
    if (this.#batch === undefined) throw new Error('there is nothing to seal');
    const payload = this.#payloadOf(this.#batch, isLast);
    this.#isSigning = true;
    try {
      const jws = await this.options.key().sign(formatSealPayload(payload));
      const line = formatSealLine(payload, jws);
      this.#signed = { line, payload, jws };
      return line;
    } finally {
      this.#isSigning = false;
    }
  }

  sealed(): void {
    if (this.#signed === undefined) return;
    const { payload, jws } = this.#signed;
    const { stream, number, to, time } = payload;
    this.head = { stream, head: formatHead(payload, jws), number, to, time };
    this.#number = number;
    this.#sealedTo = to;
    this.#previous = sealHash(jws);
    this.#signed = undefined;
    this.#batch = undefined;
  }

  #payloadOf(batch: Batch, last: boolean): SealPayload {
    return {
      stream: this.stream,
      number: this.#number + 1,
      from: this.#sealedTo + 1,
      to: batch.to,
      records: batch.records,
      hash: batch.hash.copy().digest('base64url'), // where it cannot be signed or written now, more follows
      lines: batch.checksums.toString('base64url', 0, batch.records * CHECKSUM_BYTES),
      previous: this.#previous,
      time: new Date(this.options.nowMs()).toISOString(),
      last,
    };
  }

  #monotonicMs(): number {
    return (this.options.monotonicMs ?? performance.now.bind(performance))();
  }
}

/** All before it is what we wrote of ourselves and of the connection: quotes within values are escaped, so that it is the first. */
function seqOf(line: string): number {
  const at = line.indexOf(SEQ);
  const seq = at < 0 ? Number.NaN : Number.parseInt(line.slice(at + SEQ.length, at + SEQ.length + 16), 10);
  if (!Number.isSafeInteger(seq) || seq < 1) throw new Error('a line without a number cannot be sealed');
  return seq;
}
