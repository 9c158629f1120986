import { ResponseParser, type ResponseSink } from '../../../src/upstream/response-parser.js';

/** What one answer brought; pieces of a body are joined, for where they are cut means nothing. */
export interface Read {
  readonly informational: [number, string[]][];
  head: [number, string[]] | undefined;
  body: string;
  problem: string | undefined;
  isDone: boolean;
  keepsAlive: boolean;
  /** Octets behind its end. */
  left: number;
}

export class RecordingSink implements ResponseSink {
  readonly read: Read = {
    informational: [],
    head: undefined,
    body: '',
    problem: undefined,
    isDone: false,
    keepsAlive: false,
    left: 0,
  };

  onInformational(status: number, fields: string[]): void {
    this.read.informational.push([status, fields]);
  }

  onHead(status: number, fields: string[]): void {
    this.read.head = [status, fields];
  }

  readonly onBody = (bytes: Buffer, start: number, end: number): void => {
    this.read.body += bytes.toString('latin1', start, end);
  };
}

/** Parses one answer that comes in these pieces, each through the same buffer, as a connection reads. */
export function readAnswer(
  pieces: readonly (Buffer | string)[],
  { isHead = false, ends = false } = {},
): Read {
  const sink = new RecordingSink();
  const parser = new ResponseParser(sink);
  parser.begin(isHead);
  const { read } = sink;
  for (const piece of pieces) {
    const bytes = typeof piece === 'string' ? Buffer.from(piece, 'latin1') : piece;
    const buffer = Buffer.concat([bytes, Buffer.from('\r\n\r\nnot read')]);
    const taken = parser.push(buffer, bytes.length);
    buffer.fill('#'); // what the parser keeps, it must have copied
    if (parser.problem !== undefined) break;
    read.left += bytes.length - taken;
  }
  if (ends) parser.end();
  read.problem = parser.problem;
  read.isDone = parser.isDone;
  read.keepsAlive = parser.keepsAlive;
  return read;
}
