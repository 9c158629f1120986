import { createHash, type Hash } from 'node:crypto';
import { type ExceptionInput, keyOfException } from './exception.js';
import type { PolicyParts, Rule } from './policy.js';

/** Exceptions in any order: a grant that came first on one replica may come second on another. */
export function revisionOf(
  { rules, reads, registry }: PolicyParts,
  exceptions: readonly ExceptionInput[],
): string {
  const digest = createHash('sha256');
  addTo(digest, rules.digest);
  const read = [sorted(reads.headers), sorted(reads.query), registry?.revision ?? null];
  addTo(digest, JSON.stringify(reads.claims.length === 0 ? read : [...read, sorted(reads.claims)]));
  for (const key of sorted(exceptions.map(keyOfException))) addTo(digest, key);
  return digest.digest('hex').slice(0, 16);
}

/** Every text with its length before it: no two lists of texts make one stream. */
export const addTo = (digest: Hash, text: string): Hash => digest.update(`${text.length}:`).update(text);

/** Order of rules counts (it names the deciding one); order inside a rule's lists does not. */
export const canonicalText = (rule: Rule): string =>
  JSON.stringify([
    rule.id,
    rule.owner ?? null,
    rule.effect,
    rule.mode,
    sorted(rule.principals.map((pattern) => pattern.text)),
    sorted(rule.destinations),
    rule.methods === undefined ? null : sorted(rule.methods),
    rule.paths === undefined ? null : sorted(rule.paths.map((pattern) => pattern.text)),
    rule.condition?.text ?? null,
    // only where it is said: policies that do not keep their revision
    ...(rule.behalfOf === undefined ? [] : [sorted(rule.behalfOf.map((pattern) => pattern.text))]),
  ]);

const sorted = (values: Iterable<string>): string[] => [...new Set(values)].sort();
