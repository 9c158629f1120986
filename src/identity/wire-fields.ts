/**
 * Walks the outermost fields of a protobuf message without decoding them. A decoder makes an object of every field that it
 * meets, and 4 MiB hold two million empty ones: this finds that out first. The problem, if there is one.
 */
export function whyNotDecodable(bytes: Uint8Array, mostFields: number): string | undefined {
  let at = 0;
  for (let fields = 0; at < bytes.length; fields++) {
    if (fields === mostFields) return `it has more than ${mostFields} fields`;
    const tag = readVarint(bytes, at);
    if (tag === undefined) return MALFORMED;
    const end = endOfValue(bytes, tag.end, tag.value & 7);
    if (end === undefined || end > bytes.length) return MALFORMED;
    at = end;
  }
  return undefined;
}

const MALFORMED = 'it is not a protobuf message, or cut short';

function endOfValue(bytes: Uint8Array, at: number, wireType: number): number | undefined {
  switch (wireType) {
    case 0:
      return readVarint(bytes, at)?.end;
    case 1:
      return at + 8;
    case 2: {
      const length = readVarint(bytes, at);
      return length && length.end + length.value;
    }
    case 5:
      return at + 4;
    default:
      return undefined; // groups, which proto3 has not
  }
}

/** Of ten bytes at most; the value is exact up to 2^53, which is more than any length here. */
function readVarint(bytes: Uint8Array, start: number): { value: number; end: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let at = start; at < start + 10; at++) {
    const octet = bytes[at];
    if (octet === undefined) return undefined;
    value += (octet & 0x7f) * scale;
    if (octet < 0x80) return { value, end: at + 1 };
    scale *= 128;
  }
  return undefined;
}
