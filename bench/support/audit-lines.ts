import { readFileSync } from 'node:fs';

/** What the books need of a record. */
export interface AuditLine {
  readonly event: string;
  readonly phase?: 'start' | 'end';
  readonly id?: string;
  readonly seq: number;
  readonly latencyMs?: number;
  readonly decision?: { readonly effect: string; readonly reason: string };
  readonly response?: { readonly status: number; readonly outcome: string };
}

/** Every record of an audit file; throws at a line that is torn. */
export function readAuditLines(file: string): AuditLine[] {
  const lines = readFileSync(file, 'utf8').split('\n');
  if (lines.pop() !== '') throw new Error('the audit file does not end with a whole line');
  return lines.map((line) => JSON.parse(line) as AuditLine);
}
