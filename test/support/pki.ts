/** The development PKI as tests use it: everything in memory, P-256, sound unless told otherwise. */
export {
  type Authority,
  type CertificateOptions,
  type CrlOptions,
  generateKeys,
  type MintedCrl,
  mintRoot,
  pem,
  type RawExtension,
  type Svid,
} from '../../src/dev/pki.js';

import type { Authority } from '../../src/dev/pki.js';

/** A PEM trust bundle of several authorities, in the order given. */
export const bundlePem = (...authorities: readonly Authority[]): string =>
  authorities.map((authority) => authority.certPem).join('');
