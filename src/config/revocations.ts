import { createHash } from 'node:crypto';
import { createRevocationList, type RevocationEntry, type RevocationList } from '../identity/revocation.js';
import { checkShape } from './issues.js';
import { jsonLine, type ParsedRequest, readJson } from './json-text.js';
import type { Problem } from './problem.js';
import {
  type RawRevocations,
  revocationRequestSchema,
  revocationSchema,
  withdrawalSchema,
} from './revocation-schema.js';
import { readYaml } from './yaml-text.js';

interface ParsedList {
  readonly list?: RevocationList;
  readonly problems: readonly Problem[];
}

/** Reads revoked.yaml whole: a list, or every problem in it. Half a revocation list is never put in force. */
export function parseRevocations(text: string | Uint8Array, file: string): ParsedList {
  const { value, problems } = checkShape(revocationSchema, readYaml(text, file));
  if (value === undefined) return { problems };
  return { list: revocationListOf(value.revoked.map(toEntry)), problems: [] };
}

/** The list of these entries; its revision says what is in it, whoever put it together. */
export function revocationListOf(entries: readonly RevocationEntry[]): RevocationList {
  return createRevocationList(entries, digest(entries));
}

/** Names an entry by all that it says, for as long as it says the same. */
export const keyOfRevocation = (entry: RevocationEntry): string => digest(entry);

/** The entries of each list, in order, each once. */
export function joinRevocations(
  ...lists: readonly (readonly RevocationEntry[])[]
): readonly RevocationEntry[] {
  const byKey = new Map<string, RevocationEntry>();
  for (const entry of lists.flat()) byKey.set(JSON.stringify(entry), entry);
  return [...byKey.values()];
}

const HEADING = `# Written by POST and DELETE /revocations. A line can be moved to the file under \`revocations\`: put it there
# first, then withdraw it here.
version: 1
revoked:`;

/** The text of a file that `parseRevocations` reads back as these entries: a line each, JSON inside (YAML 1.2 holds JSON). */
export function formatRevocations(entries: readonly RevocationEntry[]): string {
  if (entries.length === 0) return `${HEADING} []\n`;
  return `${HEADING}\n${entries.map((entry) => `  - ${jsonLine(writtenEntry(entry))}\n`).join('')}`;
}

/** Reads the JSON of a request to revoke: one entry, or a list of them. All of it, or every problem in it. */
export function parseRevocationRequest(bytes: Uint8Array): ParsedRequest<readonly RevocationEntry[]> {
  const read = readJson(bytes, (value) => (Array.isArray(value) ? value : [value]));
  const { value, problems } = checkShape(revocationRequestSchema, read);
  return value === undefined ? { problems } : { value: value.map(toEntry), problems: [] };
}

export interface Withdrawal {
  readonly author: string;
  readonly reason: string;
}

export function parseWithdrawal(bytes: Uint8Array): ParsedRequest<Withdrawal> {
  return checkShape(
    withdrawalSchema,
    readJson(bytes, (value) => value),
  ) as ParsedRequest<Withdrawal>;
}

/** What an entry is about, as a person would say it. */
export function describeSelector(entry: RevocationEntry): string {
  const { id, idPrefix, serial, issuer, sha256, keySha256 } = entry;
  if (id !== undefined) return `id ${id}`;
  if (idPrefix !== undefined) return `idPrefix ${idPrefix}`;
  if (serial !== undefined) return `serial ${serial} of ${issuer}`;
  return sha256 === undefined ? `keySha256 ${keySha256}` : `sha256 ${sha256}`;
}

/** An entry as a person writes it, for answers and files. */
export const writtenEntry = ({ at, issuedBefore, until, ...rest }: RevocationEntry): object => ({
  ...rest,
  ...(at === undefined ? {} : { at: iso(at) }),
  ...(issuedBefore === undefined ? {} : { issuedBefore: iso(issuedBefore) }),
  ...(until === undefined ? {} : { until: iso(until) }),
});

type RawEntry = RawRevocations['revoked'][number];

/** The same order of keys each time, and none that is undefined: the revision is taken over this. */
const toEntry = (raw: RawEntry): RevocationEntry => ({
  ...(raw.id === undefined ? {} : { id: raw.id.uri }),
  ...(raw.idPrefix === undefined ? {} : { idPrefix: raw.idPrefix.uri }),
  ...(raw.serial === undefined ? {} : { serial: raw.serial.replace(/^0+(?=.)/, '') }),
  ...(raw.issuer === undefined ? {} : { issuer: raw.issuer }),
  ...(raw.sha256 === undefined ? {} : { sha256: raw.sha256 }),
  ...(raw.keySha256 === undefined ? {} : { keySha256: raw.keySha256 }),
  reason: raw.reason,
  ...(raw.author === undefined ? {} : { author: raw.author }),
  ...(raw.at === undefined ? {} : { at: raw.at }),
  ...(raw.issuedBefore === undefined ? {} : { issuedBefore: raw.issuedBefore }),
  ...(raw.until === undefined ? {} : { until: raw.until }),
});

const digest = (value: unknown): string =>
  createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 16);

const iso = (ms: number): string => new Date(ms).toISOString();
