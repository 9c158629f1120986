import { err, ok, type Result } from '../reasons.js';

/** How a PostgreSQL connection begins (protocol 3.0, sections 55.2.10 to 55.2.12 of PostgreSQL's documentation). */
export type PostgresStart = 'tls' | 'ssl-request' | 'gss-request';

const CANCEL_REQUEST = 80_877_102;
const SSL_REQUEST = 80_877_103;
const GSS_REQUEST = 80_877_104;
const REQUEST_BYTES = 8;
/** Of a TLS record that holds a ClientHello (RFC 8446 5.1). */
const TLS_HANDSHAKE = 0x16;

export const SSL_ACCEPTED = Buffer.from('S');
export const GSS_REFUSED = Buffer.from('N');

/** Why a start is refused, and whether who sent it reads PostgreSQL's words for it. */
export interface PostgresRefusal {
  readonly detail: string;
  readonly speaksPostgres: boolean;
}

/**
 * Reads all that has arrived before anything was answered; undefined while more is needed. What is stuffed behind a request
 * would cross the line between plaintext and TLS (CVE-2021-23214, CVE-2021-23222).
 */
export function parsePostgresStart(bytes: Buffer): Result<PostgresStart, PostgresRefusal> | undefined {
  if (bytes.length === 0) return undefined;
  if (bytes[0] === TLS_HANDSHAKE) return ok('tls');
  if (bytes[0] !== 0) return refused('neither PostgreSQL nor TLS', false); // lengths below 16 MiB begin with 0
  if (bytes.length < REQUEST_BYTES) return undefined;
  const length = bytes.readUInt32BE(0);
  const code = bytes.readUInt32BE(4);
  if (code === CANCEL_REQUEST) return refused('a CancelRequest without TLS', false);
  if (code === SSL_REQUEST || code === GSS_REQUEST) {
    if (length !== REQUEST_BYTES) return refused(`a request for encryption of ${length} bytes`, false);
    if (bytes.length > REQUEST_BYTES)
      return refused('bytes behind the request for encryption, before its answer', false);
    return ok(code === SSL_REQUEST ? 'ssl-request' : 'gss-request');
  }
  if (code >>> 16 === 3) return refused('a start without TLS', true);
  return refused('neither PostgreSQL nor TLS', false);
}

const refused = (detail: string, speaksPostgres: boolean) => err({ detail, speaksPostgres });

/** ErrorResponse (section 55.7). @param code SQLSTATE. */
export function formatPostgresError(code: string, message: string): Buffer {
  const fields = Buffer.from(`SFATAL\0VFATAL\0C${code}\0M${message}\0\0`);
  const head = Buffer.from([0x45, 0, 0, 0, 0]);
  head.writeUInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}
