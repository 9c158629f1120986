import { createPrivateKey, type KeyObject } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import { readPemCertificates } from './pem.js';
import type { SpiffeId } from './spiffe-id.js';
import { type PeerChain, parsePeerChain } from './x509-svid.js';

/** Our own credential: the chain that we present and the key that goes with it. */
export interface OwnSvid {
  readonly chain: PeerChain;
  readonly key: KeyObject;
}

export interface OwnSvidError {
  readonly part: 'certificate' | 'key';
  /** Never shows the key. */
  readonly message: string;
}

/**
 * Reads our own SVID from PEM: leaf first and fit for a server, every block readable, the key that of the leaf. `announced` is
 * the ID that it is said to be for, if anybody said. Node takes the readable half of a broken file, so this comes first.
 */
export function parseOwnSvid(
  certificates: Uint8Array,
  key: Uint8Array,
  announced?: SpiffeId,
): Result<OwnSvid, OwnSvidError> {
  const ders = readPemCertificates(certificates);
  const chain = ders.ok ? readOwnChain(ders.value, announced) : ders;
  if (!chain.ok) return err({ part: 'certificate', message: chain.error });
  const privateKey = readPrivateKey(key);
  if (privateKey === undefined)
    return err({ part: 'key', message: 'it is not a private key in PEM without a password' });
  if (!chain.value.leaf.x509.checkPrivateKey(privateKey))
    return err({ part: 'key', message: 'it is not the key of the certificate' });
  return ok({ chain: chain.value, key: privateKey });
}

/** Reads the chain that we are to present, from DER, leaf first: every certificate readable, the leaf that of `announced`. */
export function readOwnChain(
  [leaf, ...rest]: readonly Uint8Array[],
  announced?: SpiffeId,
): Result<PeerChain, string> {
  if (leaf === undefined) return err('it holds no certificate');
  const chain = parsePeerChain(leaf, rest, 'server');
  if (!chain.ok) return err(`${chain.error.reason}: ${chain.error.detail}`);
  // A peer's unreadable extras are its own affair; in our own chain they are a mistake.
  if (chain.value.intermediates.length !== rest.length)
    return err('one of the certificates after the first cannot be read');
  const { id } = chain.value;
  return announced === undefined || announced.uri === id.uri
    ? chain
    : err(`it is that of ${id.uri}, not of ${announced.uri}`);
}

export function readPrivateKey(bytes: Uint8Array): KeyObject | undefined {
  try {
    return createPrivateKey(Buffer.from(bytes));
  } catch {
    return undefined;
  }
}
