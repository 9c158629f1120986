import { readFileSync } from 'node:fs';
import {
  compileForwardPlan,
  type ForwardConfig,
  type ForwardPlan,
} from '../../../src/message/forward-policy.js';
import {
  buildIdentityHeaders,
  type IdentityHeaders,
  type PeerIdentity,
} from '../../../src/message/identity-headers.js';
import { parseRequestHead, type RequestHead } from '../../../src/message/request-head.js';
import type { RewriteContext } from '../../../src/message/rewrite-request.js';
import type { Result } from '../../../src/reasons.js';

export interface Vector<I, E> {
  readonly id: string;
  readonly input: I;
  readonly expect: E;
  readonly why: string;
}

/** Tests run with the repository as their working folder. */
export const readVectors = <I, E>(category: string): readonly Vector<I, E>[] =>
  JSON.parse(readFileSync(`test/data/${category}.json`, 'utf8')) as Vector<I, E>[];

export const PSEUDONYM = 'countersign';
export const WEB = 'spiffe://a.test/web';

export const planOf = (
  config: Partial<ForwardConfig> = {},
  spiffeId: string | undefined = undefined,
): ForwardPlan =>
  compileForwardPlan(
    { xfcc: 'sanitize_set', spiffeId: true, clientCert: false, headers: [], ...config },
    { spiffeId, pseudonym: PSEUDONYM },
  );

export const peerOf = (changes: Partial<PeerIdentity> = {}): PeerIdentity => ({
  id: WEB,
  trustDomain: 'a.test',
  path: '/web',
  leafDer: Buffer.from('3003020101', 'hex'),
  chainDer: [],
  sha256: '1b65f68a522c858715f5dd951cd0402dc16691778814bf0759822b7a257421d0',
  serial: '0a1b',
  subject: 'CN=web',
  issuer: 'CN=ca',
  dnsSans: [],
  notAfterMs: Date.UTC(2030, 0, 1),
  ...changes,
});

export const identityOf = (plan: ForwardPlan, changes: Partial<PeerIdentity> = {}): IdentityHeaders =>
  buildIdentityHeaders(plan, peerOf(changes));

export const contextOf = (changes: Partial<RewriteContext> = {}): RewriteContext => {
  const plan = changes.plan ?? planOf();
  return {
    plan,
    identity: identityOf(plan),
    peerTrusted: false,
    peerAddress: '192.0.2.7',
    requestId: 'own-request-id',
    newTraceId: 'a'.repeat(32),
    newSpanId: 'b'.repeat(16),
    ...changes,
  };
};

/** Reads a head from a request line and header lines, the way a parser that forgives nothing splits them. */
export function parseLines(requestLine: string, lines: readonly string[]): Result<RequestHead> {
  const [method = '', url = '', version = ''] = requestLine.split(' ');
  const raw = lines.flatMap((line) => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon), line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')];
  });
  return parseRequestHead(method, url, version.replace('HTTP/', ''), raw, PSEUDONYM);
}

export function headOf(lines: readonly string[], requestLine = 'GET /a HTTP/1.1'): RequestHead {
  const head = parseLines(requestLine, ['Host: svc.test', ...lines]);
  if (!head.ok) throw new Error(`${head.error.reason}: ${head.error.detail}`);
  return head.value;
}

/** All values of a header in a flat list, whatever the case of its name. */
export function valuesOf(flat: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i]?.toLowerCase() === name.toLowerCase()) values.push(flat[i + 1] ?? '');
  }
  return values;
}

export const namesOf = (flat: readonly string[]): string[] =>
  flat.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase());
