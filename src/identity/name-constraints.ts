import type { GeneralName } from './extensions.js';

export type NameSubtree = GeneralName;

export interface NameConstraints {
  readonly permitted: readonly NameSubtree[];
  readonly excluded: readonly NameSubtree[];
}

/** The names of one certificate that constraints above it bind. */
export interface ConstrainedNames {
  readonly alternativeNames: readonly GeneralName[];
  readonly subject: readonly string[];
  readonly subjectEmails: readonly string[];
}

/**
 * Says why these names break these constraints (RFC 5280 4.2.1.10), or undefined when they keep to them.
 * A constraint on a kind of name that is present but not understood counts as broken.
 */
export function findConstraintViolation(
  constraints: NameConstraints,
  names: ConstrainedNames,
): string | undefined {
  for (const name of names.alternativeNames) {
    const why = judgeName(constraints, name);
    if (why !== undefined) return why;
  }
  if (names.subject.length > 0) {
    const why = judgeName(constraints, { type: 'directory', name: names.subject });
    if (why !== undefined) return why;
  }
  for (const text of names.subjectEmails) {
    const why = judgeName(constraints, { type: 'email', text });
    if (why !== undefined) return why;
  }
  return undefined;
}

function judgeName(constraints: NameConstraints, name: GeneralName): string | undefined {
  const excluded = constraints.excluded.filter((subtree) => subtree.type === name.type);
  const permitted = constraints.permitted.filter((subtree) => subtree.type === name.type);
  if (excluded.length === 0 && permitted.length === 0) return undefined;
  const shown = 'text' in name ? JSON.stringify(name.text) : `a name of kind ${name.type}`;
  for (const subtree of excluded)
    if (isWithin(name, subtree) !== 'outside') return `${shown} is excluded by an issuer`;
  if (permitted.length > 0 && !permitted.some((subtree) => isWithin(name, subtree) === 'inside'))
    return `${shown} is not among the names permitted to its issuer`;
  return undefined;
}

/** `unknown` = cannot be told, which counts against the name on either side. */
type Position = 'inside' | 'outside' | 'unknown';

function isWithin(name: GeneralName, subtree: NameSubtree): Position {
  if (name.type === 'uri' && subtree.type === 'uri') return isUriWithin(name.text, subtree.text);
  if (name.type === 'dns' && subtree.type === 'dns') return isDnsWithin(name.text, subtree.text);
  if (name.type === 'email' && subtree.type === 'email') return isEmailWithin(name.text, subtree.text);
  if (name.type === 'ip' && subtree.type === 'ip') return isIpWithin(name.octets, subtree.octets);
  if (name.type === 'directory' && subtree.type === 'directory')
    return subtree.name.every((part, i) => part === name.name[i]) ? 'inside' : 'outside';
  return 'unknown';
}

/** The constraint binds the host: `.a.test` any host below it, `a.test` that host alone. */
function isUriWithin(uri: string, constraint: string): Position {
  const host = hostOf(uri);
  // RFC 5280 4.2.1.10: a URI whose host is no fully qualified domain name must be refused under a URI constraint
  // (OpenSSL 3.0 lets addresses through). `a_b.test` and `a.test.` are lawful trust domains and still no such names.
  if (host === undefined || !isQualifiedDomainName(host)) return 'unknown';
  if (constraint.startsWith('.')) return isBelow(host, constraint.slice(1)) ? 'inside' : 'outside';
  return constraint === '' || lowerAscii(constraint) === lowerAscii(host) ? 'inside' : 'outside';
}

function hostOf(uri: string): string | undefined {
  const start = uri.indexOf('://');
  if (start === -1) return undefined;
  let end = start + 3;
  while (end < uri.length && !'/?#'.includes(uri.charAt(end))) end++;
  const authority = uri.slice(start + 3, end);
  const host = authority.slice(authority.lastIndexOf('@') + 1);
  const colon = host.indexOf(':');
  return colon === -1 ? host : host.slice(0, colon);
}

const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/i;
const NUMERIC_LABEL = /^(?:[0-9]+|0x[0-9a-f]*)$/i; // the last label of an IPv4 address in any spelling

function isQualifiedDomainName(host: string): boolean {
  const labels = host.split('.');
  return (
    host.length <= 253 &&
    labels.length > 1 &&
    labels.every((label) => LABEL.test(label)) &&
    !NUMERIC_LABEL.test(labels[labels.length - 1] ?? '')
  );
}

const DNS_NAME = /^[a-z0-9*_-][a-z0-9*_.-]*$/i;

/** Zero or more labels may stand before the constraint; some authorities write it with a leading dot. */
function isDnsWithin(name: string, constraint: string): Position {
  if (!DNS_NAME.test(name) || name.endsWith('.') || name.includes('..')) return 'unknown';
  const base = constraint.startsWith('.') ? constraint.slice(1) : constraint;
  if (base === '') return 'inside';
  const sameName = !constraint.startsWith('.') && lowerAscii(name) === lowerAscii(base);
  return sameName || isBelow(name, base) ? 'inside' : 'outside';
}

/** A mailbox, a host, or `.domain` for all hosts below it. */
function isEmailWithin(address: string, constraint: string): Position {
  const at = address.lastIndexOf('@');
  if (at < 1 || at === address.length - 1) return 'unknown';
  const host = address.slice(at + 1);
  if (constraint.includes('@')) {
    const split = constraint.lastIndexOf('@');
    const sameBox = constraint.slice(0, split) === address.slice(0, at);
    return sameBox && lowerAscii(constraint.slice(split + 1)) === lowerAscii(host) ? 'inside' : 'outside';
  }
  if (constraint.startsWith('.')) return isBelow(host, constraint.slice(1)) ? 'inside' : 'outside';
  return constraint === '' || lowerAscii(constraint) === lowerAscii(host) ? 'inside' : 'outside';
}

/** The constraint is an address and a mask of its length. */
function isIpWithin(address: Buffer, constraint: Buffer): Position {
  if (address.length !== 4 && address.length !== 16) return 'unknown';
  if (constraint.length !== 8 && constraint.length !== 32) return 'unknown';
  if (constraint.length !== address.length * 2) return 'outside';
  for (let i = 0; i < address.length; i++) {
    const mask = constraint[address.length + i] ?? 0;
    if (((address[i] ?? 0) & mask) !== ((constraint[i] ?? 0) & mask)) return 'outside';
  }
  return 'inside';
}

const isBelow = (name: string, domain: string): boolean =>
  name.length > domain.length + 1 && lowerAscii(name).endsWith(`.${lowerAscii(domain)}`);

const lowerAscii = (text: string): string => text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
