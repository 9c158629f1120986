import { createHash, X509Certificate } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import {
  DerError,
  DerReader,
  type Element,
  readBitOctets,
  readOid,
  readPositiveInteger,
  readSmallInteger,
  readTime,
  readWhole,
  Tag,
} from './der.js';
import { type DistinguishedName, readName } from './distinguished-name.js';
import {
  type GeneralName,
  type KeyUsage,
  Oid,
  type RawExtension,
  readAuthorityKeyIdentifier,
  readBasicConstraints,
  readExtendedKeyUsage,
  readExtensions,
  readKeyUsage,
  readNameConstraints,
  readSubjectAltName,
  readSubjectKeyIdentifier,
} from './extensions.js';
import type { NameConstraints } from './name-constraints.js';
import { readSignatureScheme } from './signature-algorithm.js';

export type { KeyUsage } from './extensions.js';

/** One certificate, read from its DER once. */
export interface Certificate {
  readonly der: Buffer;
  /** SHA-256 of the DER, lower-case hex. */
  readonly sha256: string;
  /** SHA-256 of the SubjectPublicKeyInfo's DER, lower-case hex. */
  readonly keySha256: string;
  /** Lower-case hex without leading zeros; `0` for zero. */
  readonly serial: string;
  /** RFC 4514 text, for logs and XFCC; compare names with `subjectName` and `issuerName`. */
  readonly subject: string;
  readonly issuer: string;
  readonly subjectName: readonly string[];
  readonly issuerName: readonly string[];
  readonly subjectEmails: readonly string[];
  readonly notBeforeMs: number;
  /** Inclusive (RFC 5280 4.1.2.5). */
  readonly notAfterMs: number;
  /** Byte for byte, as Latin-1: a NUL or a comma in a name stays in it, and the ID parser refuses it. */
  readonly uriSans: readonly string[];
  readonly dnsSans: readonly string[];
  readonly alternativeNames: readonly GeneralName[];
  readonly isCa: boolean;
  readonly pathLength: number | undefined;
  readonly keyUsage: ReadonlySet<KeyUsage> | undefined;
  /** Object identifiers. */
  readonly extendedKeyUsage: readonly string[] | undefined;
  readonly nameConstraints: NameConstraints | undefined;
  readonly subjectKeyId: string | undefined;
  readonly authorityKeyId: string | undefined;
  readonly unknownCritical: readonly string[];
  /** False for MD5, SHA-1 and what this proxy does not know: such a signature proves nothing here. */
  readonly strongSignature: boolean;
  readonly x509: X509Certificate;
  readonly pemEncoded: string;
}

const MAX_CERTIFICATE_BYTES = 64 * 1024;
/** An RSA key of 8,192 bits and its wrapping; longer ones only serve to make a verifier work (Go draws the same line). */
const MAX_RSA_KEY_BYTES = 1100;
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';

/**
 * Reads one certificate, strictly: trailing bytes, an extension twice, a known extension that cannot be read are errors.
 * Judges nothing; `parsePeerChain` and `verifyX509Svid` do.
 */
export function parseCertificate(der: Uint8Array): Result<Certificate, string> {
  if (der.length > MAX_CERTIFICATE_BYTES) return err(`longer than ${MAX_CERTIFICATE_BYTES} bytes`);
  const bytes = Buffer.from(der); // a copy: whoever handed it over may use its memory again
  try {
    const fields = readFields(bytes);
    return ok(describe(bytes, fields, openSslReading(bytes)));
  } catch (error) {
    if (error instanceof DerError) return err(error.message);
    throw error;
  }
}

/** OpenSSL must be able to read it too: one that only one of two readers takes is not a certificate. */
function openSslReading(bytes: Buffer): X509Certificate {
  try {
    return new X509Certificate(bytes);
  } catch {
    throw new DerError('OpenSSL cannot read it');
  }
}

interface Fields {
  readonly serial: string;
  readonly strongSignature: boolean;
  readonly issuer: DistinguishedName;
  readonly subject: DistinguishedName;
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly publicKeyInfo: Buffer;
  readonly extensions: ReadonlyMap<string, RawExtension>;
}

