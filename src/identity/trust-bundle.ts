import { err, ok, type Result } from '../reasons.js';
import { parseBundleDocument } from './bundle-document.js';
import type { Certificate } from './certificate.js';
import { createTrustBundle, parseAuthority, type TrustBundle } from './create-trust-bundle.js';
import { parsePem } from './pem.js';
import type { TrustDomain } from './spiffe-id.js';

export { parseBundleDocument, parseBundleMap } from './bundle-document.js';
export {
  type BundleParts,
  createTrustBundle,
  type TrustBundle,
  type TrustBundleSet,
} from './create-trust-bundle.js';
export { bindCrls } from './crl.js';

const MAX_BUNDLE_BYTES = 8 * 1024 * 1024;

/**
 * Parses a bundle file: SPIFFE bundle JSON when it starts like JSON, else PEM. All of it or none of it: a PEM file with one
 * block that is no readable CA certificate is refused, with the line.
 */
export function parseTrustBundle(trustDomain: TrustDomain, bytes: Uint8Array): Result<TrustBundle, string> {
  if (bytes.length > MAX_BUNDLE_BYTES) return err(`the bundle is longer than ${MAX_BUNDLE_BYTES} bytes`);
  if (bytes[0] === 0xef || bytes[0] === 0xfe || bytes[0] === 0xff)
    return err('the bundle starts with a byte order mark');
  const first = bytes.find((octet) => octet !== 0x20 && octet !== 0x0a && octet !== 0x0d && octet !== 0x09);
  if (first === undefined) return err('the bundle is empty');
  const isJson = first === 0x7b || first === 0x5b;
  return isJson ? parseBundleDocument(trustDomain, bytes) : parsePemBundle(trustDomain, bytes);
}

function parsePemBundle(trustDomain: TrustDomain, bytes: Uint8Array): Result<TrustBundle, string> {
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  if (blocks.value.length === 0) return err('the bundle holds no certificate');
  const authorities: Certificate[] = [];
  for (const { label, der, line } of blocks.value) {
    if (label.endsWith('PRIVATE KEY')) return err(`line ${line}: a private key does not belong in a bundle`);
    if (label !== 'CERTIFICATE') return err(`line ${line}: ${label} is not a certificate`);
    const authority = parseAuthority(der);
    if (!authority.ok) return err(`line ${line}: ${authority.error}`);
    authorities.push(authority.value);
  }
  return ok(createTrustBundle({ trustDomain, authorities }));
}
