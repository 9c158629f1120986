import { meaningOf, publicReason, type Reason } from '../reasons.js';
import { parseDecimal } from './char-class.js';
import { challengeOf, type Problem } from './problem.js';

/** gRPC over HTTP/2 as grpc/doc/PROTOCOL-HTTP2.md has it. */

/** Status codes that we give ourselves (grpc/doc/statuscodes.md). */
export const GrpcStatus = {
  invalidArgument: 3,
  deadlineExceeded: 4,
  permissionDenied: 7,
  resourceExhausted: 8,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  unauthenticated: 16,
} as const;

/** Is this the content type of a gRPC call (`application/grpc`, `application/grpc+proto`, …)? */
export function isGrpcType(contentType: string): boolean {
  if (!contentType.toLowerCase().startsWith('application/grpc')) return false;
  const next = contentType.charAt(16);
  return next === '' || next === '+' || next === ';' || next === ' '; // not application/grpc-web
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/** Milliseconds of a `grpc-timeout` (1 to 8 digits and a unit); undefined where it is none. */
export function parseGrpcTimeout(text: string): number | undefined {
  const unitMs = UNIT_MS[text.slice(-1)];
  const value = parseDecimal(text.slice(0, -1), 8);
  return unitMs === undefined || value === undefined ? undefined : value * unitMs;
}

/** What `grpc-status` says (0 to 16; others are UNKNOWN, as clients take them); undefined where it is not there. */
export function readGrpcStatus(fields: readonly string[]): number | undefined {
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i]!.toLowerCase() !== 'grpc-status') continue;
    const status = parseDecimal(fields[i + 1]!, 2);
    return status === undefined || status > 16 ? 2 : status;
  }
  return undefined;
}

/** The status that says why a call is ours to end: by its HTTP status, and by its reason where there is none. */
export function grpcStatusOf(reason: Reason): number {
  const { status, credential } = meaningOf(reason);
  if (credential === true) return GrpcStatus.unauthenticated;
  if (reason === 'access_ended') return GrpcStatus.permissionDenied;
  if (reason === 'deadline_exceeded') return GrpcStatus.deadlineExceeded;
  return (
    BY_HTTP_STATUS[status] ??
    (status < 500 && status >= 400 ? GrpcStatus.invalidArgument : GrpcStatus.unavailable)
  );
}

const BY_HTTP_STATUS: Readonly<Record<number, number>> = {
  401: GrpcStatus.unauthenticated,
  403: GrpcStatus.permissionDenied,
  404: GrpcStatus.unimplemented,
  405: GrpcStatus.unimplemented,
  408: GrpcStatus.deadlineExceeded,
  413: GrpcStatus.resourceExhausted,
  429: GrpcStatus.resourceExhausted,
  431: GrpcStatus.resourceExhausted,
  500: GrpcStatus.internal,
  501: GrpcStatus.unimplemented,
  504: GrpcStatus.deadlineExceeded,
};

/** What ends a call that we end, flat: for its trailers. */
export function grpcTrailers(reason: Reason): string[] {
  return ['grpc-status', String(grpcStatusOf(reason)), 'grpc-message', publicReason(reason)];
}

/** An answer of our own to a call: trailers and nothing else. @param more header fields that this one has besides, flat. */
export function formatGrpcProblem(reason: Reason, requestId: string, more: readonly string[] = []): Problem {
  return {
    status: 200,
    headers: [
      'content-type',
      'application/grpc',
      'x-request-id',
      requestId,
      ...challengeOf(reason),
      ...more,
      ...grpcTrailers(reason),
    ],
    body: '',
    close: meaningOf(reason).credential === true,
  };
}
