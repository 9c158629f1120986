import { ok, type Result, refuse } from '../reasons.js';
import { parseDecimal } from './char-class.js';

export interface Host {
  readonly host: string;
  readonly authority: string;
}

const MAX_HOST_LENGTH = 255;

/** Reads a Host value or an authority: one spelling comes out (lower case, no trailing dot), anything doubtful is host_malformed. */
export function parseHost(text: string): Result<Host> {
  if (text.length === 0) return refuse('host_malformed', 'empty');
  if (text.length > MAX_HOST_LENGTH + 6) return refuse('host_malformed', 'too long');
  if (text.charCodeAt(0) === 91) return parseIpv6Host(text);
  const colon = text.indexOf(':');
  const end = colon < 0 ? text.length : colon;
  const name = parseRegisteredName(text, end);
  if (name === undefined) return refuse('host_malformed', 'not a host name');
  return colon < 0 ? ok({ host: name, authority: name }) : withPort(name, text.slice(colon + 1));
}

/** DNS-like names only. RFC 3986 would also let percent-encoding and sub-delims in: no real host has them, every list, userinfo and injection does. */
function parseRegisteredName(text: string, end: number): string | undefined {
  let upper = false;
  let labelLength = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (labelLength === 0) return undefined;
      labelLength = 0;
      continue;
    }
    if (code >= 65 && code <= 90) upper = true;
    else if (!((code >= 97 && code <= 122) || (code >= 48 && code <= 57) || code === 45 || code === 95)) {
      return undefined;
    }
    labelLength++;
  }
  // `svc.test.` names the same host as `svc.test`: a rule for one must not be dodged by the other
  const stop = labelLength === 0 ? end - 1 : end;
  if (stop <= 0 || stop > MAX_HOST_LENGTH) return undefined;
  const name = stop === text.length ? text : text.slice(0, stop);
  return upper ? name.toLowerCase() : name;
}

function parseIpv6Host(text: string): Result<Host> {
  const close = text.indexOf(']');
  if (close < 0) return refuse('host_malformed', 'unclosed bracket');
  for (let i = 1; i < close; i++) {
    const code = text.charCodeAt(i) | 32;
    const isHexColonDot = (code >= 97 && code <= 102) || (code >= 48 && code <= 58) || code === 46;
    if (!isHexColonDot) return refuse('host_malformed', 'not an IPv6 address');
  }
  const host = canonicalIpv6(text.slice(0, close + 1));
  if (host === undefined) return refuse('host_malformed', 'not an IPv6 address');
  const rest = text.slice(close + 1);
  if (rest === '') return ok({ host, authority: host });
  return rest.charCodeAt(0) === 58
    ? withPort(host, rest.slice(1))
    : refuse('host_malformed', 'text after bracket');
}

/** One spelling for an address (RFC 5952), so that `[0:0::1]` and `[::1]` are the same host to a rule. */
function canonicalIpv6(bracketed: string): string | undefined {
  try {
    return new URL(`http://${bracketed}/`).hostname;
  } catch {
    return undefined;
  }
}

function withPort(host: string, portText: string): Result<Host> {
  const port = parseDecimal(portText, 5);
  // a leading zero would be a second spelling of one port
  if (port === undefined || port === 0 || port > 65_535 || portText.charCodeAt(0) === 48) {
    return refuse('host_malformed', 'bad port');
  }
  return ok({ host, authority: `${host}:${portText}` });
}
