import type { PathPattern, PrincipalPattern } from './pattern.js';

/** An allow that dies at its time, as somebody wrote it, read and checked; `undefined` means any. Plain data. */
export interface ExceptionInput {
  readonly id: string;
  readonly owner: string;
  readonly reason: string;
  /** In force until, Unix ms: at this very moment it is dead. */
  readonly expiresMs: number;
  /** In force from, Unix ms; `undefined` = at once. */
  readonly startsMs?: number | undefined;
  /** The policy file, or a grant that was given beside it. */
  readonly origin: 'policy' | 'grant';
  /** Who granted it. */
  readonly by?: string | undefined;
  /** When it was granted, Unix ms. */
  readonly grantedMs?: number | undefined;
  readonly principals: readonly PrincipalPattern[];
  /** As of a rule: only for calls on behalf of one of these; without it for calls of the caller's own alone. */
  readonly behalfOf?: readonly PrincipalPattern[] | undefined;
  readonly destinations: readonly string[];
  readonly methods?: readonly string[] | undefined;
  readonly paths?: readonly PathPattern[] | undefined;
  readonly when?: string | undefined;
}

/** In the order of a life. `expiring` is in force, and has a day left at most. */
export const EXCEPTION_STATES = ['pending', 'active', 'expiring', 'expired'] as const;
export type ExceptionState = (typeof EXCEPTION_STATES)[number];

export type ExceptionSpan = Pick<ExceptionInput, 'startsMs' | 'expiresMs'>;

export const DAY_MS = 86_400_000;
export const HOUR_MS = 3_600_000;

/** `startsMs` <= now < `expiresMs`: the only way an exception is in force. */
export const isLive = (span: ExceptionSpan, nowMs: number): boolean =>
  nowMs < span.expiresMs && (span.startsMs === undefined || nowMs >= span.startsMs);

export function stateOf(span: ExceptionSpan, nowMs: number): ExceptionState {
  if (nowMs >= span.expiresMs) return 'expired';
  if (span.startsMs !== undefined && nowMs < span.startsMs) return 'pending';
  return span.expiresMs - nowMs <= DAY_MS ? 'expiring' : 'active';
}

/** All that an exception says and that can change an answer or a record, in one text: equal where it says the same. */
export const keyOfException = (exception: ExceptionInput): string =>
  JSON.stringify([
    exception.id,
    exception.owner,
    exception.reason,
    exception.expiresMs,
    exception.startsMs ?? null,
    exception.origin,
    exception.by ?? null,
    ...shapeOf(exception),
  ]);

/** What it lets in, whoever wrote it and however its lists are ordered. */
const shapeOf = (exception: ExceptionInput): readonly unknown[] => [
  sorted(exception.principals.map((pattern) => pattern.text)),
  sorted(exception.destinations),
  exception.methods === undefined ? null : sorted(exception.methods),
  exception.paths === undefined ? null : sorted(exception.paths.map((pattern) => pattern.text)),
  exception.when ?? null,
  ...(exception.behalfOf === undefined ? [] : [sorted(exception.behalfOf.map((pattern) => pattern.text))]),
];

const sorted = (values: readonly string[]): string[] => [...new Set(values)].sort();
