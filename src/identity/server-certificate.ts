import { err, ok, type Result } from '../reasons.js';
import { type Certificate, parseCertificate } from './certificate.js';
import { type OwnSvidError, readPrivateKey } from './own-svid.js';
import { readPemCertificates } from './pem.js';

/** What clients that know no SPIFFE are shown, read and fit to be shown. */
export interface ServerChain {
  readonly leaf: Certificate;
  /** Lower case; `*.` stands for one label. */
  readonly names: readonly string[];
}

export interface ServerCertificateTerms {
  /** Server names that it is for; undefined = its own DNS names. */
  readonly names: readonly string[] | undefined;
  readonly nowMs: number;
  /** For notBefore. */
  readonly clockSkewMs: number;
}

const DNS_NAME = /^(\*\.)?[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*$/;
const SERVER_AUTH = '1.3.6.1.5.5.7.3.1';
const ANY_USAGE = '2.5.29.37.0';

/**
 * Reads a server certificate from PEM: leaf first, every block readable, the key that of the leaf, and in force. The errors
 * never show the key.
 */
export function parseServerCertificate(
  certificates: Uint8Array,
  key: Uint8Array,
  { names, ...clock }: ServerCertificateTerms,
): Result<ServerChain, OwnSvidError> {
  const leaf = readServerChain(certificates);
  const unfit = leaf.ok ? whyUnfit(leaf.value, clock) : leaf.error;
  if (!leaf.ok || unfit !== undefined) return err({ part: 'certificate', message: unfit ?? '' });
  const shownFor = names ?? ownNames(leaf.value);
  if (shownFor.length === 0)
    return err({ part: 'certificate', message: 'it has no DNS name: say in `names` what it is shown for' });
  const privateKey = readPrivateKey(key);
  if (privateKey === undefined)
    return err({ part: 'key', message: 'it is not a private key in PEM without a password' });
  if (!leaf.value.x509.checkPrivateKey(privateKey))
    return err({ part: 'key', message: 'it is not the key of the certificate' });
  return ok({ leaf: leaf.value, names: shownFor });
}

/** Those of `names` that no client would take this certificate for (RFC 9525 6.3). */
export const namesNotIn = ({ leaf, names }: ServerChain): readonly string[] => {
  const own = ownNames(leaf);
  return names.filter((name) => !own.includes(name) && !own.includes(name.replace(/^[^.]+/, '*')));
};

/** Why it serves no more at `nowMs` (Unix time); undefined while it does. */
export function whyServerCertificateIsOver({ notAfterMs }: Certificate, nowMs: number): string | undefined {
  return nowMs > notAfterMs ? `the certificate expired at ${new Date(notAfterMs).toISOString()}` : undefined;
}

function readServerChain(bytes: Uint8Array): Result<Certificate, string> {
  const ders = readPemCertificates(bytes);
  if (!ders.ok) return ders;
  let leaf: Certificate | undefined;
  for (const [i, der] of ders.value.entries()) {
    const certificate = parseCertificate(der);
    if (!certificate.ok) return err(`certificate ${i + 1} cannot be read: ${certificate.error}`);
    leaf ??= certificate.value;
  }
  return leaf === undefined ? err('it holds no certificate') : ok(leaf);
}

function whyUnfit(
  leaf: Certificate,
  { nowMs, clockSkewMs }: Pick<ServerCertificateTerms, 'nowMs' | 'clockSkewMs'>,
): string | undefined {
  if (leaf.isCa) return 'its first certificate is that of a CA: the server certificate comes first';
  const usages = leaf.extendedKeyUsage;
  if (usages !== undefined && !usages.includes(SERVER_AUTH) && !usages.includes(ANY_USAGE))
    return 'it is not for servers (extended key usage)';
  if (nowMs + clockSkewMs < leaf.notBeforeMs)
    return `it counts only from ${new Date(leaf.notBeforeMs).toISOString()}`;
  return whyServerCertificateIsOver(leaf, nowMs);
}

/** What is no name to ask for by SNI (RFC 6066 3) stands for nothing here. */
const ownNames = ({ dnsSans }: Certificate): readonly string[] => [
  ...new Set(dnsSans.map((name) => name.toLowerCase()).filter((name) => DNS_NAME.test(name))),
];
