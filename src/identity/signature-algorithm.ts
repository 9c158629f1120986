import { DerReader, type Element, readOid, readWhole, Tag } from './der.js';

export interface SignatureScheme {
  /** null for schemes that bring their own. */
  readonly digest: string | null;
  readonly isPss: boolean;
}

/** RSA, ECDSA, EdDSA and ML-DSA with a digest that nobody can collide. MD5 and SHA-1 are not among them. */
const digestOf: ReadonlyMap<string, string | null> = new Map([
  ['1.2.840.113549.1.1.11', 'sha256'], // sha256WithRSAEncryption
  ['1.2.840.113549.1.1.12', 'sha384'],
  ['1.2.840.113549.1.1.13', 'sha512'],
  ['1.2.840.10045.4.3.2', 'sha256'], // ecdsa-with-SHA256
  ['1.2.840.10045.4.3.3', 'sha384'],
  ['1.2.840.10045.4.3.4', 'sha512'],
  ['1.3.101.112', null], // Ed25519
  ['1.3.101.113', null], // Ed448
  ['2.16.840.1.101.3.4.3.17', null], // ML-DSA-44
  ['2.16.840.1.101.3.4.3.18', null],
  ['2.16.840.1.101.3.4.3.19', null],
]);
const RSA_PSS = '1.2.840.113549.1.1.10';
const pssDigests: ReadonlyMap<string, string> = new Map([
  ['2.16.840.1.101.3.4.2.1', 'sha256'],
  ['2.16.840.1.101.3.4.2.2', 'sha384'],
  ['2.16.840.1.101.3.4.2.3', 'sha512'],
]);

/** The scheme of an AlgorithmIdentifier; undefined = weak or unknown, so that it proves nothing. Throws DerError when malformed. */
export function readSignatureScheme(algorithm: Element): SignatureScheme | undefined {
  const reader = new DerReader(algorithm.content);
  const oid = readOid(reader.read(Tag.oid, 'the signature algorithm').content);
  if (oid !== RSA_PSS) {
    const digest = digestOf.get(oid);
    return digest === undefined ? undefined : { digest, isPss: false };
  }
  const parameters = reader.readOptional(Tag.sequence, 'the PSS parameters');
  // RFC 4055 3.1: left out, the digest is SHA-1.
  const field = parameters && new DerReader(parameters.content).readOptional(0xa0, 'the PSS digest');
  if (!field) return undefined;
  const identifier = new DerReader(readWhole(field.content, Tag.sequence, 'the PSS digest').content);
  const digest = pssDigests.get(readOid(identifier.read(Tag.oid, 'the PSS digest').content));
  return digest === undefined ? undefined : { digest, isPss: true };
}
