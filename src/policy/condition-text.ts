import { TypeError as CelTypeError, ParseError } from '@marcbachmann/cel-js';
import type { CelNode } from './condition-ast.js';
import { MAX_NESTING, MAX_NODES } from './condition-schema.js';
import type { ConditionProblem } from './condition-shape.js';

const MAX_TEXT = 2048;
/** Controls but tab and line ends, lone surrogates, and signs that make a text read otherwise than it is. */
const UNFIT =
  /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]|\p{Surrogate}/u;

export function findUnfitCharacter(text: string): ConditionProblem | undefined {
  if (text.length > MAX_TEXT) return { message: `is longer than ${MAX_TEXT} characters`, offset: MAX_TEXT };
  if (text.trim() === '') return { message: 'is empty: leave it out to mean any', offset: 0 };
  const match = UNFIT.exec(text);
  if (match === null) return undefined;
  const code = match[0].charCodeAt(0).toString(16).toUpperCase().padStart(4, '0');
  return { message: `U+${code} cannot be seen, and may not stand here`, offset: match.index };
}

/** YAML that folds lines would put all that follows a comment into it: half of the condition would be gone. */
export function findComment(text: string, texts: readonly CelNode[]): ConditionProblem | undefined {
  for (let at = text.indexOf('//'); at !== -1; at = text.indexOf('//', at + 1)) {
    if (!texts.some(({ start, end }) => start <= at && at < end))
      return { message: "a condition holds no comments: use YAML's, before it", offset: at };
  }
  return undefined;
}

/** What the library says of a text, in words for people; anything else it throws says that the text is beyond it. */
export function problemOf(error: unknown, text: string): ConditionProblem {
  if (!(error instanceof ParseError) && !(error instanceof CelTypeError))
    return { message: 'cannot be read: make it simpler', offset: 0 };
  if (error.code === 'limit_exceeded') return { message: TOO_LARGE, offset: offsetOf(error, text) };
  const message = error.summary
    .replaceAll('google.protobuf.', '')
    .replace(/\b(Timestamp|Duration)\b/g, (word) => word.toLowerCase())
    .replace(/\b[A-Z]{3,}\b/g, (token) => tokens.get(token) ?? token);
  const offset = offsetOf(error, text);
  return { message: `${message.slice(0, 200)}${hintAt(text, offset)}`, offset };
}

/** Words and signs of other languages, where the library only knows that something is wrong. */
function hintAt(text: string, offset: number): string {
  const [, foreign] = /^(and|or|=|&|\|)(?!\w)/i.exec(text.slice(offset)) ?? [];
  if (foreign !== undefined) return `: write ${operators.get(foreign.toLowerCase())}`;
  return /\bnot\s+$/i.test(text.slice(0, offset)) ? ': write ! for not' : '';
}

const operators: ReadonlyMap<string, string> = new Map([
  ['and', '&& for and'],
  ['&', '&& for and'],
  ['or', '|| for or'],
  ['|', '|| for or'],
  ['=', '== to compare'],
]);

const offsetOf = (error: ParseError | CelTypeError, text: string): number =>
  Math.min(error.range?.start ?? 0, text.length);

const TOO_LARGE = `is too large: at most ${MAX_NODES} parts, ${MAX_NESTING} brackets or calls inside each other, and 4 arguments`;

const tokens: ReadonlyMap<string, string> = new Map([
  ['EOF', 'the end'],
  ['LPAREN', '"("'],
  ['RPAREN', '")"'],
  ['LBRACKET', '"["'],
  ['RBRACKET', '"]"'],
  ['LBRACE', '"{"'],
  ['RBRACE', '"}"'],
  ['COMMA', '","'],
  ['COLON', '":"'],
  ['DOT', '"."'],
  ['QUESTION', '"?"'],
  ['IDENTIFIER', 'a name'],
]);
