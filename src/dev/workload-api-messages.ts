import { createPrivateKey } from 'node:crypto';
import type { X509SvidMessage, X509SvidResponse } from '../identity/workload-proto.js';
import type { Authority, Svid } from './pki.js';

/** What a Workload API says of minted credentials: for the demo and for tests. */

export const pkcs8Der = (svid: Svid): Buffer =>
  createPrivateKey(svid.keyPem).export({ format: 'der', type: 'pkcs8' });

export function svidMessage(
  svid: Svid,
  authority: Authority,
  changes: Partial<X509SvidMessage> = {},
): X509SvidMessage {
  return {
    spiffeId: svid.uri,
    x509Svid: Buffer.concat(svid.chainDer),
    x509SvidKey: pkcs8Der(svid),
    bundle: authority.certDer,
    hint: '',
    ...changes,
  };
}

export const svidResponse = (
  svids: readonly X509SvidMessage[],
  changes: Partial<X509SvidResponse> = {},
): X509SvidResponse => ({ svids, crl: [], federatedBundles: {}, ...changes });
