import { isIP, isIPv4, isIPv6 } from 'node:net';
import { err, ok, type Result } from '../reasons.js';

/** PROXY protocol, versions 1 and 2, as HAProxy's proxy-protocol.txt (2020/03/05) has them. */

/** Where a connection comes from and went to, as a load balancer tells it. */
export interface ProxiedAddresses {
  readonly source: Endpoint;
  readonly destination: Endpoint;
}

export interface Endpoint {
  /** IPv4 or IPv6, without brackets. */
  readonly address: string;
  readonly port: number;
}

/** `told` undefined: a connection of the balancer's own (LOCAL, UNKNOWN), whose own address counts. */
export interface ProxyHeader {
  readonly told: ProxiedAddresses | undefined;
  /** Octets that it takes; what is behind them is the client's. */
  readonly length: number;
}

export const V2_SIGNATURE = Buffer.from('\r\n\r\n\0\r\nQUIT\n', 'latin1');
const V1_SIGNATURE = Buffer.from('PROXY ', 'latin1');
/** Section 2.1: the longest line, with its CR LF. */
const MAX_V1_BYTES = 107;
/** Of what a v2 header says of itself; more than any balancer sends. */
const MAX_V2_BODY = 4096;
const V2_HEAD = 16;
const IPV4_BYTES = 12;
const IPV6_BYTES = 36;

/** Most that a header may take. */
export const MAX_PROXY_HEADER = V2_HEAD + MAX_V2_BODY;

/** Reads the header that `bytes` begin with; undefined while more is needed, an error as soon as it can be none. */
export function parseProxyHeader(bytes: Buffer): Result<ProxyHeader, string> | undefined {
  if (beginsAlike(bytes, V2_SIGNATURE)) return parseV2(bytes);
  if (beginsAlike(bytes, V1_SIGNATURE)) return parseV1(bytes);
  return err('does not begin with a PROXY header');
}

function beginsAlike(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length);
  return bytes.compare(signature, 0, length, 0, length) === 0;
}

function parseV1(bytes: Buffer): Result<ProxyHeader, string> | undefined {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf('\r\n', 0, 'latin1');
  if (end === -1) return bytes.length >= MAX_V1_BYTES ? err('a v1 line without an end') : undefined;
  const line = bytes.toString('latin1', 0, end);
  const length = end + 2;
  // Section 2.1: what follows UNKNOWN is to be ignored.
  if (line === 'PROXY UNKNOWN' || line.startsWith('PROXY UNKNOWN ')) return ok({ told: undefined, length });
  const [, family, source = '', destination = '', sourcePort = '', destinationPort = '', ...more] =
    line.split(' ');
  const isFamily = family === 'TCP4' ? isIPv4 : family === 'TCP6' ? isPlainIPv6 : undefined;
  if (isFamily === undefined || more.length > 0) return err('a v1 line of another shape');
  if (!isFamily(source) || !isFamily(destination)) return err(`addresses that are not ${family}`);
  const ports = [parsePort(sourcePort), parsePort(destinationPort)];
  const [from, to] = ports;
  if (from === undefined || to === undefined) return err('a port that is none');
  return ok({
    told: {
      source: { address: plain(source), port: from },
      destination: { address: plain(destination), port: to },
    },
    length,
  });
}

/** A zone (`%eth0`) is no part of an address that crosses machines. */
const isPlainIPv6 = (text: string): boolean => isIPv6(text) && !text.includes('%');

function parsePort(text: string): number | undefined {
  if (!/^(0|[1-9]\d{0,4})$/.test(text)) return undefined;
  const port = Number(text);
  return port > 65_535 ? undefined : port;
}

function parseV2(bytes: Buffer): Result<ProxyHeader, string> | undefined {
  if (bytes.length >= 13) {
    const command = bytes[12]!;
    if (command !== 0x20 && command !== 0x21) return err(`version and command ${hex(command)}`);
  }
  if (bytes.length < V2_HEAD) return undefined;
  const size = bytes.readUInt16BE(14);
  if (size > MAX_V2_BODY) return err(`a v2 header of ${size} bytes`);
  const family = bytes[13]!;
  const isLocal = bytes[12] === 0x20;
  const needed = isLocal ? 0 : addressBytes(family);
  if (needed === undefined) return err(`family and transport ${hex(family)}`);
  if (size < needed) return err(`${size} bytes, and its addresses alone take ${needed}`);
  const length = V2_HEAD + size;
  if (bytes.length < length) return undefined;
  if (isLocal) return ok({ told: undefined, length });
  const problem = problemOfTlvs(bytes.subarray(V2_HEAD + needed, length));
  if (problem !== undefined) return err(problem);
  return ok({ told: readAddresses(bytes, family === 0x11 ? 4 : 16), length });
}

/** Section 2.2: TCP over IPv4 and IPv6. UNSPEC, datagrams and unix sockets tell of nobody that a record could name. */
function addressBytes(family: number): number | undefined {
  if (family === 0x11) return IPV4_BYTES;
  return family === 0x21 ? IPV6_BYTES : undefined;
}

function readAddresses(bytes: Buffer, width: 4 | 16): ProxiedAddresses {
  const at = (offset: number): string => formatIp(bytes.subarray(offset, offset + width));
  const ports = V2_HEAD + 2 * width;
  return {
    source: { address: at(V2_HEAD), port: bytes.readUInt16BE(ports) },
    destination: { address: at(V2_HEAD + width), port: bytes.readUInt16BE(ports + 2) },
  };
}

/** They are not read, but they must be what they say. */
function problemOfTlvs(bytes: Buffer): string | undefined {
  let at = 0;
  while (at < bytes.length) {
    if (bytes.length - at < 3) return 'a TLV without its length';
    at += 3 + bytes.readUInt16BE(at + 1);
  }
  return at > bytes.length ? 'a TLV that is longer than the header' : undefined;
}

