import { ok, type Result, refuse } from '../reasons.js';
import { type Host, parseHost } from './host.js';
import { type PathReadings, parsePath } from './path.js';

export interface Target {
  /** Lower-case, no port, no trailing dot: what routes and policy see. */
  readonly host: string;
  /** host[:port], as it is written anew to the upstream. */
  readonly authority: string;
  /** Byte-exact as received = what policy judges = what the upstream gets. */
  readonly path: string;
  /** '' or '?…', byte-exact. */
  readonly query: string;
  /** Only when the path holds %2F: the same path with %2F (alone) decoded. The route must allow it and the policy both readings. */
  readonly decodedSlashPath: string | undefined;
  /** Only when the path holds any percent-encoding: decoded once, as a server behind may read it. A deny rule must look at it too. */
  readonly decodedPath: string | undefined;
}

const MAX_URL_LENGTH = 16 * 1024;

/** Reads the request target and Host as one value (RFC 9112 3.2, 3.3). What has two readings is refused, nothing is repaired. */
export function parseTarget(method: string, url: string, hostHeader: string): Result<Target> {
  if (url.length > MAX_URL_LENGTH) return refuse('uri_too_long');
  const host = parseHost(hostHeader);
  if (!host.ok) return host;
  if (url.charCodeAt(0) === 47) return parseOriginForm(url, host.value);
  if (url === '*')
    return refuse('target_malformed', `${method} * names no resource that a policy could judge`);
  const schemeLength = httpSchemeLength(url);
  if (schemeLength === 0) return refuse('target_malformed', 'neither origin-form nor absolute-form');
  return parseAbsoluteForm(url, schemeLength, host.value);
}

function parseOriginForm(url: string, host: Host): Result<Target> {
  const mark = url.indexOf('?');
  const path = parsePath(mark < 0 ? url : url.slice(0, mark));
  if (!path.ok) return path;
  const query = mark < 0 ? '' : url.slice(mark);
  if (!isQuery(query)) return refuse('target_malformed', 'forbidden character in the query');
  return ok(targetOf(host, path.value, query));
}

/** RFC 9112 3.2.2: the target's authority wins over Host. We take neither when they differ, so that nobody behind us can choose. */
function parseAbsoluteForm(url: string, schemeLength: number, host: Host): Result<Target> {
  const end = authorityEnd(url, schemeLength);
  const authority = parseHost(url.slice(schemeLength, end));
  if (!authority.ok) return authority;
  if (authority.value.authority !== host.authority) {
    return refuse('host_malformed', 'Host differs from the authority of the target');
  }
  const rest = url.slice(end);
  return parseOriginForm(rest.charCodeAt(0) === 47 ? rest : `/${rest}`, host);
}

function httpSchemeLength(url: string): number {
  const start = url.slice(0, 8).toLowerCase();
  if (start.startsWith('http://')) return 7;
  return start === 'https://' ? 8 : 0;
}

function authorityEnd(url: string, start: number): number {
  for (let i = start; i < url.length; i++) {
    const code = url.charCodeAt(i);
    if (code === 47 || code === 63 || code === 35) return i;
  }
  return url.length;
}

/** The query crosses byte-exact; only what would break the request line or start a fragment is refused. */
function isQuery(query: string): boolean {
  for (let i = 0; i < query.length; i++) {
    const code = query.charCodeAt(i);
    if (code <= 0x20 || code >= 0x7f || code === 35) return false;
  }
  return true;
}

const targetOf = (host: Host, path: PathReadings, query: string): Target => ({
  host: host.host,
  authority: host.authority,
  path: path.raw,
  query,
  decodedSlashPath: path.decodedSlash,
  decodedPath: path.decoded,
});
