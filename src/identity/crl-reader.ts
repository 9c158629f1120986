import { createHash } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import { readEntries } from './crl-entries.js';
import { readListExtensions } from './crl-extensions.js';
import { createSerialLookup, indexSerials, type SerialTable } from './crl-serials.js';
import { DerError, DerReader, readBitOctets, readSmallInteger, readTime, readWhole, Tag } from './der.js';
import { readName } from './distinguished-name.js';
import { parsePem } from './pem.js';
import { readSignatureScheme, type SignatureScheme } from './signature-algorithm.js';

/** What a certificate revocation list (RFC 5280 5) says of itself. */
interface CrlFacts {
  /** RFC 4514 text. */
  readonly issuer: string;
  readonly issuerName: readonly string[];
  readonly authorityKeyId: string | undefined;
  readonly number: bigint | undefined;
  readonly thisUpdateMs: number;
  /** Inclusive; past it the list says nothing about who is not on it. */
  readonly nextUpdateMs: number;
  /** Why this list decides no certificate's status (RFC 5280 5.2, 5.3): delta, indirect, partitioned, not understood. */
  readonly unusable: string | undefined;
  /** SHA-256 of the authority's public key that signed it; set by `bindCrls`, and nothing decides without it. */
  readonly signerKeySha256: string | undefined;
  readonly sha256: string;
}

/** A list, read and not yet believed: `verifyCrl` and `bindCrls` are for that. */
export interface Crl extends CrlFacts {
  readonly size: number;
  /** Whether the list holds this serial, in hex; compared as numbers. */
  has(serial: string): boolean;
  readonly signed: Signed;
  /** Set by whoever read it, for messages and metrics. */
  readonly origin?: CrlOrigin;
}

export interface CrlOrigin {
  /** Among the lists that the trust domain's configuration names, from 1. */
  readonly number: number;
  readonly file: string;
}

export interface Signed {
  readonly content: Uint8Array;
  readonly signature: Uint8Array;
  /** undefined = an algorithm that proves nothing. */
  readonly scheme: SignatureScheme | undefined;
}

/** The same as plain data: what a thread hands over. `createCrl` makes the list of it. */
export interface CrlData extends CrlFacts {
  readonly der: Uint8Array;
  readonly serials: SerialTable;
  readonly signedSpan: Span;
  readonly signatureSpan: Span;
  readonly scheme: SignatureScheme | undefined;
}

/** From inclusive, to exclusive, in octets of the list. */
type Span = readonly [from: number, to: number];

const MAX_CRL_BYTES = 64 * 1024 * 1024;

/**
 * Reads a CRL from DER or from a PEM file that holds exactly one. Our own reader, because @peculiar/x509 refuses lists beyond
 * about 2,000 entries; bounded in bytes and entries.
 */
export function parseCrl(bytes: Uint8Array): Result<Crl, string> {
  const data = parseCrlData(bytes);
  return data.ok ? ok(createCrl(data.value)) : data;
}

/** `parseCrl` for a thread: about 1 µs an entry, so that a long list is not for the one that answers requests. */
export function parseCrlData(bytes: Uint8Array): Result<CrlData, string> {
  if (bytes.length > MAX_CRL_BYTES) return err(`the list is longer than ${MAX_CRL_BYTES} bytes`);
  const der = bytes[0] === Tag.sequence ? ok(Buffer.from(bytes)) : derOfPem(bytes);
  if (!der.ok) return der;
  try {
    return ok(readCrl(der.value));
  } catch (error) {
    if (error instanceof DerError) return err(error.message);
    throw error;
  }
}

/** The list that this data describes, over the same memory. Costs nothing, however long the list is. */
export function createCrl(data: CrlData): Crl {
  const { der, serials, signedSpan, signatureSpan, scheme, ...facts } = data;
  return {
    ...facts,
    size: serials.size,
    has: createSerialLookup(der, serials),
    signed: { content: der.subarray(...signedSpan), signature: der.subarray(...signatureSpan), scheme },
  };
}

function derOfPem(bytes: Uint8Array): Result<Buffer, string> {
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  const [block] = blocks.value;
  if (block === undefined) return err('the file holds no revocation list');
  if (blocks.value.length > 1) return err('the file holds more than one block');
  return block.label === 'X509 CRL' ? ok(block.der) : err(`${block.label} is not a revocation list`);
}

function readCrl(der: Buffer): CrlData {
  const outer = new DerReader(readWhole(der, Tag.sequence, 'the list').content);
  const tbs = outer.read(Tag.sequence, 'the signed part');
  const outerAlgorithm = outer.read(Tag.sequence, 'the signature algorithm');
  const signature = readBitOctets(outer.read(Tag.bitString, 'the signature').content, 'the signature');
  outer.finish('the list');

  const fields = new DerReader(tbs.content);
  const version = fields.readOptional(Tag.integer, 'the version');
  if (version && readSmallInteger(version.content, 'the version') !== 1)
    throw new DerError('the version of the list is unknown');
  const algorithm = fields.read(Tag.sequence, 'the signature algorithm');
  if (!algorithm.der.equals(outerAlgorithm.der)) throw new DerError('the two signature algorithms differ');
  const issuer = readName(fields.read(Tag.sequence, 'the issuer'));
  const thisUpdateMs = readTime(fields.readAny('thisUpdate'), 'thisUpdate');
  const hasNextUpdate = fields.nextTag === Tag.utcTime || fields.nextTag === Tag.generalizedTime;
  const nextUpdateMs = hasNextUpdate ? readTime(fields.readAny('nextUpdate'), 'nextUpdate') : thisUpdateMs;
  const entries = readEntries(der, fields.readOptional(Tag.sequence, 'the revoked certificates'));
  const wrapped = fields.readOptional(0xa0, 'the extensions');
  fields.finish('the signed part');
  const own = readListExtensions(wrapped);
  const digest = createHash('sha256').update(der).digest();
  return {
    issuer: issuer.text,
    issuerName: issuer.canonical,
    authorityKeyId: own.authorityKeyId,
    number: own.number,
    thisUpdateMs,
    nextUpdateMs,
    // RFC 5280 5.1.2.5: nextUpdate must be there; without it nobody can tell a list from one held back.
    unusable: own.unusable ?? entries.unusable ?? (hasNextUpdate ? undefined : 'it has no nextUpdate'),
    signerKeySha256: undefined,
    sha256: digest.toString('hex'),
    der,
    serials: indexSerials(der, entries.offsets, digest),
    signedSpan: spanOf(der, tbs.der),
    signatureSpan: spanOf(der, signature),
    scheme: readSignatureScheme(algorithm),
  };
}

function spanOf(der: Buffer, part: Buffer): Span {
  const from = part.byteOffset - der.byteOffset;
  return [from, from + part.length];
}
