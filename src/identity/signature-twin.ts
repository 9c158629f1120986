import { createHash } from 'node:crypto';
import { DerError, DerReader, readBitOctets, readPositiveInteger, readWhole, Tag } from './der.js';

/** Orders of the curves that certificates are signed with. */
const curveOrders: readonly bigint[] = [
  0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n, // P-256
  0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n, // P-384
  0x01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n, // P-521
];
const ECDSA_WITH_SHA2 = '2a8648ce3d0403'; // the arc of ecdsa-with-SHA2, encoded

/**
 * Fingerprints of the same certificate with the other form of its ECDSA signature: where (r, s) verifies, so does (r, n - s),
 * and anybody can write it. Without this, a certificate revoked by fingerprint comes back under a new one.
 */
export function findSignatureTwin(der: Buffer): readonly string[] {
  try {
    const outer = new DerReader(readWhole(der, Tag.sequence, 'the certificate').content);
    const tbs = outer.read(Tag.sequence, 'the signed part');
    const algorithm = outer.read(Tag.sequence, 'the signature algorithm');
    if (!algorithm.content.toString('hex').includes(ECDSA_WITH_SHA2)) return [];
    const signature = readBitOctets(outer.read(Tag.bitString, 'the signature').content, 'the signature');
    const values = new DerReader(readWhole(signature, Tag.sequence, 'the signature').content);
    const r = values.read(Tag.integer, 'r');
    const s = BigInt(`0x${readPositiveInteger(values.read(Tag.integer, 's').content, 's', 80)}`);
    return curveOrders
      .filter((order) => s < order)
      .map((order) => digestWith(tbs.der, algorithm.der, r.der, order - s));
  } catch (error) {
    if (error instanceof DerError) return [];
    throw error;
  }
}

const orderOf: Readonly<Record<string, bigint | undefined>> = {
  ES256: curveOrders[0],
  ES384: curveOrders[1],
  ES512: curveOrders[2],
};

/** The same of a token that was verified: hex SHA-256 of its text with the other form of its ECDSA signature; undefined where it has none. */
export function findTokenTwin(text: string, alg: string): string | undefined {
  const order = orderOf[alg];
  if (order === undefined) return undefined;
  const dot = text.lastIndexOf('.') + 1;
  const signature = Buffer.from(text.slice(dot), 'base64url'); // r and s, of equal length (RFC 7518 3.4)
  const half = signature.length / 2;
  const s = order - BigInt(`0x${signature.toString('hex', half)}`);
  const twin = Buffer.concat([
    signature.subarray(0, half),
    Buffer.from(s.toString(16).padStart(half * 2, '0'), 'hex'),
  ]);
  return createHash('sha256').update(text.slice(0, dot)).update(twin.toString('base64url')).digest('hex');
}

function digestWith(tbs: Buffer, algorithm: Buffer, r: Buffer, s: bigint): string {
  const signature = encode(Tag.sequence, r, encode(Tag.integer, integerOctets(s)));
  const certificate = encode(
    Tag.sequence,
    tbs,
    algorithm,
    encode(Tag.bitString, Buffer.from([0]), signature),
  );
  return createHash('sha256').update(certificate).digest('hex');
}

function integerOctets(value: bigint): Buffer {
  const hex = value.toString(16);
  const octets = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return (octets[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), octets]) : octets;
}

function encode(tag: number, ...parts: readonly Buffer[]): Buffer {
  const content = Buffer.concat(parts);
  const { length } = content;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : length < 0x10000
          ? [tag, 0x82, length >> 8, length & 0xff]
          : [tag, 0x83, length >> 16, (length >> 8) & 0xff, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
