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
/** What of a block is decoded at once. */
const PIECE_CHARACTERS = 1024 * 1024;

/**
 * Reads every block of a PEM file (RFC 7468), or refuses the file and names the line: OpenSSL silently uses the readable half
 * of a broken one, and a trust bundle must never be half of itself. Comments between blocks are allowed.
 */
export function parsePem(bytes: Uint8Array): Result<readonly PemBlock[], string> {
  const lines = new Lines(bytes);
  const blocks: PemBlock[] = [];
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    const label = BEGIN.exec(line)?.[1];
    if (label === undefined) {
      if (line.includes('-----')) return err(`line ${lines.number}: a broken BEGIN or END line`);
      if (line.length >= STRAY_BASE64_CHARACTERS && BASE64_LINE.test(line))
        return err(`line ${lines.number}: base64 outside a block`);
      continue;
    }
    const start = lines.number;
    const body = readBody(lines, label);
    if (!body.ok) return body;
    blocks.push({ label, der: body.value, line: start });
  }
  return ok(blocks);
}

/** One line at a time, trimmed: a file of tens of megabytes must not become millions of strings at once. */
class Lines {
  /** Of the line given last, from 1. */
  number = 0;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  next(): string | undefined {
    if (this.#at > this.#bytes.length) return undefined;
    const end = this.#bytes.indexOf(0x0a, this.#at);
    const line = this.#bytes.toString('latin1', this.#at, end < 0 ? this.#bytes.length : end);
    this.#at = end < 0 ? this.#bytes.length + 1 : end + 1;
    this.number++;
    return line.trim();
  }
}

/** The certificates of a PEM file that holds nothing else. */
export function readPemCertificates(bytes: Uint8Array): Result<readonly Buffer[], string> {
  const blocks = parsePem(bytes);
  if (!blocks.ok) return blocks;
  const foreign = blocks.value.find((block) => block.label !== 'CERTIFICATE');
  if (foreign !== undefined) return err(`line ${foreign.line}: ${foreign.label} is not a certificate`);
  return ok(blocks.value.map((block) => block.der));
}

function readBody(lines: Lines, label: string): Result<Buffer, string> {
  const where = `the ${label} block of line ${lines.number}`;
  const end = `-----END ${label}-----`;
  const body = new Base64Body();
  for (let line = lines.next(); line !== undefined; line = lines.next()) {
    if (line === end) {
      const der = body.finish();
      return der === undefined ? err(`${where} is not base64`) : ok(der);
    }
    if (line === '') continue;
    if (!BASE64_LINE.test(line))
      return err(`line ${lines.number}: ${where} holds something that is not base64`);
    body.add(line);
  }
  return err(`${where} has no end`);
}

/** Decodes as lines come in, a piece at a time: what is long is held once, not as lines, text and text again. */
class Base64Body {
  readonly #decoded: Buffer[] = [];
  #lines: string[] = [];
  #characters = 0;
  #isPadded = false;
  #isBroken = false;

  add(line: string): void {
    this.#lines.push(line);
    this.#characters += line.length;
    if (this.#characters >= PIECE_CHARACTERS) this.#decode(true);
  }

  /** undefined = not one complete, canonical base64 text. */
  finish(): Buffer | undefined {
    this.#decode(false);
    const [first] = this.#decoded;
    if (this.#isBroken || first === undefined) return undefined;
    return this.#decoded.length === 1 ? first : Buffer.concat(this.#decoded);
  }

  #decode(isMoreToCome: boolean): void {
    const text = this.#lines.join('');
    const cut = isMoreToCome ? text.length - (text.length % 4) : text.length;
    this.#lines = [text.slice(cut)];
    this.#characters = text.length - cut;
    if (cut === 0 && this.#decoded.length > 0) return;
    const piece = text.slice(0, cut);
    const decoded = decodeBase64(piece);
    // Padding ends a text (RFC 4648 3.2): nothing may come after it.
    if (decoded === undefined || this.#isPadded) this.#isBroken = true;
    else this.#decoded.push(decoded);
    this.#isPadded = piece.endsWith('=');
  }
}

/** Standard base64, complete and canonical (RFC 4648 3.5), or undefined. `Buffer.from` alone takes almost anything. */
export function decodeBase64(text: string): Buffer | undefined {
  if (text.length === 0 || text.length % 4 !== 0) return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes : undefined;
}
