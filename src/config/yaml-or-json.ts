import { parseStrictJson } from '../identity/strict-json.js';
import { readYaml, type YamlText } from './yaml-text.js';

const BRACE = 0x7b;

/**
 * Reads YAML, and JSON, which is YAML as well, in a tenth of its time and memory: what programs write may be large. Anything
 * that is not strict JSON is read as YAML, which says what is wrong with it.
 */
export function readYamlOrJson(text: string | Uint8Array, file: string): YamlText {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  if (bytes[0] !== BRACE || bytes.length > MAX_BYTES || !parseStrictJson(bytes).ok)
    return readYaml(text, file);
  let yaml: YamlText | undefined;
  /** Only who complains wants to know the line. */
  const places = (): YamlText => {
    yaml ??= readYaml(text, file);
    return yaml;
  };
  return {
    file,
    value: JSON.parse(Buffer.from(bytes).toString('utf8')) as unknown,
    problems: [],
    problemAt: (path, message) => places().problemAt(path, message),
    problemInside: (path, offset, message) => places().problemInside(path, offset, message),
    problemAtKey: (path, key, message) => places().problemAtKey(path, key, message),
  };
}

/** As for YAML. */
const MAX_BYTES = 16 * 1024 * 1024;
