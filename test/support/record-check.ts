import { z } from 'zod';
import { recordSchema } from '../../src/config/record-schema.js';
import type { ReadRecord } from './start-proxy.js';

/** Raw, none of them stays in its line, or in the eye of who reads it. */
const UNSEEN = /[\u007f-\u009f\p{Cf}\p{Zl}\p{Zp}]/u;

/**
 * Throws where a line of records, without its end, is not as config/record.schema.json says (strictly: a field that is not
 * there is one too many), or holds what a reader may take for the end of a line.
 */
export function checkRecord(line: string): void {
  const unseen = UNSEEN.exec(line);
  if (unseen !== null) throw new Error(`U+${unseen[0].codePointAt(0)?.toString(16)} stands raw in ${line}`);
  const read = recordSchema.safeParse(JSON.parse(line));
  if (read.success) return;
  throw new Error(`a record does not fit its schema: ${z.prettifyError(read.error)}\n${line}`);
}

/** Checks the lines of a file that grows, each once. */
export class RecordChecks {
  readonly #checked = new Set<string>();

  check(lines: readonly string[]): void {
    for (const line of lines) {
      if (this.#checked.has(line)) continue;
      checkRecord(line);
      this.#checked.add(line);
    }
  }
}

/** One line as it is read back, checked. */
export function readRecord<T = ReadRecord>(line: string): T {
  checkRecord(line);
  return JSON.parse(line) as T;
}
