import { err, ok, type Result } from '../reasons.js';
import { isOws } from './char-class.js';

const MAX_BYTES = 8 * 1024;

/** Reads a secret that goes into a header: the one line of its file, at most 8 KiB. The errors show nothing of it. */
export function parseInjectedSecret(bytes: Uint8Array): Result<string, string> {
  if (bytes.length > MAX_BYTES) return err(`is longer than ${MAX_BYTES} bytes`);
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1');
  const secret = text.replace(/\r?\n$/, '');
  if (secret === '') return err('is empty: it must hold the secret');
  if (/[\r\n]/.test(secret)) return err('holds more than one line');
  // RFC 9110 5.5 without obs-text, which the two ends may read as different characters.
  if (!/^[\t\x20-\x7e]+$/.test(secret)) return err('holds a character that no header can carry');
  // A reader takes them off (RFC 9110 5.5): what is compared at the other end would be another secret.
  if (isOws(secret.charCodeAt(0)) || isOws(secret.charCodeAt(secret.length - 1)))
    return err('begins or ends with a space or a tab');
  return ok(secret);
}
