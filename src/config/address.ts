import { isIP, isIPv4 } from 'node:net';
import { err, ok, type Result } from '../reasons.js';
import type { Address } from './config.js';

const HOST_NAME = /^(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*$/i;

/** `127.0.0.1:8443`, `[::1]:8443`, `localhost:8443` or `unix:/path`. Never a bare port: no default opens anything. */
export function parseAddress(text: string): Result<Address, string> {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length).replace(/^\/\/(?=\/)/, '');
    return path === '' ? err('has no path after unix:') : ok({ kind: 'unix', path });
  }
  const parts = splitHostPort(text);
  if (!parts.ok) return parts;
  const { host, port } = parts.value;
  if (port === undefined) return err(`"${text}" has no port; write ${text}:8443`);
  if (host === '') return err(`says no address; write 0.0.0.0${text} for all of them or 127.0.0.1${text}`);
  return ok({ kind: 'tcp', host, port });
}

/** Where a service is and how it is reached. */
export interface UpstreamUrl {
  readonly scheme: 'http' | 'https' | 'tcp' | 'tls' | 'unix';
  readonly address: Address;
  /** `host:port` as an URL writes it, always with the port; `unix:/path` of a socket. */
  readonly shown: string;
}

const DEFAULT_PORTS = { http: 80, https: 443, tcp: undefined, tls: undefined } as const;

/** `http://host[:port]`, the same with https, tcp and tls, or `unix:/path`; nothing after it: the path that is forwarded is always the client's. */
export function parseUpstreamUrl(text: string): Result<UpstreamUrl, string> {
  if (text.startsWith('unix:')) {
    const address = parseAddress(text);
    return address.ok
      ? ok({ scheme: 'unix', address: address.value, shown: formatAddress(address.value) })
      : address;
  }
  const scheme = (['http', 'https', 'tcp', 'tls'] as const).find((known) => text.startsWith(`${known}://`));
  if (scheme === undefined)
    return err(`"${text}" must begin with http://, https://, tcp://, tls:// or unix:`);
  const authority = text.slice(scheme.length + '://'.length).replace(/\/$/, '');
  if (/[/?#]/.test(authority)) return err('must end after host and port: paths are forwarded as they come');
  if (authority.includes('@')) return err('must not hold a user or password');
  const parts = splitHostPort(authority);
  if (!parts.ok) return parts;
  const { host, port = DEFAULT_PORTS[scheme] } = parts.value;
  if (host === '') return err('has no host');
  if (port === undefined) return err(`"${text}" has no port`);
  if (port === 0) return err('port 0 cannot be connected to');
  const address: Address = { kind: 'tcp', host, port };
  return ok({ scheme, address, shown: formatAddress(address) });
}

/** True where only this machine can connect. A name other than localhost may resolve to anything: not loopback. */
export function isLoopback(address: Address): boolean {
  if (address.kind === 'unix') return true;
  const { host } = address;
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

export const formatAddress = (address: Address): string =>
  address.kind === 'unix'
    ? `unix:${address.path}`
    : address.host.includes(':')
      ? `[${address.host}]:${address.port}`
      : `${address.host}:${address.port}`;

/** Exact host of a route: as `parseTarget` gives it, so lower-case and without port. */
export function parseRouteHost(text: string): Result<string, string> {
  if (text.includes('*')) return err('must be one exact host; leave it out to take any host');
  if (text !== text.toLowerCase()) return err(`must be lower-case: "${text.toLowerCase()}"`);
  if (/^\[[0-9a-f:.]+\]$/.test(text) && isIP(text.slice(1, -1)) === 6) return ok(text);
  if (/:\d*$/.test(text)) return err('must be without a port: the port is not part of the match');
  if (!HOST_NAME.test(text)) return err(`"${text}" is not a host name`);
  return ok(text);
}

function splitHostPort(text: string): Result<{ host: string; port: number | undefined }, string> {
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(text);
  if (bracketed !== null) {
    const host = bracketed[1] ?? '';
    if (isIP(host) !== 6) return err(`"[${host}]" is not an IPv6 address`);
    return withPort(host.toLowerCase(), bracketed[2]);
  }
  const colon = text.lastIndexOf(':');
  if (colon !== text.indexOf(':')) return err(`"${text}": an IPv6 address stands in brackets, [::1]:8443`);
  const host = (colon === -1 ? text : text.slice(0, colon)).toLowerCase();
  if (/^\d+$/.test(host)) return err(`"${text}" is a number; write an address and a port, 127.0.0.1:${host}`);
  if (host !== '' && isIP(host) === 0 && (!HOST_NAME.test(host) || /^[\d.]+$/.test(host))) {
    return err(`"${host}" is not a host name or an IP address`);
  }
  return withPort(host, colon === -1 ? undefined : text.slice(colon + 1));
}

function withPort(
  host: string,
  port: string | undefined,
): Result<{ host: string; port: number | undefined }, string> {
  if (port === undefined) return ok({ host, port: undefined });
  if (!/^\d{1,5}$/.test(port) || Number(port) > 65_535) return err(`"${port}" is not a port from 0 to 65535`);
  return ok({ host, port: Number(port) });
}
