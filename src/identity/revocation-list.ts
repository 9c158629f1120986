import type { Certificate } from './certificate.js';
import type { PrincipalId } from './principal-id.js';
import { findSignatureTwin } from './signature-twin.js';
import type { VerifiedSvid } from './x509-svid.js';

/** One line of the operator's own list. Exactly one of the keys, or serial and issuer together, says what it is about. */
export interface RevocationEntry {
  /** A SPIFFE ID, or the name of another principal: `ci:octo/app`. */
  readonly id?: string;
  /** Ends at a segment: `spiffe://a.test/ns/dev` also means all below it, never `/ns/dev-x`. `ci:octo` likewise. */
  readonly idPrefix?: string;
  /** Hex, with or without colons and leading zeros. */
  readonly serial?: string;
  /** The issuer's name in text; the order and spacing of its parts do not count. */
  readonly issuer?: string;
  /** Of the leaf or of any issuer in the path: revoking a CA revokes what it issued. Or of the text of a token. */
  readonly sha256?: string;
  readonly keySha256?: string;
  readonly reason: string;
  /** Who put it there. */
  readonly author?: string;
  /** In force from, Unix ms. */
  readonly at?: number;
  /** Unix ms: only certificates whose notBefore, and tokens whose `iat`, is before this, so that a reissued one gets in. */
  readonly issuedBefore?: number;
  /** No longer in force from, Unix ms. */
  readonly until?: number;
}

export interface RevocationList {
  readonly entries: readonly RevocationEntry[];
  readonly revision: string;
  /** The entry that revokes this credential now, if any. */
  find(svid: VerifiedSvid, nowMs: number): RevocationEntry | undefined;
  /** The entry that revokes a principal now by its name, or what it showed by its fingerprint. */
  findPrincipal(id: PrincipalId, at: CredentialMark, nowMs: number): RevocationEntry | undefined;
  /** When an `at` or `until` will next change an answer; Infinity if never. */
  nextChangeMs(nowMs: number): number;
}

/** What is known of a credential that is no certificate. */
export interface CredentialMark {
  /** Of its text, hex. */
  readonly sha256?: string;
  /** Of the text that its holder can make of it, which is as good. */
  readonly twinSha256?: string | undefined;
  /** Unix ms. */
  readonly issuedMs: number;
}

type Index = ReadonlyMap<string, readonly RevocationEntry[]>;

/** Indexes the entries, so that a look-up costs the length of the ID and the path, not of the list. */
export function createRevocationList(entries: readonly RevocationEntry[], revision: string): RevocationList {
  const byId = index(entries, (entry) => entry.id);
  const byPrefix = index(entries, (entry) => entry.idPrefix && trimSlashes(entry.idPrefix));
  const bySerial = index(entries, (entry) => entry.serial && normalizeHex(entry.serial, true));
  const bySha256 = index(entries, (entry) => entry.sha256 && normalizeHex(entry.sha256, false));
  const byKey = index(entries, (entry) => entry.keySha256 && normalizeHex(entry.keySha256, false));
  const changes = entries
    .flatMap(({ at, until }) => [at, until])
    .filter((time) => time !== undefined)
    .sort((a, b) => a - b);

  const findForCertificate = (certificate: Certificate, nowMs: number): RevocationEntry | undefined =>
    active(bySha256.get(certificate.sha256), certificate.notBeforeMs, nowMs) ??
    (bySha256.size === 0 ? undefined : findTwin(bySha256, certificate, nowMs)) ??
    active(byKey.get(certificate.keySha256), certificate.notBeforeMs, nowMs) ??
    active(bySerial.get(certificate.serial), certificate.notBeforeMs, nowMs, certificate);
  const findByName = (id: PrincipalId, issuedMs: number, nowMs: number): RevocationEntry | undefined =>
    active(byId.get(id.uri), issuedMs, nowMs) ?? findPrefix(byPrefix, id, issuedMs, nowMs);
  const findByText = (
    sha256: string | undefined,
    issuedMs: number,
    nowMs: number,
  ): RevocationEntry | undefined =>
    sha256 === undefined ? undefined : active(bySha256.get(sha256), issuedMs, nowMs);

  return {
    entries,
    revision,
    find(svid, nowMs) {
      if (entries.length === 0) return undefined;
      const found = findByName(svid.id, svid.leaf.notBeforeMs, nowMs) ?? findForCertificate(svid.leaf, nowMs);
      if (found !== undefined) return found;
      for (const issuer of svid.issuers) {
        const entry = findForCertificate(issuer, nowMs);
        if (entry !== undefined) return entry;
      }
      return undefined;
    },
    findPrincipal(id, { sha256, twinSha256, issuedMs }, nowMs) {
      if (entries.length === 0) return undefined;
      return (
        findByName(id, issuedMs, nowMs) ??
        findByText(sha256, issuedMs, nowMs) ??
        findByText(twinSha256, issuedMs, nowMs)
      );
    },
    nextChangeMs(nowMs) {
      let low = 0;
      let high = changes.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if ((changes[middle] ?? 0) > nowMs) high = middle;
        else low = middle + 1;
      }
      return changes[low] ?? Number.POSITIVE_INFINITY;
    },
  };
}

