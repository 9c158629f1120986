import { createPrivateKey, sign } from 'node:crypto';
import { oid, sequence, TAG, tlv } from '../../src/dev/der-writer.js';
import { DerReader, readWhole, Tag } from '../../src/identity/der.js';
import { type Authority, pem } from './pki.js';

/** Lists of any length: the library that mints short ones takes minutes for these. */
export interface LongCrlOptions {
  readonly entries: number;
  readonly number?: number;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** Put in before the others, hex. */
  readonly also?: readonly string[];
  /** Each entry with a reasonCode, as most CAs write them. */
  readonly reasons?: boolean;
  /** In place of all entries: DER, right or wrong. */
  readonly entriesDer?: Buffer;
}

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'));
const HOUR_MS = 3_600_000;
const SERIAL_OCTETS = 16;
const UTC_TIME = 0x17;
const reason = sequence(sequence(oid('2.5.29.21'), tlv(TAG.octetString, tlv(0x0a, Buffer.from([1])))));

/** The serial of entry `i`: 16 octets that look random, as CAs are asked to choose them; every one is another. */
export function longCrlSerial(i: number): string {
  const octets = Buffer.alloc(SERIAL_OCTETS);
  let state = Math.imul(i, 0x9e3779b1) ^ 0x2545f491;
  for (let at = 0; at < SERIAL_OCTETS - 4; at += 4) {
    state = Math.imul(state ^ (state >>> 15), 0x85ebca6b);
    state = (state ^ (state >>> 13) ^ i) | 0;
    octets.writeInt32BE(state, at);
  }
  octets.writeUInt32BE(i, SERIAL_OCTETS - 4);
  octets[0] = (octets[0]! & 0x3f) | 0x40;
  return octets.toString('hex');
}

export function longCrl(authority: Authority, options: LongCrlOptions): { der: Buffer; pem: string } {
  const der = longCrlDer(authority, options);
  return { der, pem: pem('X509 CRL', der) };
}

function longCrlDer(authority: Authority, options: LongCrlOptions): Buffer {
  const now = Date.now();
  const number = Buffer.alloc(5);
  number.writeUInt32BE(options.number ?? 1, 1);
  const tbs = sequence(
    tlv(TAG.integer, Buffer.from([1])),
    ECDSA_WITH_SHA256,
    subjectOf(authority),
    utcTime(options.thisUpdate ?? new Date(now - 10_000)),
    utcTime(options.nextUpdate ?? new Date(now + 24 * HOUR_MS)),
    sequence(options.entriesDer ?? Buffer.concat([...entriesOf(options)])),
    tlv(0xa0, sequence(sequence(oid('2.5.29.20'), tlv(TAG.octetString, integer(number))))),
  );
  const signature = sign('sha256', tbs, createPrivateKey(authority.keyPem));
  return sequence(tbs, ECDSA_WITH_SHA256, tlv(Tag.bitString, Buffer.from([0]), signature));
}

function* entriesOf({ entries, also = [], reasons }: LongCrlOptions): Generator<Buffer> {
  const date = utcTime(new Date(Date.now() - 60_000));
  const entry = (serial: string): Buffer =>
    sequence(integer(Buffer.from(serial, 'hex')), date, ...(reasons ? [reason] : []));
  for (const serial of also) yield entry(serial.padStart(serial.length + (serial.length % 2), '0'));
  for (let i = 0; i < entries; i++) yield entry(longCrlSerial(i));
}

/** Of big-endian octets, in DER's shortest form. */
function integer(octets: Buffer): Buffer {
  let from = 0;
  while (from < octets.length - 1 && octets[from] === 0) from++;
  const short = octets.subarray(from);
  return tlv(TAG.integer, ...(short[0]! >= 0x80 ? [Buffer.from([0])] : []), short);
}

const utcTime = (date: Date): Buffer =>
  tlv(UTC_TIME, Buffer.from(`${date.toISOString().replace(/[-:T]/g, '').slice(2, 14)}Z`));

/** The subject's own octets: the list must name its issuer as the certificate does. */
function subjectOf(authority: Authority): Buffer {
  const outer = new DerReader(readWhole(authority.certDer, Tag.sequence, 'a certificate').content);
  const tbs = new DerReader(outer.read(Tag.sequence, 'the signed part').content);
  tbs.readOptional(0xa0, 'the version');
  for (let skipped = 0; skipped < 4; skipped++) tbs.readAny('a field'); // serial, algorithm, issuer, validity
  return tbs.read(Tag.sequence, 'the subject').der;
}
