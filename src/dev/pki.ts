import 'reflect-metadata';

import { createHash, randomBytes, webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { ALGORITHM, type CrlOptions, type Issuer, type MintedCrl, mintCrl, pem } from './pki-crl.js';
import { type CertificateOptions, certificateExtensions, rawExtension } from './pki-extensions.js';

export { type CrlOptions, type MintedCrl, pem, type RevokedSerial } from './pki-crl.js';
export type {
  CertificateOptions,
  KeyUsageName,
  NameConstraintNames,
  RawExtension,
} from './pki-extensions.js';

/** A throwaway certificate authority: for the demo, the `pki` verb and tests. Keys live in memory or in plain files. */

x509.cryptoProvider.set(webcrypto);

const HOUR_MS = 3_600_000;
export interface Svid {
  readonly uri: string;
  readonly serial: string;
  readonly sha256: string;
  readonly certDer: Buffer;
  readonly certPem: string;
  readonly keyPem: string;
  /** Leaf first, then the intermediates; never the root. */
  readonly chainDer: readonly Buffer[];
  readonly chainPem: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly keys: webcrypto.CryptoKeyPair;
}

export interface Authority {
  readonly trustDomain: string;
  readonly subject: string;
  readonly serial: string;
  readonly sha256: string;
  readonly certificate: x509.X509Certificate;
  readonly certDer: Buffer;
  readonly certPem: string;
  readonly keyPem: string;
  readonly keys: webcrypto.CryptoKeyPair;
  /** What a leaf of this authority must present after itself: this one (unless it is a root) and those above. */
  readonly intermediates: readonly Buffer[];
  issue(uri: string | readonly string[], options?: CertificateOptions): Promise<Svid>;
  intermediate(options?: CertificateOptions & { readonly uriSans?: readonly string[] }): Promise<Authority>;
  crl(options?: CrlOptions): Promise<MintedCrl>;
}

/** Mints a self-signed authority for a trust domain: ten years, P-256, CA, keyCertSign and cRLSign. */
export async function mintRoot(
  trustDomain: string,
  options: CertificateOptions & { readonly uriSans?: readonly string[] } = {},
): Promise<Authority> {
  const keys = options.keys ?? (await generateKeys());
  const subject = options.subject ?? `O=Countersign development,CN=${trustDomain} development root`;
  const certificate = await sign({ ...authorityDefaults(options), subject }, keys, {
    uris: options.uriSans ?? [`spiffe://${trustDomain}`],
    issuer: subject,
    issuerKeys: keys,
    ttlMs: 10 * 365 * 24 * HOUR_MS,
  });
  return describeAuthority(trustDomain, certificate, keys, []);
}

/** Puts an authority together again from its PEM files, to issue more from it. */
export async function loadAuthority(
  trustDomain: string,
  certPem: string,
  keyPem: string,
  intermediates: readonly Buffer[] = [],
): Promise<Authority> {
  const certificate = new x509.X509Certificate(certPem);
  const pkcs8 = x509.PemConverter.decodeFirst(keyPem);
  const privateKey = await webcrypto.subtle.importKey('pkcs8', pkcs8, ALGORITHM, true, ['sign']);
  const publicKey = (await certificate.publicKey.export(
    ALGORITHM,
    ['verify'],
    webcrypto,
  )) as webcrypto.CryptoKey;
  return describeAuthority(trustDomain, certificate, { privateKey, publicKey }, intermediates);
}

export async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
}

const authorityDefaults = (options: CertificateOptions): CertificateOptions => ({
  ...options,
  ca: options.ca === undefined ? true : options.ca,
  keyUsage: options.keyUsage === undefined ? ['keyCertSign', 'cRLSign'] : options.keyUsage,
  extendedKeyUsage: options.extendedKeyUsage ?? null,
});

async function describeAuthority(
  trustDomain: string,
  certificate: x509.X509Certificate,
  keys: webcrypto.CryptoKeyPair,
  intermediates: readonly Buffer[],
): Promise<Authority> {
  const certDer = Buffer.from(certificate.rawData);
  const issuer = { certificate, keys, intermediates };
  return {
    trustDomain,
    subject: certificate.subject,
    serial: plainSerial(certificate.serialNumber),
    sha256: createHash('sha256').update(certDer).digest('hex'),
    certificate,
    certDer,
    certPem: pem('CERTIFICATE', certDer),
    keyPem: await exportKey(keys),
    keys,
    intermediates,
    issue: (uri, options = {}) => issueSvid(issuer, typeof uri === 'string' ? [uri] : uri, options),
    intermediate: (options = {}) => issueIntermediate(trustDomain, issuer, options),
    crl: (options = {}) => mintCrl(issuer, options),
  };
}

