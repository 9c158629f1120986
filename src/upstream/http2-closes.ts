import { constants } from 'node:http2';
import { Failure } from '../reasons.js';
import type { Progress } from './upstream-call.js';

/** How a stream closed whose answer had not ended. */
export interface StreamClose {
  readonly rstCode: number;
  /** Anything of the answer had come. */
  readonly isAnswering: boolean;
  /** GOAWAY named an earlier stream as the last that was looked at (RFC 9113 6.8). */
  readonly isAboveLast: boolean;
  readonly isConnectionGone: boolean;
  readonly connectionFailure: Failure | undefined;
  /** The connection had brought whole answers. */
  readonly hasServed: boolean;
}

/** Why its call failed, and how far it had come. */
export interface CallFailure {
  readonly failure: Failure;
  readonly progress: Progress;
}

/** What was not looked at may be sent again; what went silent may be where that is safe; all else is over. */
export function judgeClose(close: StreamClose): CallFailure {
  const { rstCode, isAnswering, connectionFailure } = close;
  if (connectionFailure !== undefined && connectionFailure.code !== 'upstream_reset')
    return { failure: connectionFailure, progress: 'final' };
  // What was answered was looked at, whatever the server says afterwards: a second answer would go behind the first.
  if (!isAnswering && (close.isAboveLast || rstCode === constants.NGHTTP2_REFUSED_STREAM))
    return { failure: reset('the upstream did not take the call'), progress: 'unprocessed' };
  if (close.isConnectionGone) {
    const silent = close.hasServed ? 'stale' : 'lost';
    return { failure: connectionFailure ?? lost(), progress: isAnswering ? 'final' : silent };
  }
  const failure = MALFORMED.has(rstCode)
    ? new Failure('upstream_malformed', `the stream broke off: ${nameOfCode(rstCode)}`)
    : reset(`the upstream reset the stream: ${nameOfCode(rstCode)}`);
  return { failure, progress: 'final' };
}

export const reset = (message: string): Failure => new Failure('upstream_reset', message);
export const givenUp = (): Failure => reset('the connection was given up');

/** @param error of the connection, where there was one. */
export function lost(error?: Error & { readonly code?: string }): Failure {
  if (error === undefined) return reset('the connection closed');
  const code = error.code === PROTOCOL_ERROR ? 'upstream_malformed' : 'upstream_reset';
  return new Failure(code, error.message, { cause: error });
}

/** What node:http2 says of a connection that brought what is no HTTP/2. */
export const PROTOCOL_ERROR = 'ERR_HTTP2_ERROR';

/** Errors that tell of octets that are no answer; the rest is a server that gave up. */
const MALFORMED: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
  constants.NGHTTP2_ENHANCE_YOUR_CALM,
]);

/** RFC 9113 7, in the order of their numbers. */
const CODES = [
  'NO_ERROR',
  'PROTOCOL_ERROR',
  'INTERNAL_ERROR',
  'FLOW_CONTROL_ERROR',
  'SETTINGS_TIMEOUT',
  'STREAM_CLOSED',
  'FRAME_SIZE_ERROR',
  'REFUSED_STREAM',
  'CANCEL',
  'COMPRESSION_ERROR',
  'CONNECT_ERROR',
  'ENHANCE_YOUR_CALM',
  'INADEQUATE_SECURITY',
  'HTTP_1_1_REQUIRED',
];
export const nameOfCode = (code: number): string => CODES[code] ?? `error ${code}`;
