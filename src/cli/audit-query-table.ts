import { FACETS, type FacetName } from '../audit/record-facets.js';
import type { RecordGroup } from '../audit/record-groups.js';
import { textOf } from '../audit/record-line.js';
import { fieldOf, type ScannedRecord } from '../audit/record-scanner.js';
import type { Column } from './text-table.js';

export const RECORD_COLUMNS: readonly Column[] = [
  { title: 'TIME', least: 20 },
  { title: 'IDENTITY', least: 12, keeps: 'end' },
  { title: 'DESTINATION', least: 6 },
  { title: 'WHAT', least: 10 },
  { title: 'STATUS', isNumber: true },
  { title: 'DECISION', least: 10 },
  { title: 'ID', least: 4, keeps: 'end' },
];

/** A record as a person reads it: who, where to, what, the answer, and why. */
export function recordRow(record: ScannedRecord): readonly string[] {
  const status = FACETS.status(record);
  return [
    record.time,
    whoText(record),
    FACETS.destination(record) ?? FACETS.route(record) ?? '',
    whatText(record),
    status === undefined || status === '0' ? '' : status,
    decisionText(record),
    textOf(fieldOf(record, 'id')) ?? '',
  ];
}

function whoText(record: ScannedRecord): string {
  const subject = FACETS['behalf-of'](record);
  return `${FACETS.identity(record) ?? ''}${subject === undefined ? '' : ` for ${subject}`}`;
}

function whatText(record: ScannedRecord): string {
  if (!record.event.startsWith('access')) return record.event;
  const method = FACETS.method(record) ?? '';
  const phase = record.event === 'access' ? textOf(fieldOf(record, 'phase')) : 'corrected';
  return `${method} ${FACETS.path(record) ?? ''}${phase === undefined ? '' : ` (${phase})`}`;
}

/** The rule or exception that let it in, or the reason of a no; then how it ended, where that was not well. */
function decisionText(record: ScannedRecord): string {
  const effect = FACETS.effect(record);
  if (effect === undefined) return [FACETS.reason(record), detailOf(record)].filter(isText).join(': ');
  const rule = FACETS.rule(record);
  const exception = FACETS.exception(record);
  const reason = FACETS.reason(record);
  const by = exception === undefined ? rule : `exception ${exception}`;
  const why = effect === 'allow' ? [by ?? reason] : [reason, by];
  const outcome = FACETS.outcome(record);
  const isWell = outcome === undefined || outcome === 'complete' || outcome === 'refused';
  return [effect, ...why, isWell ? undefined : `(${outcome})`].filter(isText).join(' ');
}

const detailOf = (record: ScannedRecord): string | undefined =>
  textOf(fieldOf(record, 'detail')) ?? FACETS.exception(record);

const isText = (text: string | undefined): text is string => text !== undefined && text !== '';

export const groupColumns = (by: readonly FacetName[]): readonly Column[] => [
  ...by.map(
    (name): Column => ({
      title: name.toUpperCase(),
      least: 12,
      keeps: name === 'identity' || name === 'behalf-of' ? 'end' : 'beginning',
    }),
  ),
  { title: 'RECORDS', isNumber: true },
  { title: 'REFUSED', isNumber: true },
  { title: 'FIRST', least: 20 },
  { title: 'LAST', least: 20 },
];

export const groupRow = ({
  values,
  records,
  refused,
  firstSeen,
  lastSeen,
}: RecordGroup): readonly string[] => [
  ...values.map((value) => value ?? '-'),
  String(records),
  String(refused),
  firstSeen,
  lastSeen,
];

/** One group as a line of JSON. */
export function groupJson(by: readonly FacetName[], group: RecordGroup): string {
  const { values, ...counts } = group;
  const named = Object.fromEntries(by.map((name, i) => [name, values[i] ?? null]));
  return `${JSON.stringify({ ...named, ...counts })}\n`;
}
