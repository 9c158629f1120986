import { err, type Result } from '../reasons.js';
import { parseBundleDocument } from './bundle-document.js';
import type { TrustBundle } from './create-trust-bundle.js';
import type { TrustDomain } from './spiffe-id.js';

/** A large domain publishes some dozens. Each certificate costs up to a third of a millisecond to read. */
const MAX_OBJECTS = 501; // 500 keys in their document
const MAX_ITEMS = 20_000;
const [COMMA, OPEN_LIST, OPEN_OBJECT] = [0x2c, 0x5b, 0x7b];

/**
 * Parses a bundle document from a server that somebody else runs. 4 MiB of tiny keys would take seconds to read, at every poll,
 * and every request would wait: a document is weighed before anything else is done with it. Errors: text.
 */
export function parseFetchedBundle(trustDomain: TrustDomain, bytes: Uint8Array): Result<TrustBundle, string> {
  let objects = 0;
  let items = 0;
  // Also counts what stands in strings; no sound bundle comes near either limit.
  for (let i = 0; i < bytes.length; i++) {
    const octet = bytes[i];
    if (octet === OPEN_OBJECT && ++objects > MAX_OBJECTS)
      return err(`the bundle holds more than ${MAX_OBJECTS - 1} keys`);
    if ((octet === COMMA || octet === OPEN_LIST) && ++items > MAX_ITEMS)
      return err(`the bundle holds more than ${MAX_ITEMS} values`);
  }
  return parseBundleDocument(trustDomain, bytes);
}
