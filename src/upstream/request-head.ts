import type { ForwardRequest, UpgradeRequest } from '../listener/ports.js';
import { isAll, isFieldValue, isVisibleAscii, TOKEN } from '../message/char-class.js';

/**
 * The octets of a request's head, as latin1 text; undefined when a part of it could end a line or be cut to other octets
 * (a character above 255 is written as its lowest eight bits: U+560A would become LF). Then nothing may be sent.
 */
export function formatRequestHead(request: ForwardRequest): string | undefined {
  const { method, target, authority, headers } = request;
  if (!hasWritableTarget(request)) return undefined;
  // Host is the one that was judged (RFC 9112 3.2.2), not the upstream's own address.
  const lines = formatFields(headers);
  if (lines === undefined) return undefined;
  const head = `${method} ${target} HTTP/1.1\r\nhost: ${authority}\r\nconnection: keep-alive\r\n${lines}`;
  if (request.body === undefined) return `${head}\r\n`;
  return request.bodyLength === undefined
    ? `${head}transfer-encoding: chunked\r\n\r\n`
    : `${head}content-length: ${request.bodyLength}\r\n\r\n`;
}

/** As `formatRequestHead`, of a WebSocket handshake; its Connection and Upgrade are among its headers. */
export function formatUpgradeHead({ target, authority, headers }: UpgradeRequest): string | undefined {
  if (!hasWritableTarget({ method: 'GET', target, authority })) return undefined;
  const lines = formatFields(headers);
  return lines === undefined ? undefined : `GET ${target} HTTP/1.1\r\nhost: ${authority}\r\n${lines}\r\n`;
}

function formatFields(headers: readonly string[]): string | undefined {
  let lines = '';
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!;
    const value = headers[i + 1]!;
    if (!isWritableField(name, value)) return undefined;
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** Method, target and authority are octets that stay what they are in any version of HTTP. */
export const hasWritableTarget = ({
  method,
  target,
  authority,
}: Pick<ForwardRequest, 'method' | 'target' | 'authority'>): boolean =>
  isAll(method, TOKEN) &&
  isVisibleAscii(target, Number.MAX_SAFE_INTEGER) &&
  isVisibleAscii(authority, Number.MAX_SAFE_INTEGER);

export const isWritableField = (name: string, value: string): boolean =>
  isAll(name, TOKEN) && isFieldValue(value);
