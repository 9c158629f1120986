import { type Fields, fieldsOf, textOf } from './record-line.js';
import { fieldOf, type ScannedRecord } from './record-scanner.js';
import { isVerified } from './recorded-request.js';

/** What records are asked for by, and counted by: one text of a record, or undefined where it has none. */
export type Facet = (record: ScannedRecord) => string | undefined;

const partOf = (record: ScannedRecord, name: string): Fields => fieldsOf(fieldOf(record, name));
const within =
  (part: string, name: string): Facet =>
  (record) =>
    textOf(partOf(record, part)[name]);

const HOUR_LENGTH = '2026-11-21T10'.length;
const DAY_LENGTH = '2026-11-21'.length;

export const FACETS = {
  /** An ID that nothing verified is what somebody claimed to be: never to be counted as the workload itself. */
  identity: (record) => {
    const principal = partOf(record, 'principal');
    const { id } = principal;
    if (typeof id !== 'string') return undefined;
    return isVerified(principal) ? id : `claimed:${id}`;
  },
  owner: within('principal', 'owner'),
  /** On whose behalf it was. */
  'behalf-of': within('behalfOf', 'id'),
  authority: within('principal', 'authority'),
  serial: within('principal', 'serial'),
  /** The entry of `tokens`. */
  token: within('token', 'entry'),
  listener: within('request', 'listener'),
  route: within('request', 'route'),
  destination: within('request', 'destination'),
  method: within('request', 'method'),
  host: within('request', 'host'),
  path: within('request', 'path'),
  effect: within('decision', 'effect'),
  reason: (record) => textOf(partOf(record, 'decision').reason) ?? textOf(fieldOf(record, 'reason')),
  rule: within('decision', 'rule'),
  exception: (record) =>
    textOf(partOf(record, 'decision').exception) ?? textOf(partOf(record, 'exception').id),
  policy: within('decision', 'policyRevision'),
  status: (record) => {
    const { status } = partOf(record, 'response');
    return typeof status === 'number' ? String(status) : undefined;
  },
  outcome: within('response', 'outcome'),
  address: within('peer', 'address'),
  event: ({ event }) => event,
  hour: ({ time }) => time.slice(0, HOUR_LENGTH),
  day: ({ time }) => time.slice(0, DAY_LENGTH),
} as const satisfies Readonly<Record<string, Facet>>;

export type FacetName = keyof typeof FACETS;
export const FACET_NAMES = Object.keys(FACETS) as readonly FacetName[];
export const isFacetName = (name: string): name is FacetName => Object.hasOwn(FACETS, name);
