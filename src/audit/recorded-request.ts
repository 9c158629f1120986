import type { ReadValues } from './record.js';
import { type Fields, fieldsOf, parseRecordTime, type RecordLine, textOf } from './record-line.js';

/** What was answered, and why. */
export interface RecordedAnswer {
  readonly effect: 'allow' | 'deny';
  readonly reason: string;
  readonly rule?: string;
  readonly exception?: string;
  readonly destination?: string;
}

/** One request as its record has it, to be judged again; what is undefined does not stand there. */
export interface RecordedRequest {
  readonly id: string;
  readonly time: string;
  readonly timeMs: number;
  /** Name of a caller that was verified: a SPIFFE ID, or what its token gave. */
  readonly identity: string | undefined;
  readonly listener: string | undefined;
  readonly method: string | undefined;
  readonly host: string | undefined;
  readonly path: string | undefined;
  /** Its path was too long to be kept whole. */
  readonly isTruncated: boolean;
  /** `path` is a template that stands for it. */
  readonly isRedacted: boolean;
  /** It asked to become a WebSocket. */
  readonly isUpgraded: boolean;
  /** What TLS was asked for. */
  readonly serverName: string | undefined;
  /** `null` where the request had none. */
  readonly headers: ReadonlyMap<string, string | null>;
  readonly query: ReadonlyMap<string, string | null>;
  /** Of its token. */
  readonly claims: ReadonlyMap<string, string | null>;
  /** The token that came with it and was looked at; `entry` undefined where there was none. */
  readonly token: { readonly entry: string | undefined };
  readonly behalfOf: RecordedDelegation | undefined;
  readonly credential: RecordedCredential | undefined;
  readonly connection: { readonly tlsVersion: string; readonly resumed: boolean } | undefined;
  /** What an external engine said of it, where one was asked and had an answer. */
  readonly engine: 'allow' | 'deny' | undefined;
  readonly answer: RecordedAnswer;
}

export interface RecordedDelegation {
  readonly subject: string;
  readonly by: 'token' | 'assertion' | 'xfcc';
  /** Who acted before the caller. */
  readonly through: readonly string[];
}

export interface RecordedCredential {
  readonly kind: 'x509' | 'jwt-svid' | 'oidc';
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  readonly issuer: string;
}

/** Reads an access record; undefined where it does not say what was decided, so that no part of us wrote it. */
export function parseRecordedRequest({ fields, time, timeMs }: RecordLine): RecordedRequest | undefined {
  const request = fieldsOf(fields.request);
  const principal = fieldsOf(fields.principal);
  const tls = fieldsOf(fields.tls);
  const decision = fieldsOf(fields.decision);
  const { result } = fieldsOf(decision.external);
  const answer = readAnswer(decision, request);
  if (answer === undefined) return undefined;
  return {
    id: textOf(fields.id) ?? '',
    time,
    timeMs,
    identity: isVerified(principal) ? textOf(principal.id) : undefined,
    listener: textOf(request.listener),
    method: textOf(request.method),
    host: textOf(request.host),
    path: textOf(request.path),
    isTruncated: request.truncated === true,
    isRedacted: request.redacted === true,
    isUpgraded:
      request.upgrade === 'websocket' || (fields.phase === 'start' && request.protocol === 'http/1.1'),
    serverName: textOf(tls.serverName),
    headers: readValues(request.headers),
    query: readValues(request.query),
    claims: readValues(request.claims),
    token: { entry: textOf(fieldsOf(fields.token).entry) },
    behalfOf: readDelegation(fieldsOf(fields.behalfOf)),
    credential: readCredential(principal),
    connection: readConnection(tls),
    engine: result === 'allow' || result === 'deny' ? result : undefined,
    answer,
  };
}

function readAnswer(decision: Fields, request: Fields): RecordedAnswer | undefined {
  const { effect } = decision;
  const reason = textOf(decision.reason);
  if ((effect !== 'allow' && effect !== 'deny') || reason === undefined) return undefined;
  const rule = textOf(decision.rule);
  const exception = textOf(decision.exception);
  const destination = textOf(request.destination);
  return {
    effect,
    reason,
    ...(rule === undefined ? {} : { rule }),
    ...(exception === undefined ? {} : { exception }),
    ...(destination === undefined ? {} : { destination }),
  };
}

function readValues(value: unknown): ReadonlyMap<string, string | null> {
  const values = new Map<string, ReadValues[string]>();
  for (const [name, text] of Object.entries(fieldsOf(value)))
    if (typeof text === 'string' || text === null) values.set(name, text);
  return values;
}

function readCredential(principal: Fields): RecordedCredential | undefined {
  const notBeforeMs = parseRecordTime(principal.notBefore);
  const notAfterMs = parseRecordTime(principal.notAfter);
  const issuer = textOf(principal.issuer);
  if (!isVerified(principal) || issuer === undefined) return undefined;
  if (notBeforeMs === undefined || notAfterMs === undefined) return undefined;
  const { credential } = principal;
  const kind = credential === 'jwt-svid' || credential === 'oidc' ? credential : 'x509';
  return { kind, notBeforeMs, notAfterMs, issuer };
}

/** Somebody vouches for it: a certificate's authority, or the issuer of a token. */
export const isVerified = ({ kind }: Fields): boolean => kind === 'workload' || kind === 'token';

function readDelegation({ id, by, actors }: Fields): RecordedDelegation | undefined {
  if (typeof id !== 'string' || (by !== 'token' && by !== 'assertion' && by !== 'xfcc')) return undefined;
  const acted: unknown[] = Array.isArray(actors) ? actors : [];
  const through = acted.slice(0, -1).filter((actor) => typeof actor === 'string');
  return { subject: id, by, through };
}

function readConnection(tls: Fields): RecordedRequest['connection'] {
  const tlsVersion = textOf(tls.version);
  const { resumed } = tls;
  if (tlsVersion === undefined || typeof resumed !== 'boolean') return undefined;
  return { tlsVersion, resumed };
}
