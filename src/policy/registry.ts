import { createHash } from 'node:crypto';
import type { PrincipalId } from '../identity/principal-id.js';
import type { AccessRequest } from './decision.js';
import { matchPrincipal, type PrincipalPattern, parsePrincipalPattern } from './pattern.js';
import { compareSpecificity, RankedPatterns } from './ranked-patterns.js';

/** Who answers for the identities of a pattern. */
export interface RegistryEntry {
  readonly pattern: PrincipalPattern;
  readonly owner: string;
  readonly environment: string | undefined;
  readonly contact: string | undefined;
  readonly purpose: string | undefined;
  /** For whom it may act; for nobody unless it is said. */
  readonly delegations?: readonly DelegationGrant[] | undefined;
}

/** Leave to act on behalf of others. */
export interface DelegationGrant {
  readonly for: readonly PrincipalPattern[];
  /** Upstreams or routes; undefined = all. */
  readonly destinations?: readonly string[] | undefined;
}

/** What becomes of a verified identity that no entry knows; `flag` lets it in and says so. */
export type Unregistered = 'allow' | 'flag' | 'deny';

/** Read and checked; their order decides nothing. No pattern is there twice (the file reader sees to it). */
export interface RegistryInput {
  readonly unregistered: Unregistered;
  readonly entries: readonly RegistryEntry[];
}

/** The same as a few long texts, which cross from one thread to another for next to nothing, and are read in slices. */
export interface PackedRegistry {
  readonly unregistered: Unregistered;
  readonly chunks: readonly string[];
}

export interface Registry extends RegistryInput {
  /** SHA-256 (16 hex digits) of what it says, in whatever order. */
  readonly revision: string;
  /** The most specific entry for this identity. */
  find(id: PrincipalId): RegistryEntry | undefined;
}

/** Whether a registry turns this identity away because no entry knows it. */
export const isTurnedAway = (registry: Registry | undefined, id: PrincipalId): boolean =>
  registry?.unregistered === 'deny' && registry.find(id) === undefined;

/** Whether the entry of the caller lets it act for this subject, there. A caller without an entry acts for nobody. */
export function mayActFor(
  registry: Registry,
  { principal, route, destination }: Pick<AccessRequest, 'principal' | 'route' | 'destination'>,
  subject: PrincipalId,
): boolean {
  const grants = registry.find(principal)?.delegations ?? [];
  return grants.some(
    ({ for: patterns, destinations }) =>
      (destinations === undefined || destinations.includes(destination) || destinations.includes(route)) &&
      patterns.some((pattern) => matchPrincipal(pattern, subject)),
  );
}

/** Compiles checked entries at once. */
export function compileRegistry(input: RegistryInput): Registry {
  const steps = compileRegistrySteps(packRegistry(input));
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Compiles in steps of less than a millisecond: a large registry must not hold up requests. */
export function* compileRegistrySteps({
  unregistered,
  chunks,
}: PackedRegistry): Generator<undefined, Registry> {
  const index = new RegistryIndex();
  const entries: RegistryEntry[] = [];
  const digest = createHash('sha256').update(unregistered);
  for (const chunk of chunks) {
    digest.update(chunk);
    for (const row of JSON.parse(chunk) as readonly Row[]) {
      const entry = toEntry(row);
      index.append(entry);
      entries.push(entry);
    }
    yield;
  }
  const revision = digest.digest('hex').slice(0, 16);
  return { unregistered, entries, revision, find: (id) => index.find(id) };
}

/** The last only where there are some: registries without any keep their revision. */
type Row = PlainRow | readonly [...PlainRow, delegations: readonly GrantRow[]];
type PlainRow = readonly [
  text: string,
  owner: string,
  environment: string | null,
  contact: string | null,
  purpose: string | null,
];
type GrantRow = readonly [patterns: readonly string[], destinations: readonly string[] | null];

const ENTRIES_IN_A_CHUNK = 128;

/** Puts the entries in the order that counts, the more specific first and, of two alike, by their text. */
export function packRegistry({ unregistered, entries }: RegistryInput): PackedRegistry {
  const rows = [...entries].sort(compareEntries).map(toRow);
  const chunks: string[] = [];
  for (let i = 0; i < rows.length; i += ENTRIES_IN_A_CHUNK)
    chunks.push(JSON.stringify(rows.slice(i, i + ENTRIES_IN_A_CHUNK)));
  return { unregistered, chunks };
}

function toRow({ pattern, owner, environment, contact, purpose, delegations = [] }: RegistryEntry): Row {
  const row: PlainRow = [pattern.text, owner, environment ?? null, contact ?? null, purpose ?? null];
  return delegations.length === 0 ? row : [...row, toGrantRows(delegations)];
}

/** In one order, whatever it was written in. */
const toGrantRows = (delegations: readonly DelegationGrant[]): readonly GrantRow[] =>
  delegations
    .map((grant): [string, GrantRow] => {
      const row: GrantRow = [
        sorted(grant.for.map(({ text }) => text)),
        grant.destinations === undefined ? null : sorted(grant.destinations),
      ];
      return [JSON.stringify(row), row];
    })
    .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([, row]) => row);

