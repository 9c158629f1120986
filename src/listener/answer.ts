import type { Duplex } from 'node:stream';
import { formatProblem } from '../message/problem.js';
import { meaningOf, type Reason } from '../reasons.js';

/**
 * Writes our own answer straight onto a socket that no HTTP parser owns any more, and closes it.
 * @param more header fields of it, flat.
 */
export function answerOnSocket(
  socket: Duplex,
  reason: Reason,
  requestId: string,
  more: readonly string[] = [],
): void {
  if (socket.destroyed || !socket.writable) return void socket.destroy();
  const problem = formatProblem(reason, requestId, more);
  let head = `HTTP/1.1 ${problem.status} ${meaningOf(reason).title}\r\n`;
  for (let i = 0; i < problem.headers.length; i += 2)
    head += `${problem.headers[i]}: ${problem.headers[i + 1]}\r\n`;
  head += `content-length: ${Buffer.byteLength(problem.body)}\r\nconnection: close\r\n\r\n`;
  socket.end(head + problem.body);
  // A peer that never reads must not keep the socket: destroy once flushed, or soon.
  const timer = setTimeout(() => socket.destroy(), 1000);
  timer.unref();
  socket.once('close', () => clearTimeout(timer));
  socket.resume();
}
