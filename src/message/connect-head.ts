import type { ReceivedFields } from './header-fields.js';
import { parseHost } from './host.js';
import type { RequestHead } from './request-head.js';

/** What a TCP connection is asked about as; requests with this method are never forwarded. */
export const CONNECT = 'CONNECT';

const NONE: readonly string[] = [];
const NOTHING_RECEIVED: ReceivedFields = {
  via: undefined,
  forwardedFor: undefined,
  forwardedProto: undefined,
  forwardedHost: undefined,
  forwarded: undefined,
  clientCertificate: undefined,
  saysOfOthers: { assertion: undefined, clientCertificate: undefined },
  requestId: undefined,
  traceparent: undefined,
  tracestate: undefined,
};

/** What a whole TCP connection asks for, as routes and policy read it. @param host the name that TLS was asked for, or ''. */
export function connectHead(host: string): RequestHead {
  return {
    method: CONNECT,
    httpVersion: '1.1',
    target: {
      host,
      authority: host,
      path: '/',
      query: '',
      decodedSlashPath: undefined,
      decodedPath: undefined,
    },
    rawHeaders: NONE,
    endToEnd: NONE,
    received: NOTHING_RECEIVED,
    body: { kind: 'none' },
    upgrade: undefined,
    expectsContinue: false,
    acceptsTrailers: false,
    maxForwards: undefined,
  };
}

/** One spelling of one name: what routes compare is what the client asked for. '' = it asked for none. */
export function isServerName(name: string): boolean {
  if (name === '') return true;
  const host = parseHost(name);
  return host.ok && host.value.host === name;
}
