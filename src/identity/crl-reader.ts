import { createHash } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import {
  DerError,
  DerReader,
  type Element,
  readBitOctets,
  readPositiveInteger,
  readSmallInteger,
  readTime,
  readWhole,
  Tag,
} from './der.js';
import { readName } from './distinguished-name.js';
import { readAuthorityKeyIdentifier, readExtensions } from './extensions.js';
import { parsePem } from './pem.js';
import { readSignatureScheme, type SignatureScheme } from './signature-algorithm.js';

/** A certificate revocation list (RFC 5280 5), read and not yet believed: `verifyCrl` and `bindCrls` are for that. */
export interface Crl {
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
  readonly size: number;
  /** Whether the list holds this serial: lower-case hex without leading zeros. */
  has(serial: string): boolean;
  readonly signed: Signed;
}

export interface Signed {
  readonly content: Buffer;
  readonly signature: Buffer;
  /** undefined = an algorithm that proves nothing. */
  readonly scheme: SignatureScheme | undefined;
}

const MAX_CRL_BYTES = 32 * 1024 * 1024;
const MAX_ENTRIES = 1_000_000;

/** CRL and entry extensions that change nothing here when present, critical or not. */
const Known = {
  authorityKeyIdentifier: '2.5.29.35',
  issuerAltName: '2.5.29.18',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  deltaCrlIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  certificateIssuer: '2.5.29.29',
} as const;

/**
 * Reads a CRL from DER or from a PEM file that holds exactly one. Our own reader, because @peculiar/x509 refuses lists beyond
 * about 2,000 entries; bounded in bytes and entries.
 */
export function parseCrl(bytes: Uint8Array): Result<Crl, string> {
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

function derOfPem(bytes: Uint8Array): Result<Buffer, string> {
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  const [block] = blocks.value;
  if (block === undefined) return err('the file holds no revocation list');
  if (blocks.value.length > 1) return err('the file holds more than one block');
  return block.label === 'X509 CRL' ? ok(block.der) : err(`${block.label} is not a revocation list`);
}

function readCrl(der: Buffer): Crl {
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
  const list = fields.readOptional(Tag.sequence, 'the revoked certificates');
  const entries = list ? readEntries(list) : { serials: new Set<string>(), unusable: undefined };
  const wrapped = fields.readOptional(0xa0, 'the extensions');
  fields.finish('the signed part');
  const own = readListExtensions(wrapped);
  const { serials } = entries;
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
    sha256: createHash('sha256').update(der).digest('hex'),
    size: serials.size,
    has: (serial) => serials.has(serial),
    signed: {
      content: tbs.der,
      signature,
      scheme: readSignatureScheme(algorithm),
    },
  };
}

function readEntries(list: Element): { serials: ReadonlySet<string>; unusable: string | undefined } {
  const serials = new Set<string>();
  let unusable: string | undefined;
  const reader = new DerReader(list.content);
  while (!reader.done) {
    if (serials.size >= MAX_ENTRIES) throw new DerError(`the list has more than ${MAX_ENTRIES} entries`);
    const entry = new DerReader(reader.read(Tag.sequence, 'an entry').content);
    serials.add(readPositiveInteger(entry.read(Tag.integer, 'a serial number').content, 'a serial number'));
    readTime(entry.readAny('a revocation date'), 'a revocation date');
    const extensions = entry.readOptional(Tag.sequence, 'the extensions of an entry');
    entry.finish('an entry');
    if (extensions) unusable ??= whyEntryUnusable(extensions);
  }
  return { serials, unusable };
}

/** RFC 5280 5.3: one entry that is not understood spoils the whole list, for it may be about somebody else's certificate. */
function whyEntryUnusable(sequence: Element): string | undefined {
  for (const { oid, critical } of readExtensions(sequence, 'entry extension').values()) {
    if (oid === Known.certificateIssuer) return 'it is indirect: an entry names another issuer';
    if (critical && oid !== Known.reasonCode && oid !== Known.invalidityDate)
      return `an entry has the unknown critical extension ${oid}`;
  }
  return undefined;
}

interface ListExtensions {
  readonly authorityKeyId?: string | undefined;
  readonly number?: bigint | undefined;
  readonly unusable?: string | undefined;
}

function readListExtensions(wrapped: Element | undefined): ListExtensions {
  if (!wrapped) return {};
  const extensions = readExtensions(readWhole(wrapped.content, Tag.sequence, 'the extensions'), 'extension');
  const keyId = extensions.get(Known.authorityKeyIdentifier);
  const number = extensions.get(Known.crlNumber);
  let unusable: string | undefined;
  for (const { oid, critical, value } of extensions.values()) {
    if (oid === Known.deltaCrlIndicator)
      unusable ??= 'it is a delta'; // RFC 5280 5.2.4
    else if (oid === Known.issuingDistributionPoint) unusable ??= whyPartial(value);
    else if (
      critical &&
      oid !== Known.authorityKeyIdentifier &&
      oid !== Known.issuerAltName &&
      oid !== Known.crlNumber
    )
      unusable ??= `it has the unknown critical extension ${oid}`; // RFC 5280 5.2
  }
  return {
    authorityKeyId: keyId && readAuthorityKeyIdentifier(keyId.value),
    number: number && readCrlNumber(number.value),
    unusable,
  };
}

const readCrlNumber = (value: Buffer): bigint =>
  BigInt(`0x${readPositiveInteger(readWhole(value, Tag.integer, 'the number').content, 'the number')}`);

/** RFC 5280 5.2.5: only a list of everything that its issuer issued can say that a certificate is good. */
function whyPartial(value: Buffer): string | undefined {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'the distribution point').content);
  let why: string | undefined;
  while (!reader.done) {
    const { tag, content } = reader.readAny('the distribution point');
    if (tag === 0xa0) why ??= 'it is the list of one distribution point';
    else if (tag === 0x84 && content[0] !== 0) why = 'it is indirect';
    else if (tag === 0x83 || content[0] !== 0) why ??= 'it covers a part of the certificates only';
  }
  return why;
}
