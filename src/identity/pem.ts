import { err, ok, type Result } from '../reasons.js';

export interface PemBlock {
  readonly label: string;
  readonly der: Buffer;
  /** 1-based line of its BEGIN. */
  readonly line: number;
}

const BEGIN = /^-----BEGIN ([A-Z0-9 ]{1,64})-----$/;
const BASE64_LINE = /^[A-Za-z0-9+/]+={0,2}$/;
/** A line outside a block that is this long and nothing but base64 has lost its BEGIN. */
const STRAY_BASE64_CHARACTERS = 40;

/**
 * Reads every block of a PEM file (RFC 7468), or refuses the file and names the line: OpenSSL silently uses the readable half
 * of a broken one, and a trust bundle must never be half of itself. Comments between blocks are allowed.
 */
export function parsePem(bytes: Uint8Array): Result<readonly PemBlock[], string> {
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1').split('\n');
  const blocks: PemBlock[] = [];
  for (let at = 0; at < lines.length; at++) {
    const line = (lines[at] ?? '').trim();
    const label = BEGIN.exec(line)?.[1];
    if (label === undefined) {
      if (line.includes('-----')) return err(`line ${at + 1}: a broken BEGIN or END line`);
      if (line.length >= STRAY_BASE64_CHARACTERS && BASE64_LINE.test(line))
        return err(`line ${at + 1}: base64 outside a block`);
      continue;
    }
    const body = readBody(lines, at + 1, label);
    if (!body.ok) return body;
    blocks.push({ label, der: body.value.der, line: at + 1 });
    at = body.value.end;
  }
  return ok(blocks);
}

/** The certificates of a PEM file that holds nothing else. */
export function readPemCertificates(bytes: Uint8Array): Result<readonly Buffer[], string> {
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  const foreign = blocks.value.find((block) => block.label !== 'CERTIFICATE');
  if (foreign !== undefined) return err(`line ${foreign.line}: ${foreign.label} is not a certificate`);
  return ok(blocks.value.map((block) => block.der));
}

function readBody(
  lines: readonly string[],
  start: number,
  label: string,
): Result<{ der: Buffer; end: number }, string> {
  const where = `the ${label} block of line ${start}`;
  const parts: string[] = [];
  for (let at = start; at < lines.length; at++) {
    const line = (lines[at] ?? '').trim();
    if (line === `-----END ${label}-----`) {
      const der = decodeBase64(parts.join(''));
      return der === undefined ? err(`${where} is not base64`) : ok({ der, end: at });
    }
    if (line === '') continue;
    if (!BASE64_LINE.test(line)) return err(`line ${at + 1}: ${where} holds something that is not base64`);
    parts.push(line);
  }
  return err(`${where} has no end`);
}

/** Standard base64, complete and canonical (RFC 4648 3.5), or undefined. `Buffer.from` alone takes almost anything. */
export function decodeBase64(text: string): Buffer | undefined {
  if (text.length === 0 || text.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
