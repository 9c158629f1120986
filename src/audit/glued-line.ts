import { OPENING } from './verify/verify-line.js';

const CLOSING_BRACE = 0x7d;

/**
 * Several processes append to one file: where a write of one ended early (a full disk), that of another stands behind it on its
 * line. What a line was put together from, in order; undefined where it is one piece, as nearly all are. Whoever reads records
 * cuts lines here, the verifier too: else a piece put before a record would hide it from one and not from the other.
 */
export function piecesOf(line: Buffer): readonly Buffer[] | undefined {
  const pieces: Buffer[] = [];
  let begin = 0;
  for (let at = line.indexOf(OPENING, 1); at > 0; at = line.indexOf(OPENING, at + 1)) {
    pieces.push(line.subarray(begin, at));
    begin = at;
  }
  const tail = tornTail(line);
  if (tail > begin) {
    pieces.push(line.subarray(begin, tail));
    begin = tail;
  }
  if (begin === 0) return undefined;
  pieces.push(line.subarray(begin));
  return pieces;
}

/** Could these bytes be the beginning of some line? */
export const looksBegun = (bytes: Buffer): boolean => {
  const length = Math.min(bytes.length, OPENING.length);
  return length > 0 && bytes.compare(OPENING, 0, length, 0, length) === 0;
};

/** Where a beginning of a line too short to be told by its opening stands at a line's end; 0 = nowhere. */
function tornTail(line: Buffer): number {
  if (line[line.length - 1] === CLOSING_BRACE) return 0;
  const at = line.lastIndexOf(OPENING[0]!);
  return at > 0 && line.length - at < OPENING.length && looksBegun(line.subarray(at)) ? at : 0;
}
