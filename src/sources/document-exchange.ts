import type { IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { type BundleEndpointUrl, parseRedirectTarget } from '../identity/bundle-endpoint-url.js';
import { err, ok, type Result } from '../reasons.js';
import {
  connectEndpoint,
  type ProvenConnection,
  plainProblem,
  type ServerTrust,
} from './endpoint-connection.js';
import type { Timers } from './timers.js';

const REDIRECTS: ReadonlySet<number | undefined> = new Set([301, 302, 303, 307, 308]);

/** What is asked for, and how much of it is taken. */
export interface DocumentRules {
  /** For messages: `the bundle`. */
  readonly what: string;
  /** Media types to ask for. What comes is judged by its content. */
  readonly accept: string;
  readonly maxBytes: number;
  /** 0 = none is followed. */
  readonly maxRedirects: number;
  /** For the whole of it. */
  readonly exchangeMs: number;
}

type Answer =
  | { readonly kind: 'body'; readonly bytes: Buffer }
  | { readonly kind: 'redirect'; readonly location: string };

/**
 * Fetches a document: one GET, redirects followed where they lead to valid URLs whose server proves itself in the same way
 * (Federation 5.2.1.4, 5.2.2.4). Errors: text.
 */
export function fetchDocument(
  url: BundleEndpointUrl,
  trust: ServerTrust,
  rules: DocumentRules,
  timers: Timers,
  signal: AbortSignal,
): Promise<Result<Buffer, string>> {
  return withinDeadline(rules.exchangeMs, timers, signal, (inTime) =>
    followRedirects(url, trust, rules, timers, inTime),
  );
}

/** Runs with a signal that also aborts when the time is over, which is in milliseconds. */
export async function withinDeadline<T>(
  ms: number,
  timers: Timers,
  signal: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const deadline = new AbortController();
  const cancel = timers.after(ms, () => deadline.abort(`no whole answer within ${ms / 1000} seconds`));
  const onAbort = (): void => deadline.abort(signal.reason);
  signal.addEventListener('abort', onAbort);
  if (signal.aborted) onAbort();
  try {
    return await run(deadline.signal);
  } finally {
    cancel();
    signal.removeEventListener('abort', onAbort);
  }
}

async function followRedirects(
  first: BundleEndpointUrl,
  trust: ServerTrust,
  rules: DocumentRules,
  timers: Timers,
  signal: AbortSignal,
): Promise<Result<Buffer, string>> {
  const visited = new Set<string>();
  let url = first;
  for (;;) {
    visited.add(url.href);
    const answer = await ask(url, trust, rules, timers, signal);
    const at = url === first ? '' : `redirected to ${url.shown.slice(0, 200)}: `;
    if (!answer.ok) return err(at + answer.error);
    if (answer.value.kind === 'body') return ok(answer.value.bytes);
    if (rules.maxRedirects === 0)
      return err('it redirects to another place, which is not followed: configure the place itself');
    const target = parseRedirectTarget(url, answer.value.location);
    if (!target.ok) return err(`${at}the redirect is not followed: ${target.error}`);
    if (visited.has(target.value.href)) return err(`${at}the redirects lead in a circle`);
    if (visited.size > rules.maxRedirects) return err(`${at}more than ${rules.maxRedirects} redirects`);
    url = target.value;
  }
}

async function ask(
  url: BundleEndpointUrl,
  trust: ServerTrust,
  rules: DocumentRules,
  timers: Timers,
  signal: AbortSignal,
): Promise<Result<Answer, string>> {
  const connection = await connectEndpoint(url, trust, timers, signal);
  if (!connection.ok) return connection;
  try {
    const answer = await exchange(connection.value, url, rules, signal);
    // Revoked while it answered: what it said is not taken any more.
    const problem = answer.ok ? connection.value.problemNow() : undefined;
    return problem === undefined ? answer : err(problem);
  } finally {
    connection.value.socket.destroy();
  }
}

function exchange(
  { socket }: ProvenConnection,
  url: BundleEndpointUrl,
  rules: DocumentRules,
  signal: AbortSignal,
): Promise<Result<Answer, string>> {
  return new Promise((resolve) => {
    const finish = (result: Result<Answer, string>): void => {
      signal.removeEventListener('abort', onAbort);
      resolve(result);
    };
    const onAbort = (): void => finish(err(String(signal.reason)));
    signal.addEventListener('abort', onAbort);
    if (signal.aborted) return onAbort();
    const request = httpsRequest({
      createConnection: () => socket, // no agent: no connection is kept or shared
      host: url.host,
      port: url.port,
      path: url.target,
      headers: { accept: rules.accept, 'accept-encoding': 'identity', 'user-agent': 'countersign' },
    });
    let response: IncomingMessage | undefined;
    request.once('response', (answered) => {
      response = answered;
      readAnswer(answered, rules, finish);
    });
    request.once('upgrade', () => finish(err('the endpoint switched protocols')));
    request.on('error', (error) => finish(err(`no HTTP answer: ${plainProblem(error)}`)));
    // Once there is a response, its own close counts, which never comes before its last byte.
    request.once('close', () => {
      if (response === undefined) finish(err('the connection was closed without an answer'));
    });
    request.end();
  });
}

function readAnswer(
  response: IncomingMessage,
  rules: DocumentRules,
  finish: (result: Result<Answer, string>) => void,
): void {
  const status = response.statusCode;
  response.on('error', (error) => finish(err(`the answer was cut short: ${plainProblem(error)}`)));
  response.once('close', () => finish(err('the answer was cut short')));
  if (REDIRECTS.has(status)) {
    const locations = response.headersDistinct.location ?? [];
    const [location] = locations;
    return location === undefined || locations.length > 1
      ? finish(err(`a redirect (${status}) with ${locations.length} Location headers`))
      : finish(ok({ kind: 'redirect', location }));
  }
  // Whatever the body of another answer looks like, it is not what was asked for (Federation 5.2.1.3; go-spiffe once took it for a bundle).
  if (status !== 200) return finish(err(`the endpoint answered ${status}`));
  const coding = response.headers['content-encoding']?.toLowerCase() ?? 'identity';
  if (coding !== 'identity') return finish(err('the answer is compressed, which was not asked for'));
  readBody(response, rules, finish);
}

function readBody(
  response: IncomingMessage,
  { what, maxBytes }: DocumentRules,
  finish: (result: Result<Answer, string>) => void,
): void {
  const tooLong = err(`${what} is longer than ${maxBytes} bytes`);
  if (Number(response.headers['content-length'] ?? 0) > maxBytes) return finish(tooLong);
  const chunks: Buffer[] = [];
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    if (length > maxBytes) {
      response.destroy();
      return finish(tooLong);
    }
    chunks.push(chunk);
  });
  // It does not come for an answer that was cut short; that one ends in an error.
  response.once('end', () => finish(ok({ kind: 'body', bytes: Buffer.concat(chunks) })));
}
