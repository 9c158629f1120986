import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  type Range,
  type YAMLError,
} from 'yaml';
import type { Problem } from './problem.js';

export type KeyPath = readonly PropertyKey[];

/** A file's text as plain data, and the way back from any key to its line. */
export interface YamlText {
  readonly file: string;
  /** Undefined when there are problems. */
  readonly value: unknown;
  readonly problems: readonly Problem[];
  /** Problem at the value of `path`, or at the nearest thing above it that is written down. */
  problemAt(path: KeyPath, message: string): Problem;
  /** Problem at a character of the text at `path`, counted from 0, where the file shows which one that is. */
  problemInside(path: KeyPath, offset: number, message: string): Problem;
  /** Problem at the key itself, for keys that should not be there. */
  problemAtKey(path: KeyPath, key: string, message: string): Problem;
}

const MAX_BYTES = 16 * 1024 * 1024;
const MAX_PROBLEMS = 200;

/**
 * Reads one YAML 1.2 document, strictly: no aliases (which can grow without bound), no tags, no second document, no key
 * twice, no key that is not text. What two readers could read differently is refused.
 */
export function readYaml(bytes: Uint8Array | string, file: string): YamlText {
  const text = decode(bytes);
  if (!text.ok) return broken(file, text.line, text.column, text.message);
  const lines = new LineCounter();
  let document: Document.Parsed;
  try {
    document = parseDocument(text.value, {
      lineCounter: lines,
      version: '1.2',
      schema: 'core',
      strict: true,
      uniqueKeys: true,
      stringKeys: false,
      merge: false,
      prettyErrors: false,
      logLevel: 'error', // 'silent' would also hide that a second document was left out
    });
  } catch {
    return broken(file, 1, 1, 'is nested too deeply to be read');
  }
  const at = (offset: number, path: KeyPath, message: string): Problem => {
    const { line, col } = lines.linePos(Math.max(0, offset));
    return { file, line: Math.max(1, line), column: Math.max(1, col), path: formatPath(path), message };
  };
  const problems = withoutFollowers([...document.errors, ...document.warnings]).map((error) =>
    at(error.pos[0], [], syntaxMessage(error)),
  );
  const value = toValue(document.contents, [], (node, path, message) => {
    if (problems.length < MAX_PROBLEMS) problems.push(at(startOf(node), path, message));
  });
  return {
    file,
    value: problems.length === 0 ? value : undefined,
    problems,
    problemAt: (path, message) => at(startOf(locate(document.contents, path, false)), path, message),
    problemInside: (path, offset, message) =>
      at(placeInside(locate(document.contents, path, false), offset, text.value), path, message),
    problemAtKey: (path, key, message) =>
      at(startOf(locate(document.contents, [...path, key], true)), [...path, key], message),
  };
}

/** `listeners[0].routes[1].path`: the way a person points at a key. */
export function formatPath(path: KeyPath): string {
  let text = '';
  for (const key of path) {
    if (typeof key === 'number') text += `[${key}]`;
    else text += text === '' ? String(key) : `.${String(key)}`;
  }
  return text;
}

type Decoded =
  | { readonly ok: true; readonly value: string }
  | { readonly ok: false; readonly line: number; readonly column: number; readonly message: string };

function decode(bytes: Uint8Array | string): Decoded {
  if (bytes.length > MAX_BYTES) return { ok: false, line: 1, column: 1, message: 'is larger than 16 MiB' };
  if (typeof bytes === 'string') return { ok: true, value: bytes };
  try {
    return { ok: true, value: new TextDecoder('utf-8', { fatal: true }).decode(bytes) };
  } catch {
    return { ok: false, ...placeOfBadByte(bytes), message: 'is not UTF-8 text' };
  }
}

/** Lossy decoding puts U+FFFD where the first bad byte is; a real U+FFFD before it would only move the pointer. */
function placeOfBadByte(bytes: Uint8Array): { line: number; column: number } {
  const before = new TextDecoder().decode(bytes).split('\uFFFD')[0] ?? '';
  const lines = before.split('\n');
  return { line: lines.length, column: (lines[lines.length - 1] ?? '').length + 1 };
}

const broken = (file: string, line: number, column: number, message: string): YamlText => {
  const problem = (path: KeyPath, text: string): Problem => ({
    file,
    line,
    column,
    path: formatPath(path),
    message: text,
  });
  return {
    file,
    value: undefined,
    problems: [problem([], message)],
    problemAt: problem,
    problemInside: (path, _offset, text) => problem(path, text),
    problemAtKey: (path, key, text) => problem([...path, key], text),
  };
};

