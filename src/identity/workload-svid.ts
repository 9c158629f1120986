import { createPrivateKey, type KeyObject } from 'node:crypto';
import { err, ok, type Result } from '../reasons.js';
import { DerError, DerReader, readWhole, Tag } from './der.js';
import { readOwnChain } from './own-svid.js';
import { parseSpiffeId, type SpiffeId } from './spiffe-id.js';
import type { X509SvidMessage } from './workload-proto.js';
import type { PeerChain } from './x509-svid.js';

/** An X509-SVID that the Workload API gave us, fit to be presented: its key is that of the leaf, its ID the announced one. */
export interface WorkloadSvid {
  readonly id: SpiffeId;
  /** The operator's word on what this SVID is for; empty where there is none. */
  readonly hint: string;
  /** DER, leaf first. */
  readonly certificates: readonly Buffer[];
  readonly key: KeyObject;
  readonly chain: PeerChain;
  readonly certificatePem: string;
  readonly keyPem: string;
}

const MAX_HINT_BYTES = 1024; // Workload API 8
const MAX_CHAIN = 16; // as many as a peer may present

/** Reads one SVID of a message (SPIFFE Workload API 5.1). The error never shows the key. */
export function readWorkloadSvid(message: X509SvidMessage): Result<WorkloadSvid, string> {
  const missing = (['spiffeId', 'x509Svid', 'x509SvidKey', 'bundle'] as const).find(
    (field) => message[field].length === 0,
  );
  if (missing !== undefined) return err(`${protoNames[missing]} is missing`); // Workload API 4.5
  if (Buffer.byteLength(message.hint) > MAX_HINT_BYTES)
    return err(`hint is longer than ${MAX_HINT_BYTES} bytes`);
  const announced = parseSpiffeId(message.spiffeId);
  if (!announced.ok) return err(`spiffe_id: ${announced.error}`);
  const ders = splitDer(message.x509Svid, MAX_CHAIN);
  const chain = ders.ok ? readOwnChain(ders.value, announced.value) : ders;
  if (!chain.ok) return err(`x509_svid: ${chain.error}`);
  const key = readPkcs8(message.x509SvidKey);
  if (!key.ok) return err(`x509_svid_key: ${key.error}`);
  const { id, leaf, intermediates } = chain.value;
  if (!leaf.x509.checkPrivateKey(key.value))
    return err('x509_svid_key: it is not the key of the certificate');
  const certificates = [leaf, ...intermediates];
  return ok({
    id,
    hint: message.hint,
    certificates: certificates.map(({ der }) => der),
    key: key.value,
    chain: chain.value,
    certificatePem: certificates.map(({ pemEncoded }) => pemEncoded).join(''),
    keyPem: key.value.export({ format: 'pem', type: 'pkcs8' }).toString(),
  });
}

const protoNames = {
  spiffeId: 'spiffe_id',
  x509Svid: 'x509_svid',
  x509SvidKey: 'x509_svid_key',
  bundle: 'bundle',
} as const;

/** Splits concatenated DER certificates (Workload API 5.1), strictly: what does not belong to one refuses them all. */
export function splitDer(bytes: Buffer, most: number): Result<readonly Buffer[], string> {
  if (bytes.subarray(0, 5).toString('latin1') === '-----') return err('it is PEM; DER is asked for');
  const reader = new DerReader(bytes);
  const parts: Buffer[] = [];
  try {
    while (!reader.done) {
      if (parts.length === most) return err(`it holds more than ${most} certificates`);
      parts.push(reader.read(Tag.sequence, `certificate ${parts.length + 1}`).der);
    }
  } catch (error) {
    if (error instanceof DerError) return err(error.message);
    throw error;
  }
  return ok(parts);
}

/** RFC 5958: OneAsymmetricKey without a password. OpenSSL alone would take bytes after it. */
function readPkcs8(bytes: Buffer): Result<KeyObject, string> {
  try {
    const fields = new DerReader(readWhole(bytes, Tag.sequence, 'the key').content);
    fields.read(Tag.integer, 'its version');
    fields.read(Tag.sequence, 'its algorithm');
    fields.read(Tag.octetString, 'the private key');
    return ok(createPrivateKey({ key: bytes, format: 'der', type: 'pkcs8' }));
  } catch {
    return err('it is not a private key in PKCS#8 DER without a password');
  }
}

export interface SvidWish {
  readonly id?: SpiffeId | undefined;
  readonly hint?: string | undefined;
}

/**
 * The SVID of this ID and hint, else the first (Workload API 8). Where the wished one is not there none is chosen: another
 * identity than the expected one would be presented, and believed.
 */
export function chooseSvid(svids: readonly WorkloadSvid[], wish: SvidWish): Result<WorkloadSvid, string> {
  const { id, hint } = wish;
  const chosen = svids.find(
    (svid) => (id === undefined || svid.id.uri === id.uri) && (hint === undefined || svid.hint === hint),
  );
  if (chosen !== undefined) return ok(chosen);
  const wished = [
    ...(id === undefined ? [] : [`the ID ${id.uri}`]),
    ...(hint === undefined ? [] : [`the hint ${JSON.stringify(hint)}`]),
  ];
  return err(`no SVID with ${wished.join(' and ') || 'any ID'} was given; given: ${describe(svids)}`);
}

const MAX_SHOWN = 8;

function describe(svids: readonly WorkloadSvid[]): string {
  const shown = svids
    .slice(0, MAX_SHOWN)
    .map(({ id, hint }) => (hint === '' ? id.uri : `${id.uri} (hint ${JSON.stringify(hint)})`));
  const more = svids.length - shown.length;
  return `${shown.join(', ') || 'none'}${more > 0 ? ` and ${more} more` : ''}`;
}
