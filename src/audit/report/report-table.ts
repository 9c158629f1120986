import { durationText, numberText, timeText } from './report-wording.js';

/** How a column is set and sorted. */
export interface ReportColumn {
  readonly title: string;
  /** `name`: an identity or another word of a record. `number`: set to the right. */
  readonly kind: 'name' | 'text' | 'number' | 'time';
}

export interface ReportCell {
  readonly text: string;
  /** What it is sorted by, where that is not the text. */
  readonly order?: number | string;
}

export interface ReportTable {
  readonly title: string;
  /** What the table tells, and what follows from it being empty. */
  readonly note: string;
  readonly columns: readonly ReportColumn[];
  readonly rows: readonly (readonly ReportCell[])[];
}

export const name = (title: string): ReportColumn => ({ title, kind: 'name' });
export const text = (title: string): ReportColumn => ({ title, kind: 'text' });
export const number = (title: string): ReportColumn => ({ title, kind: 'number' });
export const time = (title: string): ReportColumn => ({ title, kind: 'time' });

export const of = (value: string): ReportCell => ({ text: value === '' ? '–' : value });
export const who = (identity: string): ReportCell => ({ text: identity === '' ? 'not verified' : identity });
export const where = (destination: string): ReportCell => ({
  text: destination === '' ? 'none found' : destination,
});
export const many = (count: number): ReportCell => ({ text: numberText(count), order: count });
export const at = (value: string): ReportCell => ({
  text: value === '' ? '–' : timeText(value),
  order: value,
});
export const span = (ms: number | undefined): ReportCell => ({ text: durationText(ms), order: ms ?? -1 });
