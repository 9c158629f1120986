import { err, type Result } from '../reasons.js';
import { type PathPattern, parsePathPattern, splitPath } from './pattern.js';
import { RankedPatterns } from './ranked-patterns.js';

/** `/invoices/{id}`: what records say in place of the paths that fit it. */
export type PathTemplate = PathPattern;

/** What stands for a path that fits no template: which one it was is nobody's business either. */
export const ANY_PATH = '/**';

const NAMED_SEGMENT = /^\{[A-Za-z][A-Za-z0-9_-]{0,63}\}$/;

/** Reads `/invoices/{id}/lines/*`: a path pattern in which `{name}` is one segment, like `*`. */
export function parsePathTemplate(text: string): Result<PathTemplate, string> {
  const segments = text.split('/').map((segment) => (NAMED_SEGMENT.test(segment) ? '*' : segment));
  const wrong = segments.find((segment) => /[{}]/.test(segment));
  if (wrong !== undefined)
    return err(
      `"${wrong}": a {name} of letters, digits, _ or - stands for a whole segment, never for part of one`,
    );
  const pattern = parsePathPattern(segments.join('/'));
  return pattern.ok ? { ok: true, value: { ...pattern.value, text } } : pattern;
}

/** Puts templates in place of paths; of several that fit, the most specific as among routes. */
export class PathTemplates {
  readonly #ranked: RankedPatterns<PathTemplate>;

  constructor(templates: readonly PathTemplate[]) {
    this.#ranked = RankedPatterns.of(templates, ({ segments }) => segments);
  }

  /** Never the path itself, whatever it is: one that was refused may hold what others must not know, too. */
  templateOf(path: string): string {
    return this.#ranked.best(splitPath(path))?.text ?? ANY_PATH;
  }
}
