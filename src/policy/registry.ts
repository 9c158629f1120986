import { createHash } from 'node:crypto';
import type { SpiffeId } from '../identity/spiffe-id.js';
import type { PrincipalPattern } from './pattern.js';
import { RankedPatterns } from './ranked-patterns.js';

/** Who answers for the identities of a pattern. */
export interface RegistryEntry {
  readonly pattern: PrincipalPattern;
  readonly owner: string;
  readonly environment: string | undefined;
  readonly contact: string | undefined;
  readonly purpose: string | undefined;
}

/** What becomes of a verified identity that no entry knows; `flag` lets it in and says so. */
export type Unregistered = 'allow' | 'flag' | 'deny';

/** Checked, and plain data, which another thread may have read. No pattern is there twice (the file reader sees to it). */
export interface RegistryInput {
  readonly unregistered: Unregistered;
  readonly entries: readonly RegistryEntry[];
}

export interface Registry extends RegistryInput {
  /** SHA-256 (16 hex digits) of what it says, in whatever order. */
  readonly revision: string;
  /** The most specific entry for this identity. */
  find(id: SpiffeId): RegistryEntry | undefined;
}

/** Compiles checked entries; their order decides nothing. */
export const compileRegistry = (input: RegistryInput): Registry => new CompiledRegistry(input);

/** What callers choose to show must not grow the memory: forgotten whole when it is full. */
const MAX_REMEMBERED = 10_000;

class CompiledRegistry implements Registry {
  readonly unregistered: Unregistered;
  readonly entries: readonly RegistryEntry[];
  readonly revision: string;
  /** Entries without a wildcard: nothing is more specific, so that no pattern need be looked at. */
  readonly #exact = new Map<string, RegistryEntry>();
  readonly #domains = new Map<string, RankedPatterns<RegistryEntry>>();
  readonly #remembered = new Map<string, RegistryEntry | undefined>();

  constructor({ unregistered, entries }: RegistryInput) {
    this.unregistered = unregistered;
    this.entries = entries;
    const sorted = [...entries].sort(byText);
    this.revision = createHash('sha256')
      .update(canonicalText(unregistered, sorted))
      .digest('hex')
      .slice(0, 16);
    const patterns = new Map<string, RegistryEntry[]>();
    for (const entry of sorted) {
      const { text, trustDomain, segments } = entry.pattern;
      if (isExact(segments)) {
        this.#exact.set(text, entry);
        continue;
      }
      const list = patterns.get(trustDomain);
      if (list === undefined) patterns.set(trustDomain, [entry]);
      else list.push(entry);
    }
    for (const [domain, list] of patterns) this.#domains.set(domain, rankEntries(list));
  }

  find(id: SpiffeId): RegistryEntry | undefined {
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

/** In an order that no file decides: of two equally specific patterns the first by its text is taken. */
export const rankEntries = (entries: readonly RegistryEntry[]): RankedPatterns<RegistryEntry> =>
  new RankedPatterns([...entries].sort(byText), (entry) => entry.pattern.segments);

export const isExact = (segments: readonly string[]): boolean =>
  segments.every((segment) => segment !== '*' && segment !== '**');

/** What a pattern stands for, however often it says `**`. */
export const patternKey = ({ trustDomain, segments }: PrincipalPattern): string =>
  `${trustDomain}/${segments.join('/')}`;

const byText = ({ pattern: a }: RegistryEntry, { pattern: b }: RegistryEntry): number =>
  a.text < b.text ? -1 : a.text > b.text ? 1 : 0;

const canonicalText = (unregistered: Unregistered, sorted: readonly RegistryEntry[]): string =>
  JSON.stringify([
    unregistered,
    sorted.map(({ pattern, owner, environment, contact, purpose }) => [
      pattern.text,
      owner,
      environment ?? null,
      contact ?? null,
      purpose ?? null,
    ]),
  ]);
