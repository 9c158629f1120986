import { whyEntryUnusable } from './crl-extensions.js';
import { MAX_SERIAL_OCTETS } from './crl-serials.js';
import { checkPositiveInteger, DerError, DerReader, type Element, readTime, Tag } from './der.js';

const MAX_ENTRIES = 1_000_000;
const FIRST_ROOM = 1024;

export interface CrlEntries {
  /** Of each entry's serial, counted from the start of the list. */
  readonly offsets: Uint32Array;
  readonly unusable: string | undefined;
}

/** Reads revokedCertificates (RFC 5280 5.1.2.6), every entry to its end. Throws DerError, also beyond a million entries. */
export function readEntries(der: Buffer, list: Element | undefined): CrlEntries {
  let offsets = new Uint32Array(FIRST_ROOM);
  let count = 0;
  let unusable: string | undefined;
  let harmless: Buffer | undefined;
  const reader = new DerReader(list?.content ?? Buffer.alloc(0));
  while (!reader.done) {
    if (count >= MAX_ENTRIES) throw new DerError(`the list has more than ${MAX_ENTRIES} entries`);
    const entry = new DerReader(reader.read(Tag.sequence, 'an entry').content);
    const serial = entry.read(Tag.integer, 'a serial number');
    checkPositiveInteger(serial.content, 'a serial number', MAX_SERIAL_OCTETS);
    readTime(entry.readAny('a revocation date'), 'a revocation date');
    const extensions = entry.readOptional(Tag.sequence, 'the extensions of an entry');
    entry.finish('an entry');
    // Mostly the same reason as the entry before: not read a million times.
    if (extensions && !(harmless && extensions.der.equals(harmless))) {
      unusable ??= whyEntryUnusable(extensions);
      harmless = extensions.der;
    }
    if (count === offsets.length) {
      const room = new Uint32Array(count * 2);
      room.set(offsets);
      offsets = room;
    }
    offsets[count++] = serial.der.byteOffset - der.byteOffset;
  }
  return { offsets: offsets.subarray(0, count), unusable };
}
