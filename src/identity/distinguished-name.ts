import { DerError, DerReader, type Element, readOid, Tag } from './der.js';

export interface DistinguishedName {
  /** RFC 4514 text, most specific part first: for logs, XFCC and revocation entries. */
  readonly text: string;
  /** For comparison (RFC 5280 7.1): case, spacing and string type do not count. One entry a relative name, in DER order. */
  readonly canonical: readonly string[];
  /** E-mail addresses in the subject, which e-mail name constraints also bind (RFC 5280 4.2.1.10). */
  readonly emails: readonly string[];
}

const EMAIL_ADDRESS = '1.2.840.113549.1.9.1';
const MAX_RELATIVE_NAMES = 64;

const shortNames: Readonly<Record<string, string>> = {
  '2.5.4.3': 'CN',
  '2.5.4.5': 'serialNumber',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.9': 'STREET',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.45': 'x500UniqueIdentifier',
  '0.9.2342.19200300.100.1.1': 'UID',
  '0.9.2342.19200300.100.1.25': 'DC',
  [EMAIL_ADDRESS]: 'emailAddress',
};

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Reads a Name from its SEQUENCE. Throws DerError. */
export function readName(element: Element): DistinguishedName {
  const relative: string[] = [];
  const canonical: string[] = [];
  const emails: string[] = [];
  const reader = new DerReader(element.content);
  while (!reader.done) {
    if (relative.length >= MAX_RELATIVE_NAMES) throw new DerError('a name has too many parts');
    const attributes = readRelativeName(reader.read(Tag.set, 'a relative name'), emails);
    relative.push(attributes.map((a) => a.text).join('+'));
    canonical.push(
      attributes
        .map((a) => a.canonical)
        .sort()
        .join('\u0001'),
    );
  }
  return { text: relative.reverse().join(','), canonical, emails };
}

interface Attribute {
  readonly text: string;
  readonly canonical: string;
}

function readRelativeName(set: Element, emails: string[]): Attribute[] {
  const attributes: Attribute[] = [];
  const reader = new DerReader(set.content);
  while (!reader.done) {
    const pair = new DerReader(reader.read(Tag.sequence, 'a name attribute').content);
    const type = readOid(pair.read(Tag.oid, 'a name attribute type').content);
    const value = pair.readAny('a name attribute value');
    pair.finish('a name attribute');
    const text = readDirectoryString(value);
    if (type === EMAIL_ADDRESS && text !== undefined) emails.push(text);
    const shown = text === undefined ? `#${value.der.toString('hex')}` : escapeValue(text);
    const compared = text === undefined ? shown : foldForComparison(text);
    attributes.push({ text: `${shortNames[type] ?? type}=${shown}`, canonical: `${type}=${compared}` });
  }
  if (attributes.length === 0) throw new DerError('a relative name is empty');
  return attributes;
}

/** undefined = not a character string. */
function readDirectoryString({ tag, content }: Element): string | undefined {
  switch (tag) {
    case 0x0c: // UTF8String
      try {
        return utf8.decode(content);
      } catch {
        throw new DerError('a name is not UTF-8');
      }
    case 0x12: // NumericString
    case 0x13: // PrintableString
    case 0x14: // TeletexString, in practice Latin-1
    case 0x16: // IA5String
      return content.toString('latin1');
    case 0x1e: // BMPString: UTF-16, big end first
      if (content.length % 2 !== 0) throw new DerError('a name is not UTF-16');
      return Buffer.from(content).swap16().toString('utf16le');
    default:
      return undefined;
  }
}

const foldForComparison = (text: string): string =>
  text.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();

/** RFC 4514 2.4; control characters too, so that no name can break a line of a log or a header. */
function escapeValue(text: string): string {
  let escaped = '';
  for (let i = 0; i < text.length; i++) {
    const character = text.charAt(i);
    const code = text.charCodeAt(i);
    const atEdge = i === 0 || i === text.length - 1;
    if (code < 0x20 || (code >= 0x7f && code < 0xa0) || code === 0x2028 || code === 0x2029)
      for (const octet of Buffer.from(character, 'utf8'))
        escaped += `\\${octet.toString(16).padStart(2, '0')}`;
    else if (
      '"+,;<>\\'.includes(character) ||
      (character === ' ' && atEdge) ||
      (character === '#' && i === 0)
    )
      escaped += `\\${character}`;
    else escaped += character;
  }
  return escaped;
}

/** True when both are the same name. */
export function isSameName(a: readonly string[], b: readonly string[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
