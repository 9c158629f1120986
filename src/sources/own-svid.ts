import { createSecureContext } from 'node:tls';
import { parseOwnSvid, type OwnSvid as ReadSvid } from '../identity/own-svid.js';
import type { TrustBundleSet } from '../identity/trust-bundle.js';
import { createSignatureCheck, verifyX509Svid } from '../identity/x509-svid.js';
import { err, ok, type Result } from '../reasons.js';
import type { OwnSvid } from '../snapshot.js';

const checkSignature = createSignatureCheck();

export interface LoadedSvid {
  readonly own: OwnSvid;
  readonly read: ReadSvid;
}

/** The own SVID as TLS takes it, from a PEM chain (leaf first) and the private key that belongs to it. */
export function loadOwnSvid(certificate: Buffer, key: Buffer): Result<LoadedSvid, string> {
  const read = parseOwnSvid(certificate, key);
  if (!read.ok) return err(`${read.error.part}: ${read.error.message}`);
  const { id, leaf } = read.value.chain;
  const own = { id, leaf, certificatePem: certificate.toString('latin1'), keyPem: key.toString('latin1') };
  const unusable = whyUnusable(own);
  return unusable === undefined ? ok({ own, read: read.value }) : err(unusable);
}

/** OpenSSL has rules of its own (a key it finds too small); to meet them here is a refusal, in the listener it would be an outage. */
export function whyUnusable(own: Pick<OwnSvid, 'certificatePem' | 'keyPem'>): string | undefined {
  try {
    createSecureContext({ cert: own.certificatePem, key: own.keyPem, ca: [] });
    return undefined;
  } catch (cause) {
    return `cannot be used for TLS: ${(cause as Error).message}`;
  }
}

/** The own SVID must stand before the own bundle, else no peer of this domain could accept it. */
export function verifyOwnSvid(
  loaded: LoadedSvid,
  bundles: TrustBundleSet,
  nowMs: number,
  clockSkewMs: number,
): Result<void, string> {
  const verified = verifyX509Svid(loaded.read.chain, bundles, nowMs, { clockSkewMs, checkSignature });
  if (verified.ok) return ok(undefined);
  const { reason, detail } = verified.error;
  return err(
    `the own SVID does not verify under the bundle of ${loaded.own.id.trustDomain}: ${reason} ${detail}`.trim(),
  );
}
