import { type Certificate, parseCertificate } from '../identity/certificate.js';
import { type Crl, parseCrl } from '../identity/crl.js';
import { parsePem } from '../identity/pem.js';
import { err, ok, type Result } from '../reasons.js';

/** What the certificates and lists of a PEM or DER file say, in lines for people. Keys are named and never shown. */
export function showFile(bytes: Buffer): Result<string, string> {
  if (bytes[0] === 0x30) return showDer(bytes);
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  if (blocks.value.length === 0) return err('nothing to show');
  let text = '';
  for (const { label, der, line } of blocks.value) {
    if (label === 'CERTIFICATE' || label === 'X509 CRL') {
      const shown = showDer(der);
      if (!shown.ok) return err(`line ${line}: ${shown.error}`);
      text += shown.value;
    } else text += `${label.toLowerCase()} (line ${line})\n`;
  }
  return ok(text);
}

function showDer(der: Buffer): Result<string, string> {
  const certificate = parseCertificate(der);
  if (certificate.ok) return ok(describeCertificate(certificate.value));
  const crl = parseCrl(der);
  return crl.ok ? ok(describeCrl(crl.value)) : err(`not a certificate: ${certificate.error}`);
}

function describeCertificate(certificate: Certificate): string {
  return lines(certificate.isCa ? 'authority' : 'certificate', [
    // Names come from whoever made the certificate: shown as JSON, they cannot write on the terminal.
    ['uri', certificate.uriSans.map((uri) => JSON.stringify(uri)).join(', ')],
    ['dns', certificate.dnsSans.map((name) => JSON.stringify(name)).join(', ')],
    ['subject', certificate.subject],
    ['issuer', certificate.issuer],
    ['serial', certificate.serial],
    ['valid', `${time(certificate.notBeforeMs)} to ${time(certificate.notAfterMs)}`],
    ['key usage', [...(certificate.keyUsage ?? [])].join(', ')],
    ['sha256', certificate.sha256],
    ['key sha256', certificate.keySha256],
  ]);
}

function describeCrl(crl: Crl): string {
  return lines('revocation list', [
    ['issuer', crl.issuer],
    ['number', crl.number?.toString() ?? ''],
    ['this update', time(crl.thisUpdateMs)],
    ['next update', time(crl.nextUpdateMs)],
    ['revoked', String(crl.size)],
    ['unusable', crl.unusable ?? ''],
    ['sha256', crl.sha256],
  ]);
}

const lines = (title: string, fields: readonly (readonly [string, string])[]): string =>
  `${title}\n${fields
    .filter(([, value]) => value !== '')
    .map(([name, value]) => `  ${name.padEnd(12)} ${value}\n`)
    .join('')}`;

const time = (ms: number): string => new Date(ms).toISOString();

/** The SPIFFE bundle document of these authorities (SPIFFE Trust Domain and Bundle 4). */
export function formatSpiffeBundle(authorities: readonly Buffer[]): string {
  const keys = authorities.map((der) => {
    const certificate = parseCertificate(der);
    if (!certificate.ok) throw new TypeError(certificate.error);
    const jwk = certificate.value.x509.publicKey.export({ format: 'jwk' });
    return { use: 'x509-svid', ...jwk, x5c: [der.toString('base64')] };
  });
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}
