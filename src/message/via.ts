import { createHash } from 'node:crypto';
import { trimOws } from './char-class.js';
import type { ForwardPlan } from './forward-policy.js';

/** A pseudonym for one listener of one workload: stable, tells no host name (RFC 9110 7.6.3), differs between sidecars in a row. */
export function pseudonymOf(spiffeId: string | undefined, listener: string): string {
  const digest = createHash('sha256')
    .update(`${spiffeId ?? ''}\n${listener}`)
    .digest('hex');
  return `countersign-${digest.slice(0, 8)}`;
}

/** True when a Via value already names this proxy: the request has come round (RFC 9110 7.6). Comments do not count. */
export function hasPassedThrough(via: string, pseudonym: string): boolean {
  const own = pseudonym.toLowerCase();
  const text = via.toLowerCase();
  // nearly always decided here, without splitting
  if (!text.includes(own)) return false;
  return withoutComments(text)
    .split(',')
    .some((member) => receivedBy(member) === own);
}

/** The second word of `1.1 pseudonym (comment)`. */
function receivedBy(member: string): string {
  const text = trimOws(member).replaceAll('\t', ' ');
  const space = text.indexOf(' ');
  if (space < 0) return '';
  const rest = trimOws(text.slice(space));
  const end = rest.indexOf(' ');
  return end < 0 ? rest : rest.slice(0, end);
}

/** Comments nest and may hold commas and escapes (RFC 9110 5.6.5); an unclosed one hides nothing. */
function withoutComments(text: string): string {
  let out = '';
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    if (depth > 0 && char === '\\') i++;
    else if (char === '(') depth++;
    else if (char === ')' && depth > 0) depth--;
    else if (depth === 0) out += char;
  }
  return depth === 0 ? out : text.replaceAll('(', ' ');
}

/** Our own member of Via, for a message that came in this version (RFC 9110 7.6.3). */
export function ownVia(plan: ForwardPlan, version: '1.0' | '1.1' | '2' = '1.1'): string {
  if (version === '2') return plan.viaHttp2;
  return version === '1.0' ? plan.viaHttp10 : plan.viaHttp11;
}
