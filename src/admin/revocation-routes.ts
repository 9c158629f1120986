import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Problem } from '../config/problem.js';
import { type ParsedRequest, parseRevocationRequest, parseWithdrawal } from '../config/revocations.js';
import { type Handler, readBody, sendJson, sendProblem } from './http-endpoint.js';
import type { RevocationPort, RevocationsAnswer } from './ports.js';

const MAX_BODY_BYTES = 256 * 1024;

/** Emergency revocations: list all, add, withdraw (PRODUCT §11). */
export function revocationRoutes(port: RevocationPort): [string, Handler][] {
  return [
    ['GET /revocations', async (_request, response) => sendJson(response, 200, await port.list())],
    [
      'POST /revocations',
      (request, response) => take(request, response, parseRevocationRequest, (entries) => port.add(entries)),
    ],
    [
      'DELETE /revocations/*',
      (request, response, url) => {
        const key = url.pathname.slice('/revocations/'.length);
        return take(request, response, parseWithdrawal, (withdrawal) => port.withdraw(key, withdrawal));
      },
    ],
  ];
}

/** Reads an order whole, says everything that is wrong with it, or does it. */
async function take<T>(
  request: IncomingMessage,
  response: ServerResponse,
  parse: (bytes: Uint8Array) => ParsedRequest<T>,
  act: (value: T) => Promise<RevocationsAnswer>,
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
