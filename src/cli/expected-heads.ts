import { parseHead, type SealHead } from '../audit/seal-head.js';
import { err, ok, type Result } from '../reasons.js';
import { printable } from './printable.js';
import { readSnapshot } from './snapshot-text.js';

const MAX_DEPTH = 8;
const MAX_SHOWN = 200;

/** A head's text, or where heads are: an admin listener (http://… or unix:/path), or a file with a saved /snapshot or a head a line. */
export async function readHeads(from: string, cwd: string): Promise<Result<readonly SealHead[], string>> {
  const head = parseHead(from);
  if (head.ok) return ok([head.value]);
  const text = await readSnapshot(from, cwd);
  if (!text.ok) return err(`neither a head nor where heads are: ${text.error}`);
  const found = headsIn(text.value);
  if (!found.ok) return err(`${from}: ${found.error}`);
  return found.value.length === 0 ? err(`${from}: there is no head in it`) : found;
}

function headsIn(text: string): Result<readonly SealHead[], string> {
  const json = parseJson(text);
  if (json !== undefined) {
    const heads: SealHead[] = [];
    const broken = collect(member(member(json, 'audit'), 'heads') ?? json, MAX_DEPTH, heads);
    return broken === undefined ? ok(heads) : err(`"${printable(broken.slice(0, MAX_SHOWN))}" is no head`);
  }
  const heads: SealHead[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const head = parseHead(line.trim());
    if (!head.ok) return err(`line ${i + 1} is ${head.error}`);
    heads.push(head.value);
  }
  return ok(heads);
}

/** Every text below that is a head: what stands around them may change. @returns what is called a head and is none */
function collect(value: unknown, depth: number, heads: SealHead[], name = ''): string | undefined {
  if (typeof value === 'string') {
    const head = parseHead(value);
    if (head.ok) heads.push(head.value);
    else if (name === 'head') return value; // passed over, it would be one head less to find
    return undefined;
  }
  if (typeof value !== 'object' || value === null || depth === 0) return undefined;
  for (const [inner, part] of Object.entries(value)) {
    const broken = collect(part, depth - 1, heads, inner);
    if (broken !== undefined) return broken;
  }
  return undefined;
}

const member = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? (value as Readonly<Record<string, unknown>>)[name]
    : undefined;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
