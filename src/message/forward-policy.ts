import { Failure } from '../reasons.js';
import { isAll, TOKEN } from './char-class.js';
import { type ForwardTemplate, parseForwardTemplate } from './forward-template.js';
import { HOP_BY_HOP, IDENTITY_HEADERS, normaliseHeaderName } from './header-names.js';

export { forwardTemplateFields, parseForwardTemplate } from './forward-template.js';

export type XfccMode = 'sanitize' | 'sanitize_set' | 'forward_only' | 'append_forward';

export interface ForwardHeader {
  readonly name: string;
  readonly template: string;
}

/** The `forward` part of the configuration. */
export interface ForwardConfig {
  readonly xfcc: XfccMode;
  readonly spiffeId: boolean;
  readonly clientCert: boolean;
  readonly headers: readonly ForwardHeader[];
}

export interface OwnIdentity {
  /** `outbound`: what our own workload sends to others, who find out by themselves whose it is. */
  readonly direction?: 'inbound' | 'outbound';
  readonly spiffeId: string | undefined;
  /** Our name in Via; must differ between proxies in a row (see pseudonymOf). */
  readonly pseudonym: string;
}

export interface PlannedHeader {
  readonly name: string;
  readonly template: ForwardTemplate;
}

/** A ForwardConfig made ready for the request path: compiled once for each configuration. */
export interface ForwardPlan {
  readonly direction: 'inbound' | 'outbound';
  readonly xfcc: XfccMode;
  readonly spiffeId: boolean;
  readonly clientCert: boolean;
  readonly headers: readonly PlannedHeader[];
  readonly ownSpiffeId: string | undefined;
  readonly pseudonym: string;
  /** Normalised names of `headers`: reserved beside the built-in ones. */
  readonly reserved: ReadonlySet<string>;
  /** 1 at the length of each reserved name, so that other names are passed by without normalising them. */
  readonly reservedLengths: Uint8Array;
  /** Names that no response may carry: RFC 9440 2.2 and our own. */
  readonly requestOnly: ReadonlySet<string>;
  readonly viaHttp10: string;
  readonly viaHttp11: string;
  readonly viaHttp2: string;
}

const MAX_NAME_LENGTH = 255;
/** Written by this proxy or by HTTP itself: an own header of these names would be a second truth. */
const NOT_FOR_OTHERS: ReadonlySet<string> = new Set([
  ...IDENTITY_HEADERS,
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'expect',
  'max-forwards',
  'via',
  'forwarded',
  'x-forwarded-for',
  'x-forwarded-proto',
  'x-forwarded-host',
  'x-request-id',
  'traceparent',
  'tracestate',
  'proxy',
]);

/** What is wrong with a name of `forward.headers` or of an injected credential, for `check`; undefined when it may be used. */
export function problemOfForwardHeader(name: string): string | undefined {
  if (name.length > MAX_NAME_LENGTH || !isAll(name, TOKEN)) return 'is not a header name';
  const normalised = normaliseHeaderName(name);
  if (
    normalised.startsWith('proxy-') ||
    normalised.startsWith('sec-websocket-') ||
    NOT_FOR_OTHERS.has(normalised)
  ) {
    return 'is written by the proxy itself or by HTTP';
  }
  return undefined;
}

/** Throws internal_error for what `check` should have refused: a half-compiled plan would let spoofed headers through. */
export function compileForwardPlan(config: ForwardConfig, own: OwnIdentity): ForwardPlan {
  const headers = config.headers.map(planHeader);
  const reserved = new Set(headers.map(({ name }) => normaliseHeaderName(name)));
  if (reserved.size !== headers.length)
    throw new Failure('internal_error', 'forward.headers names one twice');
  if (!isAll(own.pseudonym, TOKEN)) throw new Failure('internal_error', 'the Via pseudonym is not a token');
  const reservedLengths = new Uint8Array(MAX_NAME_LENGTH + 1);
  for (const name of reserved) reservedLengths[name.length] = 1;
  return {
    direction: own.direction ?? 'inbound',
    xfcc: config.xfcc,
    spiffeId: config.spiffeId,
    clientCert: config.clientCert,
    headers,
    ownSpiffeId: own.spiffeId,
    pseudonym: own.pseudonym,
    reserved,
    reservedLengths,
    requestOnly: new Set([...IDENTITY_HEADERS, ...reserved]),
    viaHttp10: `1.0 ${own.pseudonym}`,
    viaHttp11: `1.1 ${own.pseudonym}`,
    viaHttp2: `2 ${own.pseudonym}`, // RFC 9110 7.6.3: the minor version is left out where the major one says it all
  };
}

function planHeader({ name, template }: ForwardHeader): PlannedHeader {
  const problem = problemOfForwardHeader(name);
  if (problem !== undefined) throw new Failure('internal_error', `forward.headers: ${name} ${problem}`);
  const parsed = parseForwardTemplate(template);
  if (!parsed.ok) throw new Failure('internal_error', `forward.headers: ${name}: ${parsed.error}`);
  return { name: name.toLowerCase(), template: parsed.value };
}

/** Is this header one of the plan's own names in any spelling? */
export function isReservedByPlan(plan: ForwardPlan, name: string): boolean {
  return plan.reservedLengths[name.length] === 1 && plan.reserved.has(normaliseHeaderName(name));
}
