import 'reflect-metadata';

import type { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { dnsName, emailName, ipName, otherName, sequence, TAG, tlv, uriName } from './der-writer.js';

/** What a certificate of the development PKI may be told to say, and how it says it. */

const EXTENSION = {
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  nameConstraints: '2.5.29.30',
} as const;

export type KeyUsageName = keyof typeof keyUsageFlags;
const keyUsageFlags = {
  digitalSignature: x509.KeyUsageFlags.digitalSignature,
  contentCommitment: x509.KeyUsageFlags.nonRepudiation,
  keyEncipherment: x509.KeyUsageFlags.keyEncipherment,
  dataEncipherment: x509.KeyUsageFlags.dataEncipherment,
  keyAgreement: x509.KeyUsageFlags.keyAgreement,
  keyCertSign: x509.KeyUsageFlags.keyCertSign,
  cRLSign: x509.KeyUsageFlags.cRLSign,
} as const;
const extendedKeyUsageOids: Readonly<Record<string, string>> = {
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
  anyExtendedKeyUsage: '2.5.29.37.0',
};

export interface RawExtension {
  readonly oid: string;
  readonly critical?: boolean;
  /** The DER inside the OCTET STRING, or any garbage. */
  readonly value?: Uint8Array;
}

export interface NameConstraintNames {
  readonly critical?: boolean;
  readonly permittedUri?: readonly string[];
  readonly excludedUri?: readonly string[];
  readonly permittedDns?: readonly string[];
  readonly excludedDns?: readonly string[];
}

/** What every certificate of this authority may be told; whatever is left out looks like production. */
export interface CertificateOptions {
  readonly subject?: string;
  /** Further SANs: `DNS:`, `IP:` (v4), `email:` or `otherName:OID=text`. */
  readonly otherSans?: readonly string[];
  readonly sanCritical?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** From now; `notBefore` is then now minus ten seconds, as SPIRE does. */
  readonly ttlMs?: number;
  /** null leaves the extension out. */
  readonly keyUsage?: readonly KeyUsageName[] | null;
  readonly keyUsageCritical?: boolean;
  readonly extendedKeyUsage?: readonly string[] | null;
  readonly ca?: boolean | null;
  readonly pathLength?: number;
  readonly nameConstraints?: NameConstraintNames;
  /** Hex; a random positive number of 16 bytes otherwise. */
  readonly serial?: string;
  /** Subject and authority key identifiers; on by default. */
  readonly keyIdentifiers?: boolean;
  /** Added as they are, after the others; may repeat or be nonsense. */
  readonly extensions?: readonly RawExtension[];
  readonly keys?: webcrypto.CryptoKeyPair;
}

export function certificateExtensions(
  options: CertificateOptions,
  uris: readonly string[],
): x509.Extension[] {
  const extensions: x509.Extension[] = [];
  const sans = [...uris.map(uriName), ...(options.otherSans ?? []).map(otherSan)];
  if (sans.length > 0)
    extensions.push(
      // RFC 5280 4.2.1.6: critical when there is no subject.
      new x509.Extension(
        EXTENSION.subjectAltName,
        options.sanCritical ?? options.subject === '',
        sequence(...sans),
      ),
    );
  if (options.ca !== null && options.ca !== undefined)
    extensions.push(new x509.BasicConstraintsExtension(options.ca, options.pathLength, true));
  if (options.keyUsage) {
    const flags = options.keyUsage.reduce((sum, name) => sum | keyUsageFlags[name], 0);
    extensions.push(new x509.KeyUsagesExtension(flags, options.keyUsageCritical ?? true));
  }
  if (options.extendedKeyUsage)
    extensions.push(
      new x509.ExtendedKeyUsageExtension(
        options.extendedKeyUsage.map((name) => extendedKeyUsageOids[name] ?? name),
      ),
    );
  if (options.nameConstraints) extensions.push(nameConstraints(options.nameConstraints));
  return extensions;
}

function nameConstraints(names: NameConstraintNames): x509.Extension {
  const subtrees = (tag: number, uris: readonly string[] = [], dns: readonly string[] = []): Buffer => {
    const all = [...uris.map(uriName), ...dns.map(dnsName)].map((name) => sequence(name));
    return all.length === 0 ? Buffer.alloc(0) : tlv(tag, ...all);
  };
  const value = sequence(
    subtrees(0xa0, names.permittedUri, names.permittedDns),
    subtrees(0xa1, names.excludedUri, names.excludedDns),
  );
  return new x509.Extension(EXTENSION.nameConstraints, names.critical ?? true, value);
}

function otherSan(text: string): Buffer {
  const colon = text.indexOf(':');
  const value = text.slice(colon + 1);
  switch (text.slice(0, colon)) {
    case 'DNS':
      return dnsName(value);
    case 'IP':
      return ipName(Buffer.from(value.split('.').map(Number)));
    case 'email':
      return emailName(value);
    case 'otherName': {
      const [type = '', content = ''] = value.split('=');
      return otherName(type, content);
    }
    default:
      throw new TypeError(`unknown kind of SAN: ${text}`);
  }
}

export const rawExtension = (raw: RawExtension): x509.Extension =>
  new x509.Extension(raw.oid, raw.critical ?? false, raw.value ?? tlv(TAG.octetString));