const sorted = (values: readonly string[]): string[] => [...new Set(values)].sort();

function toEntry([text, owner, environment, contact, purpose, delegations]: Row): RegistryEntry {
  return {
    pattern: patternOf(text),
    owner,
    environment: environment ?? undefined,
    contact: contact ?? undefined,
    purpose: purpose ?? undefined,
    ...(delegations === undefined ? {} : { delegations: delegations.map(toGrant) }),
  };
}

const toGrant = ([patterns, destinations]: GrantRow): DelegationGrant => ({
  for: patterns.map(patternOf),
  destinations: destinations ?? undefined,
});

function patternOf(text: string): PrincipalPattern {
  const pattern = parsePrincipalPattern(text);
  if (!pattern.ok) throw new Error(`${text}: ${pattern.error}`); // was checked when it was packed
  return pattern.value;
}

export function compareEntries({ pattern: a }: RegistryEntry, { pattern: b }: RegistryEntry): number {
  return compareSpecificity(a.segments, b.segments) || (a.text < b.text ? -1 : a.text > b.text ? 1 : 0);
}

/** What callers choose to show must not grow the memory: forgotten whole when it is full. */
const MAX_REMEMBERED = 10_000;

class RegistryIndex {
  /** Entries without a wildcard: nothing is more specific, so that no pattern need be looked at. */
  readonly #exact = new Map<string, RegistryEntry>();
  readonly #domains = new Map<string, RankedPatterns<RegistryEntry>>();
  readonly #remembered = new Map<string, RegistryEntry | undefined>();

  append(entry: RegistryEntry): void {
    const { text, trustDomain, segments } = entry.pattern;
    if (isExact(segments)) {
      this.#exact.set(text, entry);
      return;
    }
    let domain = this.#domains.get(trustDomain);
    if (domain === undefined) {
      domain = new RankedPatterns();
      this.#domains.set(trustDomain, domain);
    }
    domain.append(entry, segments);
  }

  find(id: PrincipalId): RegistryEntry | undefined {
    const exact = this.#exact.get(id.uri);
    if (exact !== undefined) return exact;
    const domain = this.#domains.get(id.trustDomain);
    if (domain === undefined) return undefined;
    const remembered = this.#remembered;
    const known = remembered.get(id.uri);
    if (known !== undefined || remembered.has(id.uri)) return known;
    const found = domain.best(id.segments);
    if (remembered.size >= MAX_REMEMBERED) remembered.clear();
    remembered.set(id.uri, found);
    return found;
  }
}

export const isExact = (segments: readonly string[]): boolean =>
  segments.every((segment) => segment !== '*' && segment !== '**');

/** What a pattern stands for, however often it says `**`. */
export const patternKey = ({ trustDomain, segments }: PrincipalPattern): string =>
  `${trustDomain}/${segments.join('/')}`;
