import { parseArgs } from 'node:util';
import { FACET_NAMES, type FacetName, isFacetName } from '../audit/record-facets.js';
import type { Criteria } from '../audit/record-query.js';
import { parseTimestamp } from '../config/units.js';
import { parsePrincipalId } from '../identity/principal-id.js';
import { matchPrincipal, type PrincipalPattern, parsePrincipalPattern } from '../policy/pattern.js';

export interface QueryOptions {
  readonly files: readonly string[];
  readonly criteria: Criteria;
  readonly format: 'table' | 'ndjson';
  /** Undefined = each record. */
  readonly by: readonly FacetName[] | undefined;
  readonly limit: number;
}

const MAX_LIMIT = Number.MAX_SAFE_INTEGER;

/** What is asked, or `help`, or, for a person, what is wrong with it. */
export function readQueryOptions(
  argv: readonly string[],
): QueryOptions | 'help' | { readonly wrong: string } {
  const parsed = parseOptions(argv);
  if (typeof parsed === 'string') return { wrong: parsed };
  const { values, positionals: files } = parsed;
  if (values.help) return 'help';
  if (files.length === 0) return { wrong: 'say where the records are: FILE..., or - for standard input' };
  if (files.includes('')) return { wrong: 'the name of a file is empty' };
  const { format = 'table', effect, limit = String(MAX_LIMIT) } = values;
  if (format !== 'table' && format !== 'ndjson') return { wrong: '--format is table or ndjson' };
  if (effect !== undefined && effect !== 'allow' && effect !== 'deny')
    return { wrong: '--effect is allow or deny' };
  if (!/^[1-9]\d{0,15}$/.test(limit)) return { wrong: '--limit is a number from 1' };
  const by = facetsOf(values.by);
  if (typeof by === 'string') return { wrong: by };
  const identity = identityTestOf(values.identity, '--identity');
  if (typeof identity === 'string') return { wrong: identity };
  const subject = identityTestOf(values['behalf-of'], '--behalf-of');
  if (typeof subject === 'string') return { wrong: subject };
  const period = periodOf(values);
  if (typeof period === 'string') return { wrong: period };
  const { id: ids, token: tokens, destination: destinations, rule: rules, exception: exceptions } = values;
  const { reason: reasons, event: events, listener: listeners } = values;
  return {
    files,
    criteria: {
      isIdentity: identity,
      isSubject: subject,
      ids,
      tokens,
      destinations,
      rules,
      exceptions,
      reasons,
      events,
      listeners,
      effect,
      ...period,
    },
    format,
    by,
    limit: Number(limit),
  };
}

function facetsOf(text: string | undefined): readonly FacetName[] | string | undefined {
  if (text === undefined) return undefined;
  const names = [...new Set(text.split(','))];
  const unknown = names.find((name) => !isFacetName(name));
  if (unknown !== undefined) return `--by: there is no "${unknown}"; there are ${FACET_NAMES.join(', ')}`;
  return names.filter(isFacetName);
}

/** IDs come again and again; what is read may hold any number of them. */
const MAX_KNOWN_IDS = 10_000;

function identityTestOf(
  texts: readonly string[] | undefined,
  option: string,
): ((id: string) => boolean) | string | undefined {
  if (texts === undefined) return undefined;
  const patterns: PrincipalPattern[] = [];
  for (const text of texts) {
    const pattern = parsePrincipalPattern(text);
    if (!pattern.ok) return `${option} ${text}: ${pattern.error}`;
    patterns.push(pattern.value);
  }
  const known = new Map<string, boolean>();
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const id = parsePrincipalId(text);
    const fits = id.ok && patterns.some((pattern) => matchPrincipal(pattern, id.value));
    if (known.size >= MAX_KNOWN_IDS) known.clear();
    known.set(text, fits);
    return fits;
  };
}

function periodOf(texts: {
  readonly since?: string | undefined;
  readonly until?: string | undefined;
}): Pick<Criteria, 'sinceMs' | 'untilMs'> | string {
  const since = texts.since === undefined ? undefined : parseTimestamp(texts.since);
  const until = texts.until === undefined ? undefined : parseTimestamp(texts.until);
  if (since?.ok === false) return `--since: ${since.error}`;
  if (until?.ok === false) return `--until: ${until.error}`;
  if (since !== undefined && until !== undefined && since.value >= until.value)
    return '--since must be before --until';
  return { sinceMs: since?.value, untilMs: until?.value };
}

const several = { type: 'string', multiple: true } as const;
const one = { type: 'string' } as const;

function parseOptions(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        identity: several,
        'behalf-of': several,
        destination: several,
        rule: several,
        exception: several,
        reason: several,
        event: several,
        listener: several,
        id: several,
        token: several,
        effect: one,
        since: one,
        until: one,
        by: one,
        format: one,
        limit: one,
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowPositionals: true,
    });
  } catch (error) {
    return (error as Error).message;
  }
}
