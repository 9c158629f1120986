import { getRequest, postRequest } from '../support/raw-connection.js';
import type { LoadJob } from './load-protocol.js';

export interface Scenario {
  readonly name: string;
  readonly does: string;
  /** What the subjects are set up for: requests, or bytes of any kind. */
  readonly mode: 'http' | 'tcp';
  readonly kind: LoadJob['kind'];
  readonly connections: number;
  readonly request: string;
  /** What one unit of work is called in the table. */
  readonly unit: 'request' | 'connection' | 'handshake' | 'transfer';
  /** Every certificate only once. */
  readonly unseen: boolean;
  /** Octets of payload a unit moves, for MB/s. */
  readonly payloadBytes: number;
}

const MIB = 1024 * 1024;
const small = getRequest('/invoices/7').toString('latin1');
const bulk = getRequest('/bulk/7').toString('latin1');
const base = { mode: 'http', kind: 'keep-alive', unit: 'request', unseen: false, payloadBytes: 0 } as const;
const fresh = { mode: 'http', connections: 8, unseen: false, payloadBytes: 0, request: small } as const;

export const scenarios: readonly Scenario[] = [
  {
    ...base,
    name: 'keep-alive',
    does: 'small requests over 50 kept connections',
    connections: 50,
    request: small,
  },
  {
    ...fresh,
    name: 'new-connections',
    does: 'a connection, a full handshake and one request each time, the same certificate',
    kind: 'connect',
    unit: 'connection',
  },
  {
    ...fresh,
    name: 'handshake-seen',
    does: 'full handshakes and nothing more, the same certificate each time',
    kind: 'handshake',
    unit: 'handshake',
  },
  {
    ...fresh,
    name: 'handshake-unseen',
    does: 'full handshakes and nothing more, a certificate never seen before each time',
    kind: 'handshake',
    unit: 'handshake',
    unseen: true,
  },
  {
    ...base,
    name: 'download-1mib',
    does: 'answers of 1 MiB over 8 kept connections',
    connections: 8,
    request: bulk,
    payloadBytes: MIB,
  },
  {
    ...base,
    name: 'upload-1mib',
    does: 'request bodies of 1 MiB over 8 kept connections',
    connections: 8,
    request: postRequest('/invoices', MIB).toString('latin1'),
    payloadBytes: MIB,
  },
  {
    ...base,
    mode: 'tcp',
    name: 'tcp-1mib',
    does: 'transfers of 1 MiB over 8 long-lived connections of bytes',
    connections: 8,
    request: bulk,
    unit: 'transfer',
    payloadBytes: MIB,
  },
  {
    ...base,
    mode: 'tcp',
    name: 'tcp-upload-1mib',
    does: 'transfers of 1 MiB to the service over 8 long-lived connections of bytes',
    connections: 8,
    request: postRequest('/invoices', MIB).toString('latin1'),
    unit: 'transfer',
    payloadBytes: MIB,
  },
  {
    ...fresh,
    mode: 'tcp',
    name: 'tcp-1mib-new',
    does: 'a connection of bytes, a full handshake and one transfer of 1 MiB each time',
    kind: 'connect',
    unit: 'transfer',
    request: bulk,
    payloadBytes: MIB,
  },
];
