/**
 * A bounded reader of DER (X.690): definite, shortest lengths only, nothing copied. Strict on purpose: two readers that
 * disagree about a lenient encoding are how one certificate comes to have two identities.
 */

/** Thrown inside the readers of this folder only; every exported parser turns it into a value. */
export class DerError extends Error {}

export const Tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  enumerated: 0x0a,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

export interface Element {
  readonly tag: number;
  /** The whole element: header and content. */
  readonly der: Buffer;
  readonly content: Buffer;
}

export class DerReader {
  private position = 0;

  constructor(private readonly bytes: Buffer) {}

  get done(): boolean {
    return this.position === this.bytes.length;
  }

  /** The next element's tag, or -1 at the end. */
  get nextTag(): number {
    return this.bytes[this.position] ?? -1;
  }

  /** The next element, which must have this tag. */
  read(tag: number, what: string): Element {
    if (this.nextTag !== tag) throw new DerError(`${what} is missing or of another type`);
    return this.readAny(what);
  }

  /** The next element if it has this tag. */
  readOptional(tag: number, what: string): Element | undefined {
    return this.nextTag === tag ? this.readAny(what) : undefined;
  }

  readAny(what: string): Element {
    const { bytes, position } = this;
    const tag = bytes[position];
    const first = bytes[position + 1];
    if (tag === undefined || first === undefined) throw new DerError(`${what} is cut short`);
    if ((tag & 0x1f) === 0x1f) throw new DerError(`${what} has a long tag`);
    let start = position + 2;
    let length = first;
    if (first >= 0x80) {
      const count = first & 0x7f;
      if (count === 0) throw new DerError(`${what} has an indefinite length`);
      if (count > 4 || start + count > bytes.length) throw new DerError(`${what} has a bad length`);
      length = bytes.readUIntBE(start, count);
      if (length < 0x80 || bytes[start] === 0) throw new DerError(`${what} has an overlong length`);
      start += count;
    }
    const end = start + length;
    if (end > bytes.length) throw new DerError(`${what} is cut short`);
    this.position = end;
    return { tag, der: bytes.subarray(position, end), content: bytes.subarray(start, end) };
  }

  /** Nothing may follow: trailing bytes are where a second meaning hides. */
  finish(what: string): void {
    if (!this.done) throw new DerError(`${what} has trailing bytes`);
  }
}

/** The only element of these bytes. */
export function readWhole(bytes: Buffer, tag: number, what: string): Element {
  const reader = new DerReader(bytes);
  const element = reader.read(tag, what);
  reader.finish(what);
  return element;
}

export function readOid(content: Buffer): string {
  if (content.length === 0 || content.length > 64) throw new DerError('an object identifier is malformed');
  let text = '';
  let value = 0;
  let fresh = true;
  for (const octet of content) {
    if (fresh && octet === 0x80) throw new DerError('an object identifier is padded');
    value = value * 128 + (octet & 0x7f);
    if (value > Number.MAX_SAFE_INTEGER) throw new DerError('an object identifier is too large');
    fresh = (octet & 0x80) === 0;
    if (!fresh) continue;
    if (text === '') {
      const root = value < 40 ? 0 : value < 80 ? 1 : 2;
      text = `${root}.${value - root * 40}`;
    } else text += `.${value}`;
    value = 0;
  }
  if (!fresh) throw new DerError('an object identifier is cut short');
  return text;
}

/** A BOOLEAN's value; DER knows 00 and FF only. */
export function readBoolean(content: Buffer): boolean {
  if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff))
    throw new DerError('a boolean is malformed');
  return content[0] === 0xff;
}

/** A non-negative INTEGER as lower-case hex without leading zeros; `0` for zero. Serials compare as numbers (RFC 5280 4.1.2.2). */
export function readPositiveInteger(content: Buffer, what: string, maxBytes = 32): string {
  checkPositiveInteger(content, what, maxBytes);
  const hex = content.toString('hex');
  let zeros = 0;
  while (zeros < hex.length - 1 && hex.charCodeAt(zeros) === 0x30) zeros++;
  return zeros === 0 ? hex : hex.slice(zeros);
}

/** Throws DerError unless the content is a non-negative INTEGER in its shortest form. */
export function checkPositiveInteger(content: Buffer, what: string, maxBytes: number): void {
  if (content.length === 0 || content.length > maxBytes) throw new DerError(`${what} has a bad length`);
  const first = content[0] ?? 0;
  if (first >= 0x80) throw new DerError(`${what} is negative`);
  if (first === 0 && content.length > 1 && (content[1] ?? 0) < 0x80) throw new DerError(`${what} is padded`);
}

export function readSmallInteger(content: Buffer, what: string): number {
  return Number.parseInt(readPositiveInteger(content, what, 4), 16);
}

/** A BIT STRING's octets; only whole octets are wanted by those who call this. */
export function readBitOctets(content: Buffer, what: string): Buffer {
  if (content.length === 0 || content[0] !== 0) throw new DerError(`${what} is not whole octets`);
  return content.subarray(1);
}

/** UTCTime or GeneralizedTime as RFC 5280 4.1.2.5 has them: to the second, in Z. Milliseconds since 1970. */
export function readTime(element: Element, what: string): number {
  const isUtc = element.tag === Tag.utcTime;
  if (!isUtc && element.tag !== Tag.generalizedTime) throw new DerError(`${what} is not a time`);
  const text = element.content;
  const digits = isUtc ? 12 : 14;
  if (text.length !== digits + 1 || text[digits] !== 0x5a) throw new DerError(`${what} is malformed`);
  const at = isUtc ? 2 : 4;
  let year = twoDigits(text, 0, what);
  if (isUtc) year += year >= 50 ? 1900 : 2000;
  else year = year * 100 + twoDigits(text, 2, what);
  const month = twoDigits(text, at, what);
  const day = twoDigits(text, at + 2, what);
  const hour = twoDigits(text, at + 4, what);
  const minute = twoDigits(text, at + 6, what);
  const second = twoDigits(text, at + 8, what);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day); // Date.UTC would move the years 0 to 99
  // A 31st of February would roll over to March: not a time that anybody signed.
  if (
    date.getUTCMonth() !== month - 1 ||
    date.getUTCDate() !== day ||
    hour > 23 ||
    minute > 59 ||
    second > 59
  )
    throw new DerError(`${what} is not a date`);
  return date.getTime() + ((hour * 60 + minute) * 60 + second) * 1000;
}

function twoDigits(text: Buffer, at: number, what: string): number {
  const tens = (text[at] ?? 0) - 0x30;
  const ones = (text[at + 1] ?? 0) - 0x30;
  if (tens < 0 || tens > 9 || ones < 0 || ones > 9) throw new DerError(`${what} is malformed`);
  return tens * 10 + ones;
}
