import { err, ok, type Result } from '../reasons.js';

/** A URL that a bundle may be fetched from. Parsing is the only way in. */
export interface BundleEndpointUrl {
  /** Without a fragment, as it is requested. */
  readonly href: string;
  /** Lower case; an IPv6 address without its brackets. */
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly target: string;
  /** For logs: no query, which may carry a secret. */
  readonly shown: string;
}

/** Signed URLs of object stores, which endpoints redirect to, are long. */
const MAX_URL_CHARACTERS = 8192;
/** The characters of RFC 3986. WHATWG's parser would silently drop tabs and newlines and take `\` for `/`. */
const URI_CHARACTERS = /^[A-Za-z0-9\-._~:/?#[\]@!$&'()*+,;=%]*$/;
const ABSOLUTE = /^([A-Za-z][A-Za-z0-9+.-]*):/;
const AUTHORITY = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/;

/** Parses a bundle endpoint's URL: `https`, a host, no userinfo; the rest is free (SPIFFE Federation 5.2.1.1, 5.2.2.1). */
export function parseBundleEndpointUrl(text: unknown): Result<BundleEndpointUrl, string> {
  if (typeof text !== 'string') return err('the URL must be text');
  if (text.length > MAX_URL_CHARACTERS) return err(`the URL is longer than ${MAX_URL_CHARACTERS} characters`);
  if (!URI_CHARACTERS.test(text)) return err('the URL has a character that no URL may have (RFC 3986)');
  const scheme = ABSOLUTE.exec(text)?.[1]?.toLowerCase();
  if (scheme === undefined) return err('the URL has no scheme; write https://…');
  if (scheme !== 'https') return err(`the URL's scheme is ${scheme}, and must be https`);
  const authority = AUTHORITY.exec(text)?.[1];
  if (authority === undefined || authority === '') return err('the URL has no host');
  // Looked for in the text: the parser below would drop an empty userinfo without a word.
  if (authority.includes('@')) return err('the URL has a userinfo part, which is not allowed');
  return readUrl(text, authority);
}

function readUrl(text: string, authority: string): Result<BundleEndpointUrl, string> {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return err('the URL has a malformed host or port');
  }
  const isAddress6 = url.hostname.startsWith('[');
  const written = authority.replace(/:[0-9]*$/, '').toLowerCase();
  // 0x7f.1 and %6cocalhost are other ways to write a host: one spelling, so that what is reviewed is what is asked.
  if (!isAddress6 && written !== url.hostname)
    return err(`the URL's host is written in an unusual form; write ${url.hostname}`);
  const port = url.port === '' ? 443 : Number(url.port);
  if (port === 0) return err('the URL has port 0');
  const target = url.pathname + url.search;
  return ok({
    href: url.origin + target,
    host: isAddress6 ? url.hostname.slice(1, -1) : url.hostname,
    port,
    target,
    shown: url.origin + url.pathname,
  });
}

/** Where a redirect leads: its Location, resolved (RFC 9110 10.2.2), must be a valid endpoint URL too (Federation 5.2.1.4, 5.2.2.4). */
export function parseRedirectTarget(
  from: BundleEndpointUrl,
  location: string,
): Result<BundleEndpointUrl, string> {
  if (location === '') return err('its Location is empty');
  if (ABSOLUTE.test(location)) return parseBundleEndpointUrl(location);
  if (location.startsWith('//')) return parseBundleEndpointUrl(`https:${location}`);
  if (location.length > MAX_URL_CHARACTERS || !URI_CHARACTERS.test(location))
    return err('its Location is too long or has a character that no URL may have (RFC 3986)');
  try {
    return parseBundleEndpointUrl(new URL(location, from.href).href);
  } catch {
    return err('its Location is malformed');
  }
}
