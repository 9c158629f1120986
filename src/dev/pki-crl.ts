import 'reflect-metadata';

import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { TAG, tlv } from './der-writer.js';
import { type RawExtension, rawExtension } from './pki-extensions.js';

export const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const HOUR_MS = 3_600_000;
/** As certificates are, so that a clock a little behind takes it too. */
const BACKDATE_MS = 10_000;

export interface RevokedSerial {
  readonly serial: string;
  readonly reason?: keyof typeof x509.X509CrlReason;
  readonly at?: Date;
  readonly extensions?: readonly RawExtension[];
}

export interface CrlOptions {
  readonly revoked?: readonly (string | RevokedSerial)[];
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  readonly number?: number;
  readonly extensions?: readonly RawExtension[];
  /** Signs with another key but names this issuer: a forgery, for tests. */
  readonly signer?: { readonly keys: webcrypto.CryptoKeyPair };
}

export interface MintedCrl {
  readonly der: Buffer;
  readonly pem: string;
}

export interface Issuer {
  readonly certificate: x509.X509Certificate;
  readonly keys: webcrypto.CryptoKeyPair;
  readonly intermediates: readonly Buffer[];
}

export async function mintCrl(issuer: Issuer, options: CrlOptions): Promise<MintedCrl> {
  const now = Date.now();
  const keyId = await issuer.certificate.publicKey.getKeyIdentifier(webcrypto);
  const number = Buffer.from(`00${(options.number ?? 1).toString(16).padStart(8, '0')}`, 'hex');
  const crl = await x509.X509CrlGenerator.create(
    {
      issuer: issuer.certificate.subjectName,
      thisUpdate: options.thisUpdate ?? new Date(now - BACKDATE_MS),
      nextUpdate: options.nextUpdate ?? new Date(now + 24 * HOUR_MS),
      signingAlgorithm: ALGORITHM,
      signingKey: (options.signer?.keys ?? issuer.keys).privateKey,
      extensions: [
        new x509.AuthorityKeyIdentifierExtension(Buffer.from(keyId).toString('hex')),
        new x509.Extension('2.5.29.20', false, tlv(TAG.integer, trimInteger(number))),
        ...(options.extensions ?? []).map(rawExtension),
      ],
      entries: (options.revoked ?? []).map((item) => crlEntry(item, now)),
    },
    webcrypto,
  );
  const der = Buffer.from(crl.rawData);
  return { der, pem: pem('X509 CRL', der) };
}

function crlEntry(item: string | RevokedSerial, now: number): x509.X509CrlEntryParams {
  const entry: RevokedSerial = typeof item === 'string' ? { serial: item } : item;
  return {
    serialNumber: entry.serial,
    revocationDate: entry.at ?? new Date(now - 2000),
    ...(entry.reason === undefined ? {} : { reason: x509.X509CrlReason[entry.reason] }),
    ...(entry.extensions === undefined ? {} : { extensions: entry.extensions.map(rawExtension) }),
  };
}

/** DER keeps an INTEGER's octets to the fewest (X.690 8.3.2). */
function trimInteger(octets: Buffer): Buffer {
  let start = 0;
  while (start < octets.length - 1 && octets[start] === 0 && (octets[start + 1] ?? 0) < 0x80) start++;
  return octets.subarray(start);
}

/** PEM text (RFC 7468) of one DER value, 64 characters a line. */
export function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
