import type { Certificate } from '../../../src/identity/certificate.js';
import { parseCertificate } from '../../../src/identity/certificate.js';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import { createTrustBundle, type TrustBundle } from '../../../src/identity/trust-bundle.js';
import { type Authority, type CertificateOptions, generateKeys, mintRoot } from '../../support/pki.js';

/** The certificates that an x509-svid vector describes, minted. */

export interface CaDescription {
  readonly subject: string;
  readonly uriSans: readonly string[];
  readonly basicConstraints: string;
  readonly pathLen: number | null;
  readonly keyUsage: readonly string[] | null;
  readonly keyUsageCritical: boolean;
  readonly validity: string;
  readonly issuer: string;
  readonly nameConstraints: Record<string, unknown> | null;
  readonly keyIdentifiers?: boolean;
  readonly eku?: readonly string[];
}

export interface SvidVector {
  readonly peerRole: 'client' | 'server' | 'own';
  readonly leaf: {
    readonly uriSans: readonly string[];
    readonly otherSans: readonly string[];
    readonly subject: string;
    readonly sanCritical: boolean;
    readonly basicConstraints: string | readonly string[] | null;
    readonly keyUsage: readonly string[] | string | null;
    readonly keyUsageCritical: boolean;
    readonly eku: readonly string[] | null;
    readonly validity: string;
    readonly signature: string;
    readonly issuer: string;
    readonly extraExtension?: { readonly oid: string; readonly critical: boolean };
    readonly absent?: boolean;
    readonly privateKey?: string;
    readonly announcedSpiffeId?: string;
  };
  readonly presented: readonly string[];
  readonly cas: Readonly<Record<string, CaDescription>>;
  readonly bundles: Readonly<Record<string, readonly string[]>>;
  readonly expectedServerId?: string;
}

export interface MintedVector {
  readonly leaf: Buffer;
  readonly keyPem: string;
  readonly presented: readonly Buffer[];
  readonly bundles: ReadonlyMap<string, TrustBundle>;
}

const HOUR_MS = 3_600_000;

/** `nowMs` must be a whole second: certificates know no finer time. */
export async function mintVector(vector: SvidVector, nowMs: number): Promise<MintedVector> {
  const names = Object.keys(vector.cas);
  // First every key under its name, so that cross-signed pairs can name each other; then the real certificates.
  const signers = new Map<string, Authority>();
  for (const [name, ca] of Object.entries(vector.cas))
    signers.set(name, await mintRoot('any.test', { subject: ca.subject }));
  const certificates = new Map<string, Buffer>();
  for (const name of names) certificates.set(name, await mintCa(name, vector.cas[name]!, signers, nowMs));
  const { der, keyPem } = await mintLeaf(vector, signers, nowMs);
  return {
    leaf: der,
    keyPem,
    presented: vector.presented.map((name) => certificates.get(name)!),
    bundles: new Map(
      Object.entries(vector.bundles).map(([domain, authorities]) => [
        domain,
        bundleOf(
          domain,
          authorities.map((name) => certificates.get(name)!),
        ),
      ]),
    ),
  };
}

async function mintCa(
  name: string,
  ca: CaDescription,
  signers: ReadonlyMap<string, Authority>,
  nowMs: number,
): Promise<Buffer> {
  const own = signers.get(name)!;
  const constraints = ca.nameConstraints as CertificateOptions['nameConstraints'] | null;
  const options: CertificateOptions & { uriSans: readonly string[] } = {
    subject: ca.subject,
    keys: own.keys,
    uriSans: ca.uriSans,
    ca: ca.basicConstraints === 'cA=true',
    ...(ca.pathLen === null ? {} : { pathLength: ca.pathLen }),
    keyUsage: ca.keyUsage as CertificateOptions['keyUsage'] & {},
    keyUsageCritical: ca.keyUsageCritical,
    extendedKeyUsage: ca.eku ?? null,
    keyIdentifiers: ca.keyIdentifiers ?? true,
    ...(constraints ? { nameConstraints: constraints } : {}),
    ...validity(ca.validity, nowMs),
  };
  const made =
    ca.issuer === 'self'
      ? await mintRoot('any.test', options)
      : await signers.get(ca.issuer)!.intermediate(options);
  return made.certDer;
}

