import { ConditionFault } from './facts.js';

/** What a caller sends must not set the price; some servers drop what comes after so many (PHP, 1,000). */
const MAX_PARAMETERS = 256;

/**
 * The one value of a query parameter (application/x-www-form-urlencoded, as most servers read it), or undefined. Of a name
 * that is there twice, in another spelling or beside a `;`, of one among too many, or in a query that cannot be decoded,
 * servers read different things: a fault.
 * @param query with or without its `?`
 */
export function readQueryParameter(query: string, name: string): string | undefined {
  const spelling = spellingOf(name);
  let found: string | undefined;
  let behind = 0;
  for (const pair of pairsOf(query)) {
    // Some servers part pairs at `;` too: of what stands behind one nothing may be this name, nor end its value.
    const [first = '', ...more] = pair.includes(';') ? partsOf(pair, ';') : [pair];
    behind += more.length;
    if (behind > MAX_PARAMETERS) throw tooMany();
    const isNamed = isName(first, name, spelling);
    if (more.some((part) => isName(part, name, spelling)) || (isNamed && more.length > 0))
      throw new ConditionFault(`query parameter ${name} stands beside a ";"`);
    if (!isNamed) continue;
    if (found !== undefined) throw new ConditionFault(`query parameter ${name} is there more than once`);
    found = first.includes('=') ? decode(first.slice(first.indexOf('=') + 1)) : '';
  }
  return found;
}

const pairsOf = (query: string): readonly string[] =>
  partsOf(query.startsWith('?') ? query.slice(1) : query, '&');

function partsOf(text: string, separator: string): readonly string[] {
  const parts = text.split(separator, MAX_PARAMETERS + 1);
  if (parts.length > MAX_PARAMETERS) throw tooMany();
  return parts;
}

const tooMany = (): ConditionFault =>
  new ConditionFault(`the query has more than ${MAX_PARAMETERS} parameters`);

function isName(pair: string, name: string, spelling: string): boolean {
  const equals = pair.indexOf('=');
  const written = decode(equals < 0 ? pair : pair.slice(0, equals));
  if (written === name) return true;
  if (spellingOf(written) === spelling)
    throw new ConditionFault(`query parameter ${name} is there in another spelling`);
  return false;
}

/** What lax servers make of a name: no case (ASP.NET); no blanks before it, nothing from `[` or NUL on, `_` for `.` and blank (PHP). */
function spellingOf(name: string): string {
  const end = name.search(/[[\0]/);
  const kept = end > 0 ? name.slice(0, end) : name;
  return kept.trimStart().toLowerCase().replace(/[. ]/g, '_');
}

function decode(text: string): string {
  if (!/[%+]/.test(text)) return text;
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new ConditionFault('the query cannot be decoded');
  }
}
