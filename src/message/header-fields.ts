import { isFieldValue, isOws, parseDecimal, trimOws } from './char-class.js';
import { type HeaderKind, headerKindOf } from './header-names.js';

/** Headers of the client that are continued or replaced. Lists are joined in order; undefined = was not there. */
export interface ReceivedFields {
  readonly via: string | undefined;
  readonly forwardedFor: string | undefined;
  readonly forwardedProto: string | undefined;
  readonly forwardedHost: string | undefined;
  readonly forwarded: string | undefined;
  /** x-forwarded-client-cert, line by line: a quote must not reach from one into the next. */
  readonly clientCertificate: readonly string[] | undefined;
  /** What the peer says of whom it acts for. Connection takes nothing from it: it is meant for this very hop. */
  readonly saysOfOthers: SaidOfOthers;
  readonly requestId: string | undefined;
  /** '' when there were several: then none is used. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
}

/** Line by line, all that there were. */
export interface SaidOfOthers {
  readonly assertion: readonly string[] | undefined;
  readonly clientCertificate: readonly string[] | undefined;
}

/** Fields as they are met during the one pass; read into a RequestHead at its end. */
export class HeaderFields implements ReceivedFields {
  readonly endToEnd: string[] = [];
  hosts: string[] = NO_LINES;
  contentLengths: string[] = NO_LINES;
  transferEncodings: string[] = NO_LINES;
  connections: string[] = NO_LINES;
  upgrade: string | undefined;
  expect: string | undefined;
  maxForwards: string | undefined;
  via: string | undefined;
  forwardedFor: string | undefined;
  forwardedProto: string | undefined;
  forwardedHost: string | undefined;
  forwarded: string | undefined;
  clientCertificate: string[] | undefined;
  assertion: string[] | undefined;
  requestId: string | undefined;
  traceparent: string | undefined;
  tracestate: string | undefined;

  get saysOfOthers(): SaidOfOthers {
    return this;
  }
}
const NO_LINES: string[] = [];

/** Sorts one line into its place; the text of what is wrong with it, if anything. */
export function collectHeader(
  fields: HeaderFields,
  method: string,
  name: string,
  rawValue: string,
): string | undefined {
  const kind = headerKindOf(name);
  if (kind === 'malformed') return 'name is not a token';
  if (!isFieldValue(rawValue)) return `control character in ${kind === 'pass' ? 'a value' : kind}`;
  if (kind === 'pass') {
    fields.endToEnd.push(name, rawValue);
    return undefined;
  }
  if (kind === 'drop') return undefined;
  const value = isPadded(rawValue) ? trimOws(rawValue) : rawValue;
  if (kind === 'max-forwards') return collectMaxForwards(fields, method, name, value);
  collectOwn(fields, kind, value);
  return undefined;
}

type OwnKind = Exclude<HeaderKind, 'malformed' | 'pass' | 'drop' | 'max-forwards'>;

/** What this hop reads for itself; the rest is what it continues for the next. */
function collectOwn(fields: HeaderFields, kind: OwnKind, value: string): void {
  switch (kind) {
    case 'host':
      fields.hosts = withLine(fields.hosts, value);
      return;
    case 'content-length':
      fields.contentLengths = withLine(fields.contentLengths, value);
      return;
    case 'transfer-encoding':
      fields.transferEncodings = withLine(fields.transferEncodings, value);
      return;
    case 'connection':
      fields.connections = withLine(fields.connections, value);
      return;
    case 'upgrade':
      fields.upgrade = joined(fields.upgrade, value);
      return;
    case 'expect':
      fields.expect = joined(fields.expect, value);
      return;
    default:
      collectContinued(fields, kind, value);
  }
}

type ContinuedKind = Exclude<
  OwnKind,
  'host' | 'content-length' | 'transfer-encoding' | 'connection' | 'upgrade' | 'expect'
>;

function collectContinued(fields: HeaderFields, kind: ContinuedKind, value: string): void {
  switch (kind) {
    case 'x-request-id':
      fields.requestId = fields.requestId === undefined ? value : '';
      return;
    case 'traceparent':
      fields.traceparent = fields.traceparent === undefined ? value : '';
      return;
    case 'tracestate':
      fields.tracestate = fields.tracestate === undefined ? value : `${fields.tracestate},${value}`;
      return;
    case 'via':
      fields.via = joined(fields.via, value);
      return;
    case 'x-forwarded-for':
      fields.forwardedFor = joined(fields.forwardedFor, value);
      return;
    case 'x-forwarded-proto':
      fields.forwardedProto = joined(fields.forwardedProto, value);
      return;
    case 'x-forwarded-host':
      fields.forwardedHost = joined(fields.forwardedHost, value);
      return;
    case 'forwarded':
      fields.forwarded = joined(fields.forwarded, value);
      return;
    case 'x-forwarded-client-cert':
      fields.clientCertificate = withLine(fields.clientCertificate ?? NO_LINES, value);
      return;
    case 'x-identity-assertion':
      fields.assertion = withLine(fields.assertion ?? NO_LINES, value);
      return;
    default:
      unreachable(kind);
  }
}

/** RFC 9110 7.6.2: ours to count down on OPTIONS only; on other methods it is somebody else's and crosses as it is. */
function collectMaxForwards(
  fields: HeaderFields,
  method: string,
  name: string,
  value: string,
): string | undefined {
  if (method !== 'OPTIONS') fields.endToEnd.push(name, value);
  else if (fields.maxForwards !== undefined) return 'several Max-Forwards lines';
  else if (parseDecimal(value, value.length) === undefined) return 'Max-Forwards is not a number';
  else fields.maxForwards = value;
  return undefined;
}

/** What Connection names was meant for this hop and goes no further, so it is not continued either. Via stays: it guards against loops. */
export function receivedOf(fields: HeaderFields, named: ReadonlySet<string> | undefined): ReceivedFields {
  if (named === undefined) return fields;
  const kept = <T>(name: string, value: T | undefined): T | undefined =>
    named.has(name) ? undefined : value;
  return {
    via: fields.via,
    forwardedFor: kept('x-forwarded-for', fields.forwardedFor),
    forwardedProto: kept('x-forwarded-proto', fields.forwardedProto),
    forwardedHost: kept('x-forwarded-host', fields.forwardedHost),
    forwarded: kept('forwarded', fields.forwarded),
    clientCertificate: kept('x-forwarded-client-cert', fields.clientCertificate),
    saysOfOthers: fields,
    requestId: kept('x-request-id', fields.requestId),
    traceparent: kept('traceparent', fields.traceparent),
    tracestate: kept('tracestate', fields.tracestate),
  };
}

const isPadded = (value: string): boolean =>
  isOws(value.charCodeAt(0)) || isOws(value.charCodeAt(value.length - 1));
const joined = (before: string | undefined, value: string): string =>
  before === undefined ? value : `${before}, ${value}`;
function withLine(lines: string[], value: string): string[] {
  return lines === NO_LINES ? [value] : [...lines, value];
}

function unreachable(kind: never): never {
  throw new TypeError(`unknown header kind ${String(kind)}`);
}
