import { readPemCertificates } from '../identity/pem.js';
import type { OwnSvid } from '../snapshot.js';
import type { Credential, CredentialIndex } from './credential.js';
import type { PeerCertificates } from './ports.js';

const presented = new WeakMap<OwnSvid, PeerCertificates>();

/**
 * Our own SVID as a credential like any other: what goes out is judged as us, by the bundle, the lists and the dates of our own
 * trust domain. Looked up each time: one that was refused is not kept.
 */
export function ownCredential(own: OwnSvid, credentials: CredentialIndex): Credential {
  let known = presented.get(own);
  if (known === undefined) {
    const read = readPemCertificates(Buffer.from(own.certificatePem, 'latin1'));
    const [leaf = Buffer.from(own.leaf.der), ...intermediates] = read.ok ? read.value : [];
    known = { leaf, intermediates };
    presented.set(own, known);
  }
  return credentials.find(known);
}