/** RFC 5280 4.1. */
function readFields(bytes: Buffer): Fields {
  const outer = new DerReader(readWhole(bytes, Tag.sequence, 'the certificate').content);
  const tbs = new DerReader(outer.read(Tag.sequence, 'the signed part').content);
  const outerAlgorithm = outer.read(Tag.sequence, 'the signature algorithm');
  readBitOctets(outer.read(Tag.bitString, 'the signature').content, 'the signature');
  outer.finish('the certificate');

  const version = readVersion(tbs);
  const serial = readPositiveInteger(tbs.read(Tag.integer, 'the serial number').content, 'the serial number');
  const algorithm = tbs.read(Tag.sequence, 'the signature algorithm');
  // RFC 5280 4.1.1.2: the algorithm outside the signature must be the one that is signed.
  if (!algorithm.der.equals(outerAlgorithm.der)) throw new DerError('the two signature algorithms differ');
  const issuer = readName(tbs.read(Tag.sequence, 'the issuer'));
  const validity = new DerReader(tbs.read(Tag.sequence, 'the validity').content);
  const notBeforeMs = readTime(validity.readAny('notBefore'), 'notBefore');
  const notAfterMs = readTime(validity.readAny('notAfter'), 'notAfter');
  validity.finish('the validity');
  const subject = readName(tbs.read(Tag.sequence, 'the subject'));
  const publicKey = readPublicKeyInfo(tbs);
  tbs.readOptional(0x81, 'the issuer identifier');
  tbs.readOptional(0x82, 'the subject identifier');
  const wrapped = tbs.readOptional(0xa3, 'the extensions');
  tbs.finish('the signed part');
  if (wrapped && version !== 2) throw new DerError('extensions stand in a certificate before version 3');
  const extensions = wrapped
    ? readExtensions(readWhole(wrapped.content, Tag.sequence, 'the extensions'), 'extension')
    : new Map<string, RawExtension>();
  const strongSignature = readSignatureScheme(algorithm) !== undefined;
  return {
    serial,
    strongSignature,
    issuer,
    subject,
    notBeforeMs,
    notAfterMs,
    publicKeyInfo: publicKey.der,
    extensions,
  };
}

function readVersion(tbs: DerReader): number {
  const wrapped = tbs.readOptional(0xa0, 'the version');
  if (!wrapped) return 0;
  return readSmallInteger(readWhole(wrapped.content, Tag.integer, 'the version').content, 'the version');
}

function readPublicKeyInfo(tbs: DerReader): Element {
  const info = tbs.read(Tag.sequence, 'the public key');
  const fields = new DerReader(info.content);
  const algorithm = new DerReader(fields.read(Tag.sequence, 'the key algorithm').content);
  const type = readOid(algorithm.read(Tag.oid, 'the key algorithm').content);
  if (type === RSA_ENCRYPTION && info.der.length > MAX_RSA_KEY_BYTES)
    throw new DerError('the RSA key is longer than 8192 bits');
  return info;
}

const understood: ReadonlySet<string> = new Set([
  Oid.subjectKeyIdentifier,
  Oid.keyUsage,
  Oid.subjectAltName,
  Oid.basicConstraints,
  Oid.nameConstraints,
  // Without policyConstraints, which stays unknown, every policy is acceptable (RFC 5280 6.1.1 (d)-(f)).
  Oid.certificatePolicies,
  Oid.authorityKeyIdentifier,
  Oid.extendedKeyUsage,
]);

function describe(der: Buffer, fields: Fields, x509: X509Certificate): Certificate {
  const { extensions } = fields;
  const read = <T>(oid: string, reader: (value: Buffer) => T): T | undefined => {
    const extension = extensions.get(oid);
    return extension === undefined ? undefined : reader(extension.value);
  };
  const constraints = read(Oid.basicConstraints, readBasicConstraints);
  const names = read(Oid.subjectAltName, readSubjectAltName) ?? [];
  let pem: string | undefined;
  return {
    der,
    sha256: createHash('sha256').update(der).digest('hex'),
    keySha256: createHash('sha256').update(fields.publicKeyInfo).digest('hex'),
    serial: fields.serial,
    subject: fields.subject.text,
    issuer: fields.issuer.text,
    subjectName: fields.subject.canonical,
    issuerName: fields.issuer.canonical,
    subjectEmails: fields.subject.emails,
    notBeforeMs: fields.notBeforeMs,
    notAfterMs: fields.notAfterMs,
    uriSans: namesOf(names, 'uri'),
    dnsSans: namesOf(names, 'dns'),
    alternativeNames: names,
    isCa: constraints?.isCa ?? false,
    pathLength: constraints?.pathLength,
    keyUsage: read(Oid.keyUsage, readKeyUsage),
    extendedKeyUsage: read(Oid.extendedKeyUsage, readExtendedKeyUsage),
    nameConstraints: read(Oid.nameConstraints, readNameConstraints),
    subjectKeyId: read(Oid.subjectKeyIdentifier, readSubjectKeyIdentifier),
    authorityKeyId: read(Oid.authorityKeyIdentifier, readAuthorityKeyIdentifier),
    unknownCritical: [...extensions.values()]
      .filter((e) => e.critical && !understood.has(e.oid))
      .map((e) => e.oid),
    strongSignature: fields.strongSignature,
    x509,
    get pemEncoded() {
      pem ??= x509.toString();
      return pem;
    },
  };
}

const namesOf = (names: readonly GeneralName[], type: 'uri' | 'dns'): string[] =>
  names.flatMap((name) => (name.type === type ? [name.text] : []));