async function issueSvid(
  issuer: Issuer,
  uris: readonly string[],
  options: CertificateOptions,
): Promise<Svid> {
  const keys = options.keys ?? (await generateKeys());
  const certificate = await sign(
    {
      ...options,
      subject: options.subject ?? 'O=Countersign development',
      ca: options.ca === undefined ? false : options.ca,
      keyUsage: options.keyUsage === undefined ? ['digitalSignature'] : options.keyUsage,
      extendedKeyUsage:
        options.extendedKeyUsage === undefined ? ['serverAuth', 'clientAuth'] : options.extendedKeyUsage,
    },
    keys,
    {
      uris,
      issuer: issuer.certificate.subjectName,
      issuerKeys: issuer.keys,
      issuerKeyId: await issuer.certificate.publicKey.getKeyIdentifier(webcrypto),
      ttlMs: HOUR_MS,
    },
  );
  const certDer = Buffer.from(certificate.rawData);
  const chainDer = [certDer, ...issuer.intermediates];
  return {
    uri: uris[0] ?? '',
    serial: plainSerial(certificate.serialNumber),
    sha256: createHash('sha256').update(certDer).digest('hex'),
    certDer,
    certPem: pem('CERTIFICATE', certDer),
    keyPem: await exportKey(keys),
    chainDer,
    chainPem: chainDer.map((der) => pem('CERTIFICATE', der)).join(''),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    keys,
  };
}

async function issueIntermediate(
  trustDomain: string,
  issuer: Issuer,
  options: CertificateOptions & { readonly uriSans?: readonly string[] },
): Promise<Authority> {
  const keys = options.keys ?? (await generateKeys());
  const subject = options.subject ?? `O=Countersign development,CN=${trustDomain} development intermediate`;
  const certificate = await sign({ ...authorityDefaults(options), subject }, keys, {
    uris: options.uriSans ?? [`spiffe://${trustDomain}`],
    issuer: issuer.certificate.subjectName,
    issuerKeys: issuer.keys,
    issuerKeyId: await issuer.certificate.publicKey.getKeyIdentifier(webcrypto),
    ttlMs: 365 * 24 * HOUR_MS,
  });
  return describeAuthority(trustDomain, certificate, keys, [
    Buffer.from(certificate.rawData),
    ...issuer.intermediates,
  ]);
}

interface Signing {
  readonly uris: readonly string[];
  readonly issuer: string | x509.Name;
  readonly issuerKeys: webcrypto.CryptoKeyPair;
  readonly issuerKeyId?: ArrayBuffer;
  readonly ttlMs: number;
}

async function sign(
  options: CertificateOptions,
  keys: webcrypto.CryptoKeyPair,
  how: Signing,
): Promise<x509.X509Certificate> {
  const now = Date.now();
  const extensions = certificateExtensions(options, how.uris);
  if (options.keyIdentifiers !== false) {
    extensions.push(await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto));
    if (how.issuerKeyId)
      extensions.push(new x509.AuthorityKeyIdentifierExtension(Buffer.from(how.issuerKeyId).toString('hex')));
  }
  for (const raw of options.extensions ?? []) extensions.push(rawExtension(raw));
  return x509.X509CertificateGenerator.create(
    {
      serialNumber: options.serial ?? randomSerial(),
      subject: options.subject ?? '',
      issuer: how.issuer,
      notBefore: options.notBefore ?? new Date(now - 10_000),
      notAfter: options.notAfter ?? new Date(now + (options.ttlMs ?? how.ttlMs)),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: how.issuerKeys.privateKey,
      extensions,
    },
    webcrypto,
  );
}

function randomSerial(): string {
  const serial = randomBytes(16);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40; // positive, and always 16 bytes
  return serial.toString('hex');
}

const plainSerial = (hex: string): string => hex.toLowerCase().replace(/^0+(?=.)/, '');

async function exportKey(keys: webcrypto.CryptoKeyPair): Promise<string> {
  return pem('PRIVATE KEY', Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)));
}
