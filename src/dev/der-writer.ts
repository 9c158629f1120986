/** Just enough DER to write what the certificate library will not: odd names, name constraints, broken extensions. */

export const TAG = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  oid: 0x06,
  utf8String: 0x0c,
  ia5String: 0x16,
  sequence: 0x30,
} as const;

export function tlv(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from([tag]), lengthOctets(body.length), body]);
}

function lengthOctets(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  const octets: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) octets.unshift(rest & 0xff);
  return Buffer.from([0x80 | octets.length, ...octets]);
}

export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const octets: number[] = [];
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc & 0x7f];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128))
      groups.unshift((left & 0x7f) | 0x80);
    octets.push(...groups);
  }
  return tlv(TAG.oid, Buffer.from(octets));
}

export const sequence = (...parts: readonly Uint8Array[]): Buffer => tlv(TAG.sequence, ...parts);

/** GeneralName (RFC 5280 4.2.1.6): the text's Latin-1 bytes exactly, so that a NUL or `, URI:` can be put in a name. */
export const uriName = (text: string): Buffer => tlv(0x86, Buffer.from(text, 'latin1'));
export const dnsName = (text: string): Buffer => tlv(0x82, Buffer.from(text, 'latin1'));
export const emailName = (text: string): Buffer => tlv(0x81, Buffer.from(text, 'latin1'));
export const ipName = (octets: Uint8Array): Buffer => tlv(0x87, octets);
export const otherName = (type: string, text: string): Buffer =>
  tlv(0xa0, oid(type), tlv(0xa0, tlv(TAG.utf8String, Buffer.from(text, 'utf8'))));
