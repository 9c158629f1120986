import { err, ok, type Result } from '../reasons.js';
import { escapeDnText } from './char-class.js';

/** What a `forward.headers` template may name: a closed set, all of it verified or from the registry. */
export const forwardTemplateFields = [
  'id',
  'trustDomain',
  'path',
  'serial',
  'sha256',
  'subject',
  'issuer',
  'notAfter',
  'owner',
  'environment',
] as const;
export type ForwardTemplateField = (typeof forwardTemplateFields)[number];
export type ForwardTemplateValues = Readonly<Record<ForwardTemplateField, string | undefined>>;

/** Literal texts and fields in turn: literals[0] fields[0] literals[1] … */
export interface ForwardTemplate {
  readonly literals: readonly string[];
  readonly fields: readonly ForwardTemplateField[];
}

const isField = (name: string): name is ForwardTemplateField =>
  (forwardTemplateFields as readonly string[]).includes(name);

/** Reads `{field}` and text; `{{` and `}}` stand for braces. The error says what is wrong, for `check`. */
export function parseForwardTemplate(text: string): Result<ForwardTemplate, string> {
  if (text === '') return err('an empty template sets no header');
  const literals: string[] = [];
  const fields: ForwardTemplateField[] = [];
  let literal = '';
  for (let i = 0; i < text.length; i++) {
    const char = text.charAt(i);
    const code = text.charCodeAt(i);
    if (code < 0x20 || code > 0x7e) return err('only printable ASCII may stand in a header');
    if ((char === '{' || char === '}') && text.charAt(i + 1) === char) {
      literal += char;
      i++;
    } else if (char === '}') {
      return err('a `}` without its `{`; write `}}` for a brace');
    } else if (char === '{') {
      const close = text.indexOf('}', i);
      if (close < 0) return err('a `{` without its `}`; write `{{` for a brace');
      const name = text.slice(i + 1, close);
      if (!isField(name))
        return err(`unknown field {${name}}; there are ${forwardTemplateFields.join(', ')}`);
      literals.push(literal);
      fields.push(name);
      literal = '';
      i = close;
    } else {
      literal += char;
    }
  }
  literals.push(literal);
  return ok({ literals, fields });
}

/** The header's value, or undefined when one of its fields is not known: half a value could be taken for another's. */
export function formatForwardTemplate(
  template: ForwardTemplate,
  values: ForwardTemplateValues,
): string | undefined {
  let out = template.literals[0] ?? '';
  for (let i = 0; i < template.fields.length; i++) {
    const field = template.fields[i];
    const value = field === undefined ? undefined : values[field];
    if (value === undefined || value === '') return undefined;
    out += escapeDnText(value) + (template.literals[i + 1] ?? '');
  }
  return out;
}
