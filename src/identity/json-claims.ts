import { JsonNumber, type JsonObject, type JsonValue } from './strict-json.js';
import type { Claims } from './token-template.js';

/** The members of a JSON object as plain values, without a prototype: `__proto__` and `constructor` are names like others. */
export function toClaims(members: JsonObject): Claims {
  const claims = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of members) claims[name] = toValue(value);
  return claims;
}

function toValue(value: JsonValue): unknown {
  if (value instanceof JsonNumber) return toNumber(value.text);
  if (value instanceof Map) return toClaims(value as JsonObject);
  if (Array.isArray(value)) return value.map((item: JsonValue) => toValue(item));
  return value;
}

/** An integer that a double cannot hold stays text: rounded, two identities by number would become one. */
function toNumber(text: string): number | string {
  const value = Number(text);
  if (!Number.isFinite(value)) return text;
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? text : value;
}
