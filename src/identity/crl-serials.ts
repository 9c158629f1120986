/**
 * The serials of a revocation list, found where they stand in the list's own bytes: a hash table of offsets, four octets a
 * slot and at most half full. Every hit is confirmed octet by octet, so the answer is never a guess. Plain data in two
 * buffers, so that a thread can build it and hand it over without a copy.
 */
export interface SerialTable {
  /** Offsets of the INTEGERs in the list; 0 = free. A power of two of them. */
  readonly slots: Uint32Array;
  readonly key: readonly [number, number];
  /** Different serials. */
  readonly size: number;
}

/** RFC 5280 4.1.2.2 allows 20 and asks users to bear more; beyond this, an INTEGER's length takes more than one octet. */
export const MAX_SERIAL_OCTETS = 127;
const MIN_SLOTS = 16;

/**
 * Builds the table. @param offsets of DER INTEGERs in `der`, each positive, unpadded and up to MAX_SERIAL_OCTETS long.
 * @param digest of `der`: keys the hash, so that nobody can write a list whose serials all meet in one slot.
 */
export function indexSerials(der: Uint8Array, offsets: Uint32Array, digest: Buffer): SerialTable {
  let length = MIN_SLOTS;
  while (length < offsets.length * 2) length *= 2;
  const slots = new Uint32Array(length);
  const key = [digest.readInt32LE(0), digest.readInt32LE(4)] as const;
  let size = 0;
  for (const offset of offsets) {
    const start = firstOctet(der, offset);
    const end = lastOctet(der, offset);
    const slot = findSlot({ slots, key, size }, der, der, start, end);
    if (slots[slot] !== 0) continue; // the same serial twice
    slots[slot] = offset;
    size++;
  }
  return { slots, key, size };
}

/** Makes the look-up: takes a serial in hex, leading zeros and case do not count, and allocates nothing. */
export function createSerialLookup(der: Uint8Array, table: SerialTable): (serial: string) => boolean {
  const octets = new Uint8Array(MAX_SERIAL_OCTETS);
  return (serial) => {
    const start = readHex(serial, octets);
    if (start < 0) return false;
    return table.slots[findSlot(table, der, octets, start, octets.length)] !== 0;
  };
}

/** The slot that holds this serial, or the free one where it would stand. */
function findSlot(
  { slots, key }: SerialTable,
  der: Uint8Array,
  octets: Uint8Array,
  start: number,
  end: number,
): number {
  const mask = slots.length - 1;
  let slot = hash(octets, start, end, key) & mask;
  for (;;) {
    const offset = slots[slot]!;
    if (offset === 0 || isSame(der, offset, octets, start, end)) return slot;
    slot = (slot + 1) & mask;
  }
}

function isSame(der: Uint8Array, offset: number, octets: Uint8Array, start: number, end: number): boolean {
  const first = firstOctet(der, offset);
  if (lastOctet(der, offset) - first !== end - start) return false;
  for (let i = start; i < end; i++) if (der[first + i - start] !== octets[i]) return false;
  return true;
}

/** Without the octet that only says that the number is positive. */
const firstOctet = (der: Uint8Array, offset: number): number =>
  der[offset + 2] === 0 && der[offset + 1] !== 1 ? offset + 3 : offset + 2;
const lastOctet = (der: Uint8Array, offset: number): number => offset + 2 + der[offset + 1]!;

/** Writes the number to the end of `octets`. @returns where it starts; -1 for what cannot be on any list. */
function readHex(serial: string, octets: Uint8Array): number {
  let from = 0;
  while (from < serial.length - 1 && serial.charCodeAt(from) === 0x30) from++;
  let at = octets.length;
  for (let i = serial.length - 1; i >= from; i -= 2) {
    const low = digit(serial.charCodeAt(i));
    const high = i > from ? digit(serial.charCodeAt(i - 1)) : 0;
    if (low < 0 || high < 0 || at === 0) return -1;
    octets[--at] = (high << 4) | low;
  }
  return at === octets.length ? -1 : at;
}

function digit(code: number): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30;
  const letter = (code | 0x20) - 0x61;
  return letter >= 0 && letter < 6 ? letter + 10 : -1;
}

/** HalfSipHash-1-3 (Aumasson, Bernstein) of the octets, 32 bits. */
function hash(octets: Uint8Array, start: number, end: number, key: readonly [number, number]): number {
  let v0 = key[0];
  let v1 = key[1];
  let v2 = key[0] ^ 0x6c796765;
  let v3 = key[1] ^ 0x74656462;
  const length = end - start;
  const rounds = (length >> 2) + 4; // the words, the last one with the length, three to finish
  for (let round = 0; round < rounds; round++) {
    const at = start + round * 4;
    let word = 0;
    if (round < rounds - 3) {
      const left = end - at;
      if (left >= 4)
        word = octets[at]! | (octets[at + 1]! << 8) | (octets[at + 2]! << 16) | (octets[at + 3]! << 24);
      else {
        word = length << 24;
        if (left > 2) word |= octets[at + 2]! << 16;
        if (left > 1) word |= octets[at + 1]! << 8;
        if (left > 0) word |= octets[at]!;
      }
    } else if (round === rounds - 3) v2 ^= 0xff;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return v1 ^ v3;
}
