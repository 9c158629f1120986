import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CompactSign, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from 'jose';
import { recordText } from './records.js';

type PrivateKey = Awaited<ReturnType<typeof generateKeyPair>>['privateKey'];

const P256_ORDER = BigInt('0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551');
const numberOf = (bytes: Buffer): bigint => BigInt(`0x${bytes.toString('hex')}`);
const signatureOf = (jws: string): Buffer => Buffer.from(jws.split('.')[2] ?? '', 'base64url');
const isSmaller = (jws: string): boolean => numberOf(signatureOf(jws).subarray(32)) * 2n < P256_ORDER;

/** ECDSA: where (r, s) is a signature, (r, n - s) is one too. Seals have the smaller. */
export function otherSignature(jws: string): string {
  const signature = signatureOf(jws);
  const s = (P256_ORDER - numberOf(signature.subarray(32))).toString(16).padStart(64, '0');
  const other = Buffer.concat([signature.subarray(0, 32), Buffer.from(s, 'hex')]).toString('base64url');
  return [...jws.split('.').slice(0, 2), other].join('.');
}

/** A key of seals, minted in memory. */
export class SealKey {
  private constructor(
    readonly alg: 'EdDSA' | 'ES256',
    readonly key: PrivateKey,
    readonly kid: string,
    readonly publicJwk: JWK,
  ) {}

  static async make(alg: 'EdDSA' | 'ES256' = 'EdDSA'): Promise<SealKey> {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    const jwk = await exportJWK(publicKey);
    return new SealKey(alg, privateKey, await calculateJwkThumbprint(jwk), jwk);
  }

  async sign(payload: string, header: object = this.header): Promise<string> {
    const jws = await new CompactSign(Buffer.from(payload))
      .setProtectedHeader(header as { alg: string })
      .sign(this.key);
    return this.alg === 'ES256' && !isSmaller(jws) ? otherSignature(jws) : jws;
  }

  get header(): object {
    return { alg: this.alg, kid: this.kid, typ: 'countersign-seal' };
  }
}

export const jwksOf = (...keys: readonly SealKey[]): string =>
  JSON.stringify({ keys: keys.map(({ publicJwk, kid, alg }) => ({ ...publicJwk, kid, alg, use: 'sig' })) });

const sha256 = (data: string | Buffer): string => createHash('sha256').update(data).digest('base64url');

let boots = 0;

/** Writes the lines of one stream as the design of seals says, on its own: nothing of the program's writer is used. */
export class SealedStream {
  seq = 0;
  /** Of the newest seal. */
  head = '';
  readonly name: { readonly id: string; readonly boot: string; readonly worker: number };
  #number = 0;
  #from = 1;
  #previous: string | null = null;
  #open: string[] = [];

  constructor(
    public key: SealKey,
    worker = 0,
    boot = (++boots).toString(16).padStart(16, '0'),
  ) {
    this.name = { id: 'vm', boot, worker };
  }

  /** The next access record, with its newline. */
  access(path = `/public/${this.seq + 1}`): string {
    const { stream: _, ...rest } = JSON.parse(recordText({ request: { path } })) as { stream: object };
    return this.#add({ ...rest, seq: ++this.seq });
  }

  event(fields: object): string {
    const time = new Date(Date.UTC(2026, 10, 21, 10) + this.seq).toISOString();
    return this.#add({ seq: ++this.seq, time, ...fields });
  }

  /** Numbers of records that nobody will see. */
  lose(records: number): void {
    this.seq += records;
  }

  /** The newest line was not written: its process was killed. */
  unwrite(): void {
    this.seq--;
    this.#open.pop();
  }

  gap(gap: object): string {
    return this.event({ event: 'audit.gap', gap, detail: 'for people' });
  }

  /** What a later stream says of what this one left. @param torn its line that is not whole */
  adoption(torn = ''): object {
    const [from, to] = [this.seq - this.#open.length + 1, this.seq];
    const hash = sha256(this.#open.join('') + (torn === '' ? '' : `${torn}\n`));
    const { boot, worker } = this.name;
    return { boot, worker, after: to, why: 'ended_without_last_word', adopted: { from, to, hash } };
  }

  #add(fields: object): string {
    const line = `${JSON.stringify({ stream: this.name, ...fields })}\n`;
    this.#open.push(line);
    return line;
  }

  /** The seal line over what was written since the last, with its newline. */
  async seal({ last = false, header }: { last?: boolean; header?: object } = {}): Promise<string> {
    const lines = this.#open;
    const checksums = Buffer.alloc(4 * lines.length);
    for (const [i, line] of lines.entries()) checksums.writeUInt32BE(crc32(line.slice(0, -1)), 4 * i);
    const number = ++this.#number;
    const time = new Date(Date.UTC(2026, 10, 21, 11) + number * 10_000).toISOString();
    const [from, to, stream] = [this.#from, this.seq, this.name];
    const payload = {
      v: 1,
      stream,
      number,
      from,
      to,
      records: lines.length,
      hash: sha256(lines.join('')),
      lines: checksums.toString('base64url'),
      previous: this.#previous,
      time,
      ...(last ? { last } : {}),
    };
    const jws = await this.key.sign(JSON.stringify(payload), header);
    this.#previous = sha256(jws);
    this.#from = to + 1;
    this.#open = [];
    this.head = `${stream.boot}.${stream.worker}.${number}.${to}.${this.#previous}`;
    return `${JSON.stringify({ stream, time, event: 'audit.seal', seal: { number, from, to, head: this.head }, jws })}\n`;
  }

  /** Batches of so many records, each with its seal. */
  async batches(...sizes: readonly number[]): Promise<string[]> {
    const lines: string[] = [];
    for (const size of sizes) {
      for (let i = 0; i < size; i++) lines.push(this.access());
      lines.push(await this.seal());
    }
    return lines;
  }
}
