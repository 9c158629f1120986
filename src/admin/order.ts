import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ParsedRequest } from '../config/json-text.js';
import type { Problem } from '../config/problem.js';
import { readBody, sendJson, sendProblem } from './http-endpoint.js';
import type { OrderAnswer } from './ports.js';

const MAX_BODY_BYTES = 256 * 1024;

/** Reads an order whole, says everything that is wrong with it, or does it. */
export async function takeOrder<T>(
  request: IncomingMessage,
  response: ServerResponse,
  parse: (bytes: Uint8Array) => ParsedRequest<T>,
  act: (value: T) => Promise<OrderAnswer>,
): Promise<void> {
  const body = await readBody(request, MAX_BODY_BYTES);
  // A form of another site's page can be posted here without asking; JSON cannot (Fetch: not a simple request).
  if (!/^application\/json(;|$)/i.test(request.headers['content-type']?.trim() ?? ''))
    return sendProblem(response, 415, 'send content-type: application/json');
  if (body === undefined) return sendProblem(response, 413, `at most ${MAX_BODY_BYTES} bytes`);
  const { value, problems } = parse(body);
  if (value === undefined) {
    const all = problems.map(shown);
    const first = all[0] ?? { path: '', message: 'is not understood' };
    return sendProblem(response, 400, `${first.path} ${first.message}`.trim(), { problems: all });
  }
  const { status, detail, view } = await act(value);
  if (status === 200) sendJson(response, 200, view ?? {});
  else sendProblem(response, status, detail ?? '', view);
}

const shown = ({ path, message }: Problem): { path: string; message: string } => ({ path, message });