async function mintLeaf(
  { leaf, cas }: SvidVector,
  signers: ReadonlyMap<string, Authority>,
  nowMs: number,
): Promise<{ der: Buffer; keyPem: string }> {
  const isForged = leaf.signature.startsWith('by another key');
  const forger = isForged ? await mintRoot('any.test', { subject: cas[leaf.issuer]!.subject }) : undefined;
  const keys = await generateKeys();
  const selfSigner =
    leaf.issuer === 'self' ? await mintRoot('any.test', { subject: leaf.subject, keys }) : undefined;
  const issuer = selfSigner ?? forger ?? signers.get(leaf.issuer)!;
  const constraints =
    typeof leaf.basicConstraints === 'string' ? [leaf.basicConstraints] : leaf.basicConstraints;
  const usage = Array.isArray(leaf.keyUsage) ? leaf.keyUsage : null;
  const svid = await issuer.issue(leaf.uriSans, {
    keys,
    subject: leaf.subject,
    sanCritical: leaf.sanCritical,
    otherSans: leaf.otherSans.map((san) => (san.startsWith('otherName:') ? `${san}=text` : san)),
    ca: null,
    keyUsage: usage as CertificateOptions['keyUsage'] & {},
    keyUsageCritical: leaf.keyUsageCritical,
    extendedKeyUsage: leaf.eku,
    keyIdentifiers: cas[leaf.issuer]?.keyIdentifiers ?? true,
    extensions: [
      ...(constraints ?? []).map((text) => basicConstraints(text)),
      ...(leaf.keyUsage === 'unparseable' ? [{ oid: '2.5.29.15', critical: true, value: GARBAGE }] : []),
      ...(leaf.extraExtension ? [leaf.extraExtension] : []),
    ],
    ...validity(leaf.validity, nowMs),
  });
  const der = Buffer.from(svid.certDer);
  if (leaf.signature === 'one bit flipped') der[der.length - 1] = (der[der.length - 1] ?? 0) ^ 1;
  return { der, keyPem: leaf.privateKey === undefined ? svid.keyPem : issuer.keyPem };
}

const GARBAGE = Buffer.from('deadbeef', 'hex');

function basicConstraints(text: string): { oid: string; critical: boolean; value: Buffer } {
  const value = text === 'cA=true' ? '30030101ff' : text === 'cA=false' ? '3000' : 'deadbeef';
  return { oid: '2.5.29.19', critical: true, value: Buffer.from(value, 'hex') };
}

function validity(text: string, nowMs: number): { notBefore: Date; notAfter: Date } {
  const from = (notBefore: number, notAfter: number) => ({
    notBefore: new Date(nowMs + notBefore),
    notAfter: new Date(nowMs + notAfter),
  });
  switch (text) {
    case 'current':
      return from(-HOUR_MS, HOUR_MS);
    case 'expired':
      return from(-2 * HOUR_MS, -HOUR_MS);
    case 'future':
      return from(HOUR_MS, 2 * HOUR_MS);
    case 'notAfter = now - 1 s':
      return from(-HOUR_MS, -1000);
    case 'notAfter = now':
      return from(-HOUR_MS, 0);
    default:
      throw new Error(`unknown validity: ${text}`);
  }
}

/** Straight from certificates: a bundle file would refuse an authority that is no CA before the path could. */
export function bundleOf(domain: string, authorities: readonly Buffer[]): TrustBundle {
  const trustDomain = parseTrustDomain(domain);
  if (!trustDomain.ok) throw new Error(trustDomain.error);
  return createTrustBundle({ trustDomain: trustDomain.value, authorities: authorities.map(certificateOf) });
}

export function certificateOf(der: Uint8Array): Certificate {
  const certificate = parseCertificate(der);
  if (!certificate.ok) throw new Error(certificate.error);
  return certificate.value;
}
