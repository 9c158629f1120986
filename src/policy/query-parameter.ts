import { ConditionFault } from './facts.js';

/**
 * The one value of a query parameter (application/x-www-form-urlencoded, as most servers read it), or undefined. Of a name
 * that is there twice, or a query that cannot be decoded, servers read different things: a fault.
 * @param query with or without its `?`
 */
export function readQueryParameter(query: string, name: string): string | undefined {
  let found: string | undefined;
  for (const pair of (query.startsWith('?') ? query.slice(1) : query).split('&')) {
    const equals = pair.indexOf('=');
    if (decode(equals < 0 ? pair : pair.slice(0, equals)) !== name) continue;
    if (found !== undefined) throw new ConditionFault(`query parameter ${name} is there more than once`);
    found = equals < 0 ? '' : decode(pair.slice(equals + 1));
  }
  return found;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    throw new ConditionFault('the query cannot be decoded');
  }
}