/** After the first break in the structure the parser stumbles over everything that follows: only the first one helps. */
function withoutFollowers(errors: readonly YAMLError[]): YAMLError[] {
  let broken = false;
  return errors.filter(({ code }) => {
    if (code === 'DUPLICATE_KEY' || code === 'TAG_RESOLVE_FAILED' || code === 'MULTIPLE_DOCS') return !broken;
    const first = !broken;
    broken = true;
    return first;
  });
}

function syntaxMessage(error: YAMLError): string {
  switch (error.code) {
    case 'DUPLICATE_KEY':
      return 'this key is here twice';
    case 'MULTIPLE_DOCS':
      return 'a second document begins here; one file holds one document';
    case 'TAB_AS_INDENT':
      return 'a tab cannot indent YAML; use spaces';
    case 'TAG_RESOLVE_FAILED':
      return NO_TAGS;
    default:
      if (/call stack/.test(error.message)) return 'is nested too deeply to be read';
      return `${error.message.replaceAll('\n', ' ')}${hintOf(error)}`;
  }
}

const NO_TAGS = 'tags are not allowed; text that begins with ! stands in single quotes';

/** A `when` that begins with a quoted name ends there for YAML. */
const hintOf = ({ message }: YAMLError): string =>
  message.startsWith('Unexpected scalar at node end')
    ? ': the text before it is closed; text with quotes in it stands in single quotes as a whole'
    : '';

type Report = (node: Node | null, path: KeyPath, message: string) => void;

function toValue(node: unknown, path: KeyPath, report: Report): unknown {
  if (node === null || node === undefined) return null;
  if (isAlias(node)) {
    report(node, path, 'aliases are not allowed; write the value out');
    return null;
  }
  if (!isScalar(node) && !isMap(node) && !isSeq(node)) return null;
  if (node.anchor !== undefined) report(node, path, 'anchors are not allowed; write the value out');
  if (node.tag !== undefined) report(node, path, NO_TAGS);
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item, index) => toValue(item, [...path, index], report));
  const value: Record<string, unknown> = {};
  for (const pair of node.items) {
    const key = pair.key;
    if (!isScalar(key) || typeof key.value !== 'string') {
      report(isScalar(key) || isMap(key) || isSeq(key) ? key : node, path, 'a key must be text; quote it');
    } else if (key.value === '__proto__') {
      report(key, path, '`__proto__` cannot be a key');
    } else {
      value[key.value] = toValue(pair.value, [...path, key.value], report);
    }
  }
  return value;
}

function startOf(node: unknown): number {
  const range = isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range : undefined;
  return (range as Range | null | undefined)?.[0] ?? 0;
}

/** Where a character of a scalar's value stands in the file; the scalar's own place where escapes or folding hide that. */
function placeInside(node: unknown, offset: number, file: string): number {
  const start = startOf(node);
  if (!isScalar(node) || typeof node.value !== 'string' || !node.range) return start;
  const { value } = node;
  const source = file.slice(start, node.range[1]);
  if (node.type === 'BLOCK_LITERAL') return start + placeInBlock(source, value, offset);
  const quote = node.type === 'PLAIN' ? 0 : 1;
  return source.slice(quote, source.length - quote) === value ? start + quote + offset : start;
}

function placeInBlock(source: string, value: string, offset: number): number {
  const before = value.slice(0, offset).split('\n');
  const lines = source.split('\n');
  const line = lines[before.length];
  if (line === undefined) return 0;
  const text = value.split('\n')[before.length - 1] ?? '';
  const indent = line.lastIndexOf(text);
  const from = lines.slice(0, before.length).reduce((sum, { length }) => sum + length + 1, 0);
  return indent < 0 ? 0 : from + indent + (before.at(-1) ?? '').length;
}

/** The node at `path`, or the deepest one above it; with `key`, the last step finds the key instead of its value. */
function locate(root: unknown, path: KeyPath, key: boolean): unknown {
  let at: unknown = root;
  for (const [depth, step] of path.entries()) {
    let next: unknown;
    if (isMap(at)) {
      const pair = at.items.find((item) => isPair(item) && isScalar(item.key) && item.key.value === step);
      const wantsKey = key && depth === path.length - 1;
      // An empty value has no place of its own: its key stands for it.
      next = pair === undefined ? undefined : wantsKey || isEmpty(pair.value) ? pair.key : pair.value;
    } else if (isSeq(at) && typeof step === 'number') {
      next = at.items[step];
    }
    if (next === undefined || next === null) return at;
    at = next;
  }
  return at;
}

const isEmpty = (node: unknown): boolean =>
  node === null || node === undefined || (isScalar(node) && node.value === null);
