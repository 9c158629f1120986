import { parseStrictJson } from '../identity/strict-json.js';
import type { Problem } from './problem.js';
import { formatPath, type YamlText } from './yaml-text.js';

/** What came of the body of an order: its value, or every problem in it. */
export type ParsedRequest<T> = { readonly value?: T; readonly problems: readonly Problem[] };

/** JSON as the schemas take it: strict, no name twice. There are no lines to show, only the path. */
export function readJson(bytes: Uint8Array, shape: (value: unknown) => unknown): YamlText {
  const problemAt: YamlText['problemAt'] = (path, message) => ({
    file: 'body',
    line: 1,
    column: 1,
    path: formatPath(path),
    message,
  });
  const strict = parseStrictJson(bytes);
  const value: unknown = strict.ok ? shape(JSON.parse(Buffer.from(bytes).toString('utf8'))) : undefined;
  return {
    file: 'body',
    value,
    problems: strict.ok ? [] : [problemAt([], `is not JSON: ${strict.error}`)],
    problemAt,
    problemInside: (path, _offset, message) => problemAt(path, message),
    problemAtKey: (path, key, message) => problemAt([...path, key], message),
  };
}

/** JSON in one line of YAML (1.2 holds JSON), but for characters that a reader of lines may take for an end. */
export const jsonLine = (value: object): string =>
  JSON.stringify(value).replace(/[\u2028\u2029\ufeff]/g, (c) => `\\u${c.charCodeAt(0).toString(16)}`);