function index(
  entries: readonly RevocationEntry[],
  keyOf: (entry: RevocationEntry) => string | undefined,
): Index {
  const map = new Map<string, RevocationEntry[]>();
  for (const entry of entries) {
    const key = keyOf(entry);
    if (key === undefined || key === '') continue;
    const list = map.get(key);
    if (list) list.push(entry);
    else map.set(key, [entry]);
  }
  return map;
}

/** The first entry in force for a credential of this moment; by serial, for this certificate. */
function active(
  candidates: readonly RevocationEntry[] | undefined,
  issuedMs: number,
  nowMs: number,
  certificate?: Certificate,
): RevocationEntry | undefined {
  if (candidates === undefined) return undefined;
  for (const entry of candidates) {
    if (entry.at !== undefined && nowMs < entry.at) continue;
    if (entry.until !== undefined && nowMs >= entry.until) continue;
    if (entry.issuedBefore !== undefined && issuedMs >= entry.issuedBefore) continue;
    if (certificate === undefined || isIssuerNamed(entry, certificate)) return entry;
  }
  return undefined;
}

/** Walks up the ID's own segments; text that merely starts alike never matches (SPIFFE-ID 2.2). */
function findPrefix(
  byPrefix: Index,
  { uri, path }: PrincipalId,
  issuedMs: number,
  nowMs: number,
): RevocationEntry | undefined {
  if (byPrefix.size === 0) return undefined;
  let end = uri.length;
  const domainEnd = end - path.length;
  while (end >= domainEnd) {
    const entry = active(byPrefix.get(uri.slice(0, end)), issuedMs, nowMs);
    if (entry !== undefined) return entry;
    if (end === domainEnd) break;
    // A name outside SPIFFE has no slash before its first segment: after that comes its namespace alone.
    end = Math.max(uri.lastIndexOf('/', end - 1), domainEnd);
  }
  return undefined;
}

/** The holder of a revoked certificate can write its ECDSA signature in a second valid way, and so change the fingerprint. */
function findTwin(bySha256: Index, certificate: Certificate, nowMs: number): RevocationEntry | undefined {
  const twin = findSignatureTwin(certificate.der);
  for (const sha256 of twin) {
    const entry = active(bySha256.get(sha256), certificate.notBeforeMs, nowMs);
    if (entry !== undefined) return entry;
  }
  return undefined;
}

function isIssuerNamed(entry: RevocationEntry, certificate: Certificate): boolean {
  // Serials are unique for one issuer only (RFC 5280 4.1.2.2). Without an issuer, any counts: too much rather than too little.
  return entry.issuer === undefined || isSameNameText(entry.issuer, certificate.issuer);
}

/** Operators paste names as this proxy, OpenSSL or a browser prints them: `CN=a,O=b`, `O = b, CN = a`. */
function isSameNameText(a: string, b: string): boolean {
  return a === b || nameParts(a) === nameParts(b);
}

function nameParts(text: string): string {
  return text
    .split(/(?<!\\)[,+\n]/)
    .map((part) => {
      const equals = part.indexOf('=');
      return `${part.slice(0, equals).trim()}=${part.slice(equals + 1).trim()}`
        .replace(/\s+/g, ' ')
        .toLowerCase();
    })
    .sort()
    .join('\n');
}

function normalizeHex(text: string, isNumber: boolean): string {
  const hex = text.replace(/^0x/i, '').replace(/[\s:]/g, '').toLowerCase();
  return isNumber ? hex.replace(/^0+(?=.)/, '') : hex;
}

const trimSlashes = (prefix: string): string => {
  let end = prefix.length;
  while (end > 0 && prefix.charAt(end - 1) === '/') end--;
  return prefix.slice(0, end);
};
