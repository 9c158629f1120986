import {
  DerError,
  DerReader,
  type Element,
  readBoolean,
  readOid,
  readSmallInteger,
  readWhole,
  Tag,
} from './der.js';
import { readName } from './distinguished-name.js';
import type { NameConstraints, NameSubtree } from './name-constraints.js';

export type KeyUsage =
  | 'digitalSignature'
  | 'contentCommitment'
  | 'keyEncipherment'
  | 'dataEncipherment'
  | 'keyAgreement'
  | 'keyCertSign'
  | 'cRLSign'
  | 'encipherOnly'
  | 'decipherOnly';

/** In the order of their bits (RFC 5280 4.2.1.3). */
const keyUsageBits: readonly KeyUsage[] = [
  'digitalSignature',
  'contentCommitment',
  'keyEncipherment',
  'dataEncipherment',
  'keyAgreement',
  'keyCertSign',
  'cRLSign',
  'encipherOnly',
  'decipherOnly',
];

export const Oid = {
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
  certificatePolicies: '2.5.29.32',
  authorityKeyIdentifier: '2.5.29.35',
  extendedKeyUsage: '2.5.29.37',
  anyExtendedKeyUsage: '2.5.29.37.0',
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
} as const;

/** A name as a certificate or a constraint holds it. Text is Latin-1, byte for byte, so that nothing hides in a decoding. */
export type GeneralName =
  | { readonly type: 'uri' | 'dns' | 'email'; readonly text: string }
  | { readonly type: 'ip'; readonly octets: Buffer }
  | { readonly type: 'directory'; readonly name: readonly string[] }
  | { readonly type: 'other' };

export interface RawExtension {
  readonly oid: string;
  readonly critical: boolean;
  readonly value: Buffer;
}

/** Reads Extensions (certificate, CRL and CRL entry alike). Two of one kind are refused (RFC 5280 4.2). Throws DerError. */
export function readExtensions(sequence: Element, what: string): Map<string, RawExtension> {
  const extensions = new Map<string, RawExtension>();
  const reader = new DerReader(sequence.content);
  while (!reader.done) {
    const fields = new DerReader(reader.read(Tag.sequence, what).content);
    const oid = readOid(fields.read(Tag.oid, `${what}'s type`).content);
    const critical = fields.readOptional(Tag.boolean, `${what}'s criticality`);
    const value = fields.read(Tag.octetString, `${what} ${oid}`).content;
    fields.finish(`${what} ${oid}`);
    if (extensions.has(oid)) throw new DerError(`${what} ${oid} is there twice`);
    extensions.set(oid, { oid, critical: critical !== undefined && readBoolean(critical.content), value });
  }
  return extensions; // empty is malformed too, but written by common libraries and without a second meaning
}

export function readBasicConstraints(value: Buffer): { isCa: boolean; pathLength: number | undefined } {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'basic constraints').content);
  const ca = reader.readOptional(Tag.boolean, 'the CA flag');
  const length = reader.readOptional(Tag.integer, 'the path length');
  reader.finish('basic constraints');
  const isCa = ca !== undefined && readBoolean(ca.content);
  // RFC 5280 4.2.1.9: a path length without the CA flag has no meaning.
  if (length !== undefined && !isCa) throw new DerError('a path length stands without the CA flag');
  return { isCa, pathLength: length && readSmallInteger(length.content, 'the path length') };
}

export function readKeyUsage(value: Buffer): ReadonlySet<KeyUsage> {
  const bits = readWhole(value, Tag.bitString, 'key usage').content;
  const unused = bits[0];
  if (unused === undefined || unused > 7 || bits.length < 2 || bits.length > 3)
    throw new DerError('key usage is malformed');
  if (((bits[bits.length - 1] ?? 0) & ((1 << unused) - 1)) !== 0)
    throw new DerError('key usage has bits in its padding');
  const usages = new Set<KeyUsage>();
  keyUsageBits.forEach((usage, bit) => {
    if (((bits[1 + (bit >> 3)] ?? 0) & (0x80 >> (bit & 7))) !== 0) usages.add(usage);
  });
  return usages;
}

export function readExtendedKeyUsage(value: Buffer): readonly string[] {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'extended key usage').content);
  const purposes: string[] = [];
  while (!reader.done) purposes.push(readOid(reader.read(Tag.oid, 'a key purpose').content));
  if (purposes.length === 0) throw new DerError('extended key usage is empty');
  return purposes;
}

export function readSubjectAltName(value: Buffer): readonly GeneralName[] {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'the subject alternative name').content);
  const names: GeneralName[] = [];
  while (!reader.done) names.push(readGeneralName(reader.readAny('an alternative name')));
  if (names.length === 0) throw new DerError('the subject alternative name is empty');
  return names;
}

function readGeneralName(element: Element): GeneralName {
  switch (element.tag) {
    case 0x86:
      return { type: 'uri', text: element.content.toString('latin1') };
    case 0x82:
      return { type: 'dns', text: element.content.toString('latin1') };
    case 0x81:
      return { type: 'email', text: element.content.toString('latin1') };
    case 0x87:
      return { type: 'ip', octets: element.content };
    case 0xa4:
      return {
        type: 'directory',
        name: readName(readWhole(element.content, Tag.sequence, 'a directory name')).canonical,
      };
    case 0xa0: // otherName
    case 0xa3: // x400Address
    case 0xa5: // ediPartyName
    case 0x88: // registeredID
      return { type: 'other' };
    default:
      throw new DerError('an alternative name is of no known kind');
  }
}

export function readNameConstraints(value: Buffer): NameConstraints {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'name constraints').content);
  const permitted = reader.readOptional(0xa0, 'permitted names');
  const excluded = reader.readOptional(0xa1, 'excluded names');
  reader.finish('name constraints');
  if (!permitted && !excluded) throw new DerError('name constraints are empty');
  return {
    permitted: permitted ? readSubtrees(permitted) : [],
    excluded: excluded ? readSubtrees(excluded) : [],
  };
}

function readSubtrees(list: Element): NameSubtree[] {
  const subtrees: NameSubtree[] = [];
  const reader = new DerReader(list.content);
  while (!reader.done) {
    const fields = new DerReader(reader.read(Tag.sequence, 'a constrained name').content);
    const name = readGeneralName(fields.readAny('a constrained name'));
    // RFC 5280 4.2.1.10: minimum is 0 (left out) and maximum absent; anything else nobody here understands.
    fields.finish('a constrained name');
    subtrees.push(name);
  }
  if (subtrees.length === 0) throw new DerError('a list of constrained names is empty');
  return subtrees;
}

/** The key identifier as hex; an issuer named in another way gives undefined. */
export function readAuthorityKeyIdentifier(value: Buffer): string | undefined {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'the authority key identifier').content);
  const keyId = reader.readOptional(0x80, 'the key identifier');
  reader.readOptional(0xa1, 'the authority issuer');
  reader.readOptional(0x82, 'the authority serial');
  reader.finish('the authority key identifier');
  return keyId?.content.toString('hex');
}

export const readSubjectKeyIdentifier = (value: Buffer): string =>
  readWhole(value, Tag.octetString, 'the subject key identifier').content.toString('hex');
