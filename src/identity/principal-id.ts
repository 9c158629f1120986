import { err, ok, type Result } from '../reasons.js';
import { parseSpiffeId } from './spiffe-id.js';

/**
 * The name of a verified principal: a SPIFFE ID, or a name that a token's issuer vouches for, in the one namespace that the
 * configuration gives to it (`ci:octo/app`). No token of such an issuer can name a SPIFFE ID: the namespaces never meet.
 */
export interface PrincipalId {
  /** The whole name; nothing is ever decoded, folded or resolved. */
  readonly uri: string;
  /** The trust domain; of another principal its namespace with the colon, as no trust domain can be called: `ci:`. */
  readonly trustDomain: string;
  /** Of a SPIFFE ID empty, or `/` and the segments; else the segments without a leading slash. */
  readonly path: string;
  readonly segments: readonly string[];
}

const MAX_BYTES = 2048;
const SCHEME = 'spiffe:';
const NAMESPACE = /^[a-z][a-z0-9-]{0,31}:/;
/** What stands for itself in a segment; the rest is percent-encoded, in capitals (RFC 3986 2.1). */
const SEGMENT = /^(?:[A-Za-z0-9._~@:=+-]|%[0-9A-F]{2})+$/;

/** `ci:` of `ci:octo/app`; undefined where the text begins with none, or with that of SPIFFE. */
export function namespaceOf(text: string): string | undefined {
  const namespace = NAMESPACE.exec(text)?.[0];
  return namespace === SCHEME ? undefined : namespace;
}

/** Reads a SPIFFE ID or a name in another namespace. */
export function parsePrincipalId(text: unknown): Result<PrincipalId, string> {
  if (typeof text !== 'string') return err('the name of a principal must be text');
  const namespace = namespaceOf(text);
  if (namespace === undefined) return parseSpiffeId(text);
  if (text.length > MAX_BYTES) return err(`the name is longer than ${MAX_BYTES} bytes`);
  const path = text.slice(namespace.length);
  const segments = path.split('/');
  for (const segment of segments) {
    const wrong = whyNoSegment(segment);
    if (wrong !== undefined) return err(wrong);
  }
  return ok({ uri: text, trustDomain: namespace, path, segments });
}

/** What is wrong with a segment of a name outside SPIFFE; undefined when it may stand there. */
export function whyNoSegment(segment: string): string | undefined {
  if (segment === '') return 'the name has an empty segment';
  if (segment === '.' || segment === '..') return 'the name has a dot segment';
  if (!SEGMENT.test(segment)) return `"${segment}" holds what must be percent-encoded in a name`;
  return undefined;
}
