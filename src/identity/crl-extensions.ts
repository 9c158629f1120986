import { DerReader, type Element, readPositiveInteger, readWhole, Tag } from './der.js';
import { readAuthorityKeyIdentifier, readExtensions } from './extensions.js';

/** CRL and entry extensions that change nothing here when present, critical or not. */
const Known = {
  authorityKeyIdentifier: '2.5.29.35',
  issuerAltName: '2.5.29.18',
  crlNumber: '2.5.29.20',
  reasonCode: '2.5.29.21',
  invalidityDate: '2.5.29.24',
  deltaCrlIndicator: '2.5.29.27',
  issuingDistributionPoint: '2.5.29.28',
  certificateIssuer: '2.5.29.29',
} as const;

/**
 * RFC 5280 5.3: one entry that is not understood spoils the whole list, for it may be about somebody else's certificate.
 * Reasons and dates are not looked at: whatever they say, removeFromCRL too (5.3.1: of deltas only), what is listed is revoked.
 */
export function whyEntryUnusable(sequence: Element): string | undefined {
  for (const { oid, critical } of readExtensions(sequence, 'entry extension').values()) {
    if (oid === Known.certificateIssuer) return 'it is indirect: an entry names another issuer';
    if (critical && oid !== Known.reasonCode && oid !== Known.invalidityDate)
      return `an entry has the unknown critical extension ${oid}`;
  }
  return undefined;
}

export interface ListExtensions {
  readonly authorityKeyId?: string | undefined;
  readonly number?: bigint | undefined;
  readonly unusable?: string | undefined;
}

export function readListExtensions(wrapped: Element | undefined): ListExtensions {
  if (!wrapped) return {};
  const extensions = readExtensions(readWhole(wrapped.content, Tag.sequence, 'the extensions'), 'extension');
  const keyId = extensions.get(Known.authorityKeyIdentifier);
  const number = extensions.get(Known.crlNumber);
  let unusable: string | undefined;
  for (const { oid, critical, value } of extensions.values()) {
    if (oid === Known.deltaCrlIndicator)
      unusable ??= 'it is a delta'; // RFC 5280 5.2.4
    else if (oid === Known.issuingDistributionPoint) unusable ??= whyPartial(value);
    else if (
      critical &&
      oid !== Known.authorityKeyIdentifier &&
      oid !== Known.issuerAltName &&
      oid !== Known.crlNumber
    )
      unusable ??= `it has the unknown critical extension ${oid}`; // RFC 5280 5.2
  }
  return {
    authorityKeyId: keyId && readAuthorityKeyIdentifier(keyId.value),
    number: number && readCrlNumber(number.value),
    unusable,
  };
}

const readCrlNumber = (value: Buffer): bigint =>
  BigInt(`0x${readPositiveInteger(readWhole(value, Tag.integer, 'the number').content, 'the number')}`);

/** RFC 5280 5.2.5: only a list of everything that its issuer issued can say that a certificate is good. */
function whyPartial(value: Buffer): string | undefined {
  const reader = new DerReader(readWhole(value, Tag.sequence, 'the distribution point').content);
  let why: string | undefined;
  while (!reader.done) {
    const { tag, content } = reader.readAny('the distribution point');
    if (tag === 0xa0) why ??= 'it is the list of one distribution point';
    else if (tag === 0x84 && content[0] !== 0) why = 'it is indirect';
    else if (tag === 0x83 || content[0] !== 0) why ??= 'it covers a part of the certificates only';
  }
  return why;
}
