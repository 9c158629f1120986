import { type FileLine, LineCutter } from '../audit/line-cutter.js';
import { ok, type Result } from '../reasons.js';
import { type RecordSource, readRecordBytes } from './record-bytes.js';

/**
 * Reads a record file line by line, as text.
 * @returns how many lines it has, or, for a person, why it could not be read to its end.
 */
export async function readRecordLines(
  source: RecordSource,
  take: (line: FileLine) => void,
): Promise<Result<number, string>> {
  const cutter = new LineCutter(take);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const read = await readRecordBytes(
    source,
    (bytes) => cutter.push(decoder.decode(bytes, { stream: true })),
    () => `line ${cutter.lines}`,
  );
  if (!read.ok) return read;
  cutter.push(decoder.decode());
  cutter.end();
  return ok(cutter.lines);
}
