import { parseGrpcTimeout } from '../message/grpc.js';
import type { RequestHead } from '../message/request-head.js';
import { LongWatch } from './long-watch.js';
import type { Admitted } from './pipeline.js';

/** The deadlines of an exchange that may stay open: as those of tunnels are configured. @param timeoutMs its caller's own. */
export function longWatchOf(
  startedMs: number,
  { route, snapshot: { config } }: Admitted,
  timeoutMs = Number.POSITIVE_INFINITY,
): LongWatch {
  const deadlines = { ...config.deadlines, ...route.deadlines };
  return new LongWatch(startedMs, deadlines.tunnelIdleMs, deadlines.tunnelAgeMs, timeoutMs);
}

/** As longWatchOf; undefined where `grpc-timeout` cannot be read: two readings of a deadline are two answers. */
export function callWatchOf(startedMs: number, head: RequestHead, admitted: Admitted): LongWatch | undefined {
  const timeoutMs = timeoutOf(head.endToEnd);
  return timeoutMs === undefined ? undefined : longWatchOf(startedMs, admitted, timeoutMs);
}

function timeoutOf(lines: readonly string[]): number | undefined {
  let timeoutMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < lines.length; i += 2) {
    if (lines[i]!.toLowerCase() !== 'grpc-timeout') continue;
    const parsed = parseGrpcTimeout(lines[i + 1]!);
    if (parsed === undefined || timeoutMs !== Number.POSITIVE_INFINITY) return undefined;
    timeoutMs = parsed;
  }
  return timeoutMs;
}

/** A stream of events ends when one side goes (WHATWG HTML 9.2). */
export function isEventStream(headers: readonly string[]): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]!.toLowerCase() === 'content-type')
      return headers[i + 1]!.toLowerCase().startsWith('text/event-stream');
  }
  return false;
}
