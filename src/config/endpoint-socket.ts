import { isIPv4, isIPv6 } from 'node:net';
import { err, ok, type Result } from '../reasons.js';
import type { Address } from './config.js';
import type { Environment } from './environment.js';

/** Where a SPIFFE Workload API is served: a Unix socket, or an IP address and port (SPIFFE Workload Endpoint 4). */
export type EndpointSocket = Address;

const ENDPOINT_SOCKET_VARIABLE = 'SPIFFE_ENDPOINT_SOCKET';
/** What fits into sockaddr_un on Linux. Beyond it libuv cuts the path off, and connects to whatever has the shorter name. */
export const MAX_UNIX_PATH_BYTES = 107;

/** The configured endpoint, else that of SPIFFE_ENDPOINT_SOCKET (Workload Endpoint 4), else what to do about it. */
export function resolveEndpointSocket(
  option: string | undefined,
  env: Environment,
): Result<EndpointSocket, string> {
  if (option !== undefined) return parseEndpointSocket(option);
  const variable = Object.hasOwn(env, ENDPOINT_SOCKET_VARIABLE) ? env[ENDPOINT_SOCKET_VARIABLE] : undefined;
  if (variable === undefined || variable === '')
    return err(
      `no Workload API socket is named: give it, or set ${ENDPOINT_SOCKET_VARIABLE}, like unix:///run/spire/agent.sock`,
    );
  const socket = parseEndpointSocket(variable);
  return socket.ok ? socket : err(`environment variable ${ENDPOINT_SOCKET_VARIABLE}: ${socket.error}`);
}

/**
 * Parses a Workload Endpoint URI: `unix:///run/agent.sock` or `tcp://127.0.0.1:8000`, and nothing besides.
 * Never `new URL()`: it drops tabs, resolves `..` and hides an empty port, query or fragment.
 */
export function parseEndpointSocket(text: string): Result<EndpointSocket, string> {
  // RFC 3986 2: a URI is printable ASCII; anything else would be read differently by somebody.
  if (!/^[!-~]+$/.test(text)) return err(`${quote(text)} is not a URI`);
  const colon = text.indexOf(':');
  const scheme = text.slice(0, Math.max(colon, 0)).toLowerCase(); // RFC 3986 3.1: case does not count
  const rest = text.slice(colon + 1);
  if (scheme !== 'unix' && scheme !== 'tcp') return err(`${quote(text)} must begin with unix:// or tcp://`);
  if (rest.includes('#')) return err(`${quote(text)} must not have a fragment`);
  if (rest.includes('?')) return err(`${quote(text)} must not have a query`);
  return scheme === 'unix' ? parseUnix(text, rest) : parseTcp(text, rest);
}

function parseUnix(text: string, rest: string): Result<EndpointSocket, string> {
  const hasAuthority = rest.startsWith('//');
  const encoded = hasAuthority ? rest.slice(2) : rest;
  if (encoded === '' || encoded === '/') return err(`${quote(text)} names no socket: write unix:///path`);
  if (!encoded.startsWith('/'))
    return err(
      hasAuthority
        ? `${quote(text)} has an authority, which a unix socket has not: write unix:///path, with three slashes`
        : `${quote(text)} is not an absolute path: write unix:///path`,
    );
  const path = decodePath(encoded);
  if (path === undefined) return err(`${quote(text)} has a percent-encoding that stands for no file name`);
  const segments = path.split('/');
  if (segments.includes('.') || segments.includes('..'))
    return err(`${quote(text)} has a dot segment: write the path that it leads to`);
  if (path.endsWith('/')) return err(`${quote(text)} ends with a slash: it must name a socket, not a folder`);
  if (Buffer.byteLength(path) > MAX_UNIX_PATH_BYTES)
    return err(
      `${quote(text)} is longer than the ${MAX_UNIX_PATH_BYTES} bytes that a socket's path may have`,
    );
  return ok({ kind: 'unix', path });
}

/** RFC 3986 2.1. An encoded slash or control character makes a name that a log or a file system shows as another. */
function decodePath(encoded: string): string | undefined {
  if (!encoded.includes('%')) return encoded;
  if (/%2f/i.test(encoded)) return undefined;
  try {
    const path = decodeURIComponent(encoded);
    return /[\u0000-\u001f\u007f]/.test(path) ? undefined : path;
  } catch {
    return undefined;
  }
}

function parseTcp(text: string, rest: string): Result<EndpointSocket, string> {
  if (!rest.startsWith('//')) return err(`${quote(text)} names no host: write tcp://127.0.0.1:8000`);
  const authority = rest.slice(2);
  if (authority.includes('/')) return err(`${quote(text)} must end after the port`);
  if (authority.includes('@')) return err(`${quote(text)} must not hold a user or password`);
  const [, bracketed, plain, port] = /^(?:\[([^\]]*)\]|([^:[\]]*))(?::(.*))?$/.exec(authority) ?? [];
  const host = bracketed ?? plain ?? '';
  // A name would be looked up, and whoever answers for it would hand out our key (Workload Endpoint 4: an IP address).
  const isAddress = bracketed === undefined ? isIPv4(host) : isIPv6(bracketed) && !bracketed.includes('%');
  if (!isAddress) return err(`${quote(text)} must name its host by IP address; IPv6 stands in brackets`);
  if (port === undefined || !/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535)
    return err(`${quote(text)} must name a port from 1 to 65535`);
  return ok({ kind: 'tcp', host: host.toLowerCase(), port: Number(port) });
}

const quote = (text: string): string => JSON.stringify(text.length > 200 ? `${text.slice(0, 200)}…` : text);
