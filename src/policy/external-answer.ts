import { isJsonObject, type JsonObject, type JsonValue, parseStrictJson } from '../identity/strict-json.js';
import { err, ok, type Result } from '../reasons.js';

/** What an external engine said to one question. */
export interface EngineAnswer {
  readonly effect: 'allow' | 'deny';
  /** OPA's `decision_id`, where it keeps a log of decisions. */
  readonly id: string | undefined;
  /** The engine's words, for the record alone. */
  readonly detail: string;
  /** For how long it may be used again; 0 = not at all. */
  readonly ttlMs: number;
}

const MAX_TTL_MS = 5 * 60_000;
const MAX_ID = 128;
const MAX_REASON = 200;
const UNDEFINED = 'the engine has no such document, or its rule is undefined for this input';

/**
 * Reads the body of a 200 of OPA's data API: `result` is true, false or { allow, reason?, ttl? }. Without `result` it is a
 * deny; with any other it is no answer at all, and the error says what is wrong with it.
 */
export function parseExternalAnswer(body: Uint8Array): Result<EngineAnswer, string> {
  const document = parseStrictJson(body);
  if (!document.ok) return err(`not the JSON of an answer: ${document.error}`);
  if (!isJsonObject(document.value)) return err('the answer is no JSON object');
  const id = textOf(document.value.get('decision_id'), MAX_ID);
  const result = document.value.get('result');
  if (result === undefined) return ok({ effect: 'deny', id, detail: UNDEFINED, ttlMs: 0 });
  if (typeof result === 'boolean') return ok({ effect: effectOf(result), id, detail: '', ttlMs: 0 });
  if (!isJsonObject(result)) return err('`result` is neither true, false nor { allow, reason, ttl }');
  return parseResult(result, id);
}

const KNOWN: ReadonlySet<string> = new Set(['allow', 'reason', 'ttl']);

function parseResult(result: JsonObject, id: string | undefined): Result<EngineAnswer, string> {
  // A member that is not known may be a condition that nobody would see to, or a misspelt one of ours.
  for (const name of result.keys()) {
    if (!KNOWN.has(name))
      return err(`\`result.${name.slice(0, 40)}\` is not known; there are allow, reason, ttl`);
  }
  const allow = result.get('allow');
  if (typeof allow !== 'boolean') return err('`result.allow` must be true or false');
  const reason = result.get('reason');
  if (reason !== undefined && typeof reason !== 'string') return err('`result.reason` must be text');
  const ttlMs = parseTtl(result.get('ttl'));
  if (ttlMs === undefined) return err('`result.ttl` must be text such as "30s", with ms, s or m');
  return ok({ effect: effectOf(allow), id, detail: textOf(reason, MAX_REASON) ?? '', ttlMs });
}

const effectOf = (allow: boolean): 'allow' | 'deny' => (allow ? 'allow' : 'deny');

const textOf = (value: JsonValue | undefined, length: number): string | undefined =>
  typeof value === 'string' && value !== '' ? value.slice(0, length) : undefined;

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000 };

/** @returns undefined where it is not a duration. None is 0; a longer one than five minutes is five minutes. */
function parseTtl(value: JsonValue | undefined): number | undefined {
  if (value === undefined) return 0;
  const parts = typeof value === 'string' ? /^([0-9]{1,9})(ms|s|m)$/.exec(value) : null;
  if (parts === null) return undefined;
  return Math.min(MAX_TTL_MS, Number(parts[1]) * UNIT_MS[parts[2] ?? '']!);
}