function formatIp(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(2 * i).toString(16));
  return plain(canonicalIPv6(groups));
}

/** RFC 5952 4.2: the longest run of zeros is left out. */
function canonicalIPv6(groups: readonly string[]): string {
  let best = { at: 0, length: 1 };
  for (let at = 0; at < 8; at++) {
    let end = at;
    while (end < 8 && groups[end] === '0') end++;
    if (end - at > best.length) best = { at, length: end - at };
  }
  if (best.length === 1) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/** One spelling of one address: records, ranges and forwarded headers compare text. */
function plain(address: string): string {
  if (isIPv4(address)) return address;
  const groups = groupsOf(address);
  if (groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff)
    return [groups[6]! >> 8, groups[6]! & 255, groups[7]! >> 8, groups[7]! & 255].join('.');
  return canonicalIPv6(groups.map((group) => group.toString(16)));
}

function groupsOf(address: string): number[] {
  const dotted = /(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const [, a = 0, b = 0, c = 0, d = 0] = (dotted ?? []).map(Number);
  const pair = `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  const text = dotted === null ? address : address.slice(0, dotted.index) + pair;
  const [left = '', right] = text.split('::');
  const head = left === '' ? [] : left.split(':');
  const tail = right === undefined || right === '' ? [] : right.split(':');
  const zeros = right === undefined ? 0 : 8 - head.length - tail.length;
  return [...head, ...Array<string>(zeros).fill('0'), ...tail].map((group) => Number.parseInt(group, 16));
}

const hex = (octet: number): string => `0x${octet.toString(16).padStart(2, '0')}`;

/** What a service behind is told of a connection. */
export interface AnnouncedConnection {
  /** Undefined where neither end has an IP address: a unix socket. */
  readonly addresses: ProxiedAddresses | undefined;
  readonly spiffeId: string;
  /** Name that TLS was asked for. */
  readonly authority: string | undefined;
  /** As records name it; cut to 128 octets (section 2.2.5). */
  readonly id: string;
  /** As OpenSSL calls it: `TLSv1.3`. Undefined = the client came without TLS. */
  readonly tlsVersion: string | undefined;
}

/** Types of TLVs, section 2.2; 0xE0 is the first that is free for everybody's own use (2.2.7). */
const TLV = {
  authority: 0x02,
  uniqueId: 0x05,
  ssl: 0x20,
  sslVersion: 0x21,
  sslCommonName: 0x22,
  spiffeId: 0xe0,
};
/** PP2_CLIENT_SSL | PP2_CLIENT_CERT_CONN | PP2_CLIENT_CERT_SESS: a certificate came on this connection. */
const CLIENT_CERTIFICATE = 0x07;

/** A v2 header, section 2.2, with the caller's SPIFFE ID in a TLV of type 0xE0 and as the common name of its certificate. */
export function formatProxyHeader(connection: AnnouncedConnection): Buffer {
  const { addresses, spiffeId, authority, id, tlsVersion } = connection;
  const tlvs = [tlv(TLV.spiffeId, spiffeId), tlv(TLV.uniqueId, id.slice(0, 128))];
  if (authority !== undefined) tlvs.push(tlv(TLV.authority, authority));
  if (tlsVersion !== undefined) tlvs.push(sslTlv(tlsVersion, spiffeId));
  const family = addresses === undefined ? undefined : familyOf(addresses);
  const where = family === undefined ? Buffer.alloc(0) : addressOctets(addresses!, family);
  const body = Buffer.concat([where, ...tlvs]);
  const head = Buffer.alloc(4);
  head[0] = 0x21;
  head[1] = family === undefined ? 0x00 : family === 4 ? 0x11 : 0x21;
  head.writeUInt16BE(body.length, 2);
  return Buffer.concat([V2_SIGNATURE, head, body]);
}

function sslTlv(version: string, name: string): Buffer {
  const head = Buffer.from([CLIENT_CERTIFICATE, 0, 0, 0, 0]); // verify = 0: the certificate was verified
  return tlv(TLV.ssl, Buffer.concat([head, tlv(TLV.sslVersion, version), tlv(TLV.sslCommonName, name)]));
}

function tlv(type: number, value: string | Buffer): Buffer {
  const octets = typeof value === 'string' ? Buffer.from(value) : value;
  const head = Buffer.from([type, 0, 0]);
  head.writeUInt16BE(octets.length, 1);
  return Buffer.concat([head, octets]);
}

function familyOf({ source, destination }: ProxiedAddresses): 4 | 6 | undefined {
  if (isIP(source.address) === 0 || isIP(destination.address) === 0) return undefined;
  return isIPv4(source.address) && isIPv4(destination.address) ? 4 : 6;
}

function addressOctets({ source, destination }: ProxiedAddresses, family: 4 | 6): Buffer {
  const ports = Buffer.alloc(4);
  ports.writeUInt16BE(source.port, 0);
  ports.writeUInt16BE(destination.port, 2);
  return Buffer.concat([ipOctets(source.address, family), ipOctets(destination.address, family), ports]);
}

/** One header holds one family: beside IPv6 an IPv4 address is written in its IPv6 form (RFC 4291 2.5.5.2). */
function ipOctets(address: string, family: 4 | 6): Buffer {
  const text = address.replace(/%.*$/, '');
  if (family === 4) return Buffer.from(text.split('.').map(Number));
  const octets = Buffer.alloc(16);
  for (const [i, group] of groupsOf(isIPv4(text) ? `::ffff:${text}` : text).entries())
    octets.writeUInt16BE(group, 2 * i);
  return octets;
}
