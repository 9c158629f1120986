import { err, ok, type Result } from '../reasons.js';

/** A number as its text: JSON.parse rounds above 2^53, and a bundle's sequence has 64 bits. */
export class JsonNumber {
  constructor(readonly text: string) {}

  /** The value when it was written as a plain integer. */
  get integer(): bigint | undefined {
    return /^-?[0-9]{1,40}$/.test(this.text) ? BigInt(this.text) : undefined;
  }
}

/** Objects are Maps: `__proto__` and `constructor` are lawful trust-domain names. */
export type JsonObject = ReadonlyMap<string, JsonValue>;
export type JsonValue = null | boolean | string | JsonNumber | readonly JsonValue[] | JsonObject;

const MAX_DEPTH = 32;
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class JsonError extends Error {}

/** Parses JSON (RFC 8259) in UTF-8 without a byte order mark; two members of one name in an object are refused, also when one is escaped. */
export function parseStrictJson(bytes: Uint8Array): Result<JsonValue, string> {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return err('it is not UTF-8');
  }
  try {
    return ok(new JsonReader(text).readDocument());
  } catch (error) {
    if (error instanceof JsonError) return err(error.message);
    throw error;
  }
}

export const isJsonObject = (value: JsonValue | undefined): value is JsonObject => value instanceof Map;
export const isJsonArray = (value: JsonValue | undefined): value is readonly JsonValue[] =>
  Array.isArray(value);

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const WORDS: readonly (readonly [string, JsonValue])[] = [
  ['null', null],
  ['true', true],
  ['false', false],
];

class JsonReader {
  private at = 0;

  constructor(private readonly text: string) {}

  readDocument(): JsonValue {
    const value = this.readValue(0);
    this.skipSpace();
    if (this.at < this.text.length) throw this.fail('text follows the JSON value');
    return value;
  }

  private readValue(depth: number): JsonValue {
    if (depth > MAX_DEPTH) throw this.fail('JSON is nested too deeply');
    this.skipSpace();
    const character = this.text.charAt(this.at);
    if (character === '{') return this.readObject(depth);
    if (character === '[') return this.readArray(depth);
    if (character === '"') return this.readString();
    for (const [word, value] of WORDS) {
      if (!this.text.startsWith(word, this.at)) continue;
      this.at += word.length;
      return value;
    }
    NUMBER.lastIndex = this.at;
    const number = NUMBER.exec(this.text)?.[0];
    if (number === undefined) throw this.fail('malformed JSON');
    this.at += number.length;
    return new JsonNumber(number);
  }

  private readObject(depth: number): JsonObject {
    const members = new Map<string, JsonValue>();
    this.at++;
    if (this.takes('}')) return members;
    do {
      this.skipSpace();
      const name = this.readString();
      if (members.has(name)) throw this.fail(`the member ${JSON.stringify(name)} is there twice`);
      if (!this.takes(':')) throw this.fail('malformed JSON');
      members.set(name, this.readValue(depth + 1));
    } while (this.takes(','));
    if (!this.takes('}')) throw this.fail('malformed JSON');
    return members;
  }

  private readArray(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    this.at++;
    if (this.takes(']')) return items;
    do items.push(this.readValue(depth + 1));
    while (this.takes(','));
    if (!this.takes(']')) throw this.fail('malformed JSON');
    return items;
  }

  private readString(): string {
    const start = this.at;
    if (this.text.charAt(start) !== '"') throw this.fail('malformed JSON');
    let end = start + 1;
    while (end < this.text.length && this.text.charAt(end) !== '"')
      end += this.text.charAt(end) === '\\' ? 2 : 1;
    this.at = end + 1;
    try {
      return JSON.parse(this.text.slice(start, end + 1)) as string; // knows the escapes, refuses control characters
    } catch {
      throw this.fail('malformed text in JSON');
    }
  }

  private takes(character: string): boolean {
    this.skipSpace();
    if (this.text.charAt(this.at) !== character) return false;
    this.at++;
    return true;
  }

  private skipSpace(): void {
    for (;;) {
      const code = this.text.charCodeAt(this.at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.at++;
    }
  }

  private fail(what: string): JsonError {
    return new JsonError(`${what} (at character ${this.at})`);
  }
}
