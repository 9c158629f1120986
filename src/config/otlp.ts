import { isAll, TOKEN } from '../message/char-class.js';
import type { Result } from '../reasons.js';
import { isLoopback } from './address.js';
import type { Config } from './config.js';
import { type HttpUrl, parseHttpUrl } from './http-url.js';
import type { RawOtlp } from './otlp-schema.js';
import type { Places } from './places.js';
import type { Problem } from './problem.js';
import type { KeyPath } from './yaml-text.js';

/** A header field of every export: its value, or the file that holds it. */
export type OtlpHeader =
  | { readonly name: string; readonly value: string }
  | { readonly name: string; readonly file: string };

export interface OtlpConfig {
  readonly url: HttpUrl;
  readonly headers: readonly OtlpHeader[];
  /** PEM, in place of the public roots. */
  readonly caFile?: string;
  readonly allowPlaintext: boolean;
  readonly timeoutMs: number;
  readonly retryForMs: number;
  readonly queueBytes: number;
  readonly serviceName: string;
}

type ProblemAt = (path: KeyPath, message: string) => Problem;

const KEY = ['audit', 'otlp'];

/** `http(s)://host[:port]/PATH`, the whole of it: nothing is added to the path. */
export const parseCollectorUrl = (text: string): Result<HttpUrl, string> =>
  parseHttpUrl(text, 'http://host:4318/v1/logs', (path) =>
    path === '/' ? 'has no path; collectors take records at /v1/logs' : undefined,
  );

/** The part of the configuration that it is, where there is one. */
export function otlpOf(raw: RawOtlp | undefined, places: Places): { readonly otlp?: OtlpConfig } {
  if (raw === undefined) return {};
  const { url, headers, ca, timeout, retryFor, queue, ...same } = raw;
  return {
    otlp: {
      ...same,
      url: places.collectorUrl([...KEY, 'url'], url),
      headers: Object.entries(headers).map(([name, value]) => {
        const path = [...KEY, 'headers', name];
        return typeof value === 'string'
          ? { name, value: places.secret(path, value) }
          : { name, file: places.file([...path, 'file'], value.file) };
      }),
      ...(ca === undefined ? {} : { caFile: places.file([...KEY, 'ca'], ca) }),
      timeoutMs: timeout,
      retryForMs: retryFor,
      queueBytes: queue,
    },
  };
}

export function checkOtlp({ audit: { otlp } }: Config, at: ProblemAt): Problem[] {
  if (otlp === undefined) return [];
  const problems: Problem[] = [];
  const { url, caFile, allowPlaintext, headers } = otlp;
  const isPlain = url.protocol === 'http:';
  const isLocal = isLoopback({ kind: 'tcp', host: url.host, port: url.port });
  if (isPlain && !isLocal && !allowPlaintext) {
    const message = `anybody between here and ${url.host} could read or change records in plain text; use https://, or say \`allowPlaintext: true\` if that is meant`;
    problems.push(at([...KEY, 'url'], message));
  }
  if (isPlain && caFile !== undefined) problems.push(at([...KEY, 'ca'], 'goes with https:// only'));
  const seen = new Set<string>();
  for (const header of headers) {
    const wrong = problemOfHeader(header, seen);
    if (wrong !== undefined) problems.push(at([...KEY, 'headers', header.name], wrong));
    seen.add(header.name.toLowerCase());
  }
  return problems;
}

/** What says how the message is framed and written is not for the configuration. */
const OURS: ReadonlySet<string> = new Set([
  'accept-encoding',
  'connection',
  'content-encoding',
  'content-length',
  'content-type',
  'expect',
  'host',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

function problemOfHeader(header: OtlpHeader, seen: ReadonlySet<string>): string | undefined {
  const name = header.name.toLowerCase();
  if (header.name === '' || !isAll(header.name, TOKEN)) return 'is not a header name';
  if (OURS.has(name)) return 'is written by the proxy';
  if (seen.has(name)) return 'stands there twice, in another spelling';
  // The value itself is not shown: it may be a credential.
  if ('value' in header && !isHeaderValue(header.value))
    return 'has a value that a header field cannot hold: printable ASCII, without spaces at its ends';
  return undefined;
}

/** RFC 9110 5.5, without the obsolete part: what every server reads alike. */
const isHeaderValue = (text: string): boolean => /^[!-~]([ -~]{0,8190}[!-~])?$/.test(text);
