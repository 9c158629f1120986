import { err, ok, type Result } from '../reasons.js';
import { namespaceOf, type PrincipalId, parsePrincipalId } from './principal-id.js';

/** How the name of a principal is put together from claims: `ci:{sub}`, `k8s:{/kubernetes.io/namespace}/{+name}`. Plain data. */
export interface TokenTemplate {
  readonly text: string;
  /** `ci:`: always literal, so that no token chooses it. */
  readonly namespace: string;
  readonly parts: readonly TemplatePart[];
}

/** Text, or a claim. `keepsSlashes` (`{+claim}`, RFC 6570 3.2.3): its slashes part segments, else they are encoded. */
export type TemplatePart = string | { readonly claim: string; readonly keepsSlashes: boolean };

const EXPRESSION = /\{(\+?)([^{}]+)\}/g;
const MAX_TEMPLATE = 500;

/**
 * Reads a template. A claim is named by its name, or by a JSON Pointer (RFC 6901) that begins with `/`. `{+claim}` may stand
 * only at the end, where no value can shift what comes behind it.
 */
export function parseTokenTemplate(text: string): Result<TokenTemplate, string> {
  if (text.length > MAX_TEMPLATE) return err(`must be at most ${MAX_TEMPLATE} characters`);
  const namespace = namespaceOf(text);
  if (namespace === undefined)
    return err('must begin with a namespace of its own, such as `ci:`: tokens cannot name SPIFFE IDs');
  const parts = partsOf(text.slice(namespace.length));
  if (parts.length === 0 || parts.every((part) => typeof part === 'string'))
    return err('must hold a claim in braces, such as {sub}: else every token would name the same principal');
  for (const [i, part] of parts.entries()) {
    if (typeof part === 'string') {
      if (/[{}]/.test(part)) return err('has a brace without its other half');
    } else if (part.keepsSlashes && i < parts.length - 1) {
      return err(
        `{+${part.claim}} may stand only at the end: with a slash in it, it could shift what follows`,
      );
    }
  }
  const sample = parts.map((part) => (typeof part === 'string' ? part : 'x')).join('');
  const id = parsePrincipalId(namespace + sample);
  return id.ok ? ok({ text, namespace, parts }) : id;
}

function partsOf(text: string): TemplatePart[] {
  const parts: TemplatePart[] = [];
  let from = 0;
  for (const match of text.matchAll(EXPRESSION)) {
    if (match.index > from) parts.push(text.slice(from, match.index));
    parts.push({ claim: match[2]!, keepsSlashes: match[1] === '+' });
    from = match.index + match[0].length;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}

/** The claims of a token: as they were signed, and by no name that every object inherits. */
export type Claims = Readonly<Record<string, unknown>>;

/** The value at a claim's name, or at a JSON Pointer (RFC 6901); undefined where there is none. */
export function claimAt(claims: Claims, claim: string): unknown {
  if (!claim.startsWith('/')) return Object.hasOwn(claims, claim) ? claims[claim] : undefined;
  let value: unknown = claims;
  for (const part of claim.slice(1).split('/')) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined;
    value = (value as Record<string, unknown>)[key];
  }
  return value;
}

/** The principal that these claims name; the error says which claim is not as the template needs it. */
export function expandTokenTemplate(template: TokenTemplate, claims: Claims): Result<PrincipalId, string> {
  let name = '';
  for (const part of template.parts) {
    if (typeof part === 'string') {
      name += part;
      continue;
    }
    const value = claimAt(claims, part.claim);
    const text = typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : value;
    if (typeof text !== 'string' || text === '') return err(`the claim ${part.claim} is not there as text`);
    // Halves of surrogate pairs have no UTF-8: encoded, all of them would be one name.
    if (HALF_PAIR.test(text)) return err(`the claim ${part.claim} is no Unicode text`);
    name += part.keepsSlashes ? text.split('/').map(encoded).join('/') : encoded(text);
  }
  return parsePrincipalId(template.namespace + name);
}

const HALF_PAIR = /\p{Surrogate}/u;
const NOT_LITERAL = /[^A-Za-z0-9._~@:=+-]/gu;

/** Distinct values stay distinct: whatever is not literal is percent-encoded, the percent sign too. */
const encoded = (text: string): string =>
  text.replace(NOT_LITERAL, (character) =>
    [...Buffer.from(character, 'utf8')]
      .map((octet) => `%${octet.toString(16).toUpperCase().padStart(2, '0')}`)
      .join(''),
  );
