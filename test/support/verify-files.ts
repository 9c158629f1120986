import { ByteLines } from '../../src/audit/byte-lines.js';
import { parseHead } from '../../src/audit/seal-head.js';
import { type Verification, Verifier } from '../../src/audit/verify/verifier.js';
import { showPlace } from '../../src/audit/verify/verify-findings.js';
import { parseVerifyKeys } from '../../src/audit/verify/verify-keys.js';
import type { Result } from '../../src/reasons.js';

export type FileContent = string | Buffer | readonly string[];

/** Files as they stand, or their lines with their ends; in pieces of so many bytes. */
export function verifyFiles(
  jwks: string,
  files: readonly FileContent[],
  heads: readonly string[] = [],
  pieceBytes = 1 << 20,
): Verification {
  const verifier = new Verifier(
    must(parseVerifyKeys(jwks)),
    heads.map((text) => must(parseHead(text))),
  );
  for (const file of files) {
    verifier.beginFile();
    const lines = new ByteLines((...line) => verifier.take(...line));
    const bytes = bytesOf(file);
    for (let at = 0; at < bytes.length; at += pieceBytes)
      lines.push(Buffer.from(bytes.subarray(at, at + pieceBytes)));
    lines.end();
  }
  return verifier.end();
}

const bytesOf = (file: FileContent): Buffer =>
  typeof file === 'string' ? Buffer.from(file) : Buffer.isBuffer(file) ? file : Buffer.from(file.join(''));

function must<T>(result: Result<T, string>): T {
  if (!result.ok) throw new Error(result.error);
  return result.value;
}

/** `a:3 altered: …`, where `a` is the first file. */
export const findingsOf = ({ findings }: Verification): readonly string[] =>
  findings.kept.map(({ kind, place, what }) => `${placeText(place)} ${kind}: ${what}`);

/** `a:3 5..7` of each stream that is open. */
export const openTailsOf = ({ streams }: Verification): readonly string[] =>
  streams.flatMap(({ open }) =>
    open === undefined ? [] : [`${placeText(open.place)} ${open.from}..${open.to}`],
  );

export const placeText = (place: number | undefined): string =>
  place === undefined ? '-' : showPlace(place, ['a', 'b', 'c', 'd', 'e']);
