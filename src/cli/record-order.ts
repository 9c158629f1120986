import { ByteLines } from '../audit/byte-lines.js';
import { fieldsOf, parseRecordLine } from '../audit/record-line.js';
import { openingOf, parseWhole, seqOf, timeAfter } from '../audit/verify/verify-line.js';
import { readRecordBytes } from './record-bytes.js';

/** So much of each file is looked at. */
const HEAD_BYTES = 512 * 1024;

interface FileHead {
  readonly file: string;
  /** As given. */
  readonly index: number;
  /** The first number in it, by stream. */
  readonly firsts: ReadonlyMap<string, number>;
  /** Of its first line. */
  readonly time: string;
}

/** The order in which the files were written, by the numbers of the streams that they share; else by the time of their first line. */
export async function orderFiles(files: readonly string[]): Promise<readonly string[]> {
  const heads: FileHead[] = [];
  for (const [index, file] of files.entries()) heads.push(await readHead(file, index));
  return sortByStreams(heads).map(({ file }) => file);
}

async function readHead(file: string, index: number): Promise<FileHead> {
  const firsts = new Map<string, number>();
  let time = '';
  let bytes = 0;
  const cutter = new ByteLines((piece, start, end) => {
    const line = piece.subarray(start, end);
    const opening = openingOf(line);
    if (opening === undefined || firsts.has(opening)) return;
    const seq = seqOf(line, opening.length);
    // A seal alone: its batch is in the file before.
    const sealed = seq === undefined ? fieldsOf(parseWhole(line)?.seal).to : undefined;
    if (seq === undefined && typeof sealed !== 'number') return;
    firsts.set(opening, seq?.seq ?? Number(sealed) + 0.5);
    time ||=
      parseRecordLine(line.toString('utf8'))?.time ?? (seq === undefined ? '' : timeAfter(line, seq.end));
  });
  await readRecordBytes(
    { file },
    (piece) => {
      cutter.push(piece);
      bytes += piece.length;
      return bytes < HEAD_BYTES;
    },
    () => '',
  );
  return { file, index, firsts, time };
}

/** Each stream says which of its files comes before which; among those that may come next, the oldest. */
function sortByStreams(heads: readonly FileHead[]): readonly FileHead[] {
  const after = new Map<FileHead, Set<FileHead>>(heads.map((head) => [head, new Set()]));
  const byStream = new Map<string, FileHead[]>();
  for (const head of heads)
    for (const stream of head.firsts.keys()) byStream.set(stream, [...(byStream.get(stream) ?? []), head]);
  for (const [stream, sharing] of byStream) {
    const inOrder = sharing.sort((a, b) => (a.firsts.get(stream) ?? 0) - (b.firsts.get(stream) ?? 0));
    for (const [i, head] of inOrder.entries()) {
      const next = inOrder[i + 1];
      if (next !== undefined && next.firsts.get(stream) !== head.firsts.get(stream))
        after.get(next)?.add(head);
    }
  }
  const left = [...heads].sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : a.index - b.index));
  const ordered: FileHead[] = [];
  while (left.length > 0) {
    const free = left.findIndex(
      (head) => ![...(after.get(head) ?? [])].some((before) => left.includes(before)),
    );
    ordered.push(...left.splice(Math.max(0, free), 1)); // where they contradict each other, the verifier says so
  }
  return ordered;
}
