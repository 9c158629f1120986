import type { Socket } from 'node:net';
import { type ChannelOptions, Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { fromJSON, type MethodDefinition } from '@grpc/proto-loader';
import type { EndpointSocket } from '../config/endpoint-socket.js';
import {
  SECURITY_HEADER,
  type VALIDATE_METHOD,
  WORKLOAD_SERVICE,
  type WorkloadMethod,
  workloadCodecOptions,
  workloadDescriptor,
} from '../identity/workload-proto.js';
import { workloadLimits } from '../identity/workload-update.js';

export const workloadService = fromJSON(workloadDescriptor, workloadCodecOptions)[
  WORKLOAD_SERVICE
] as unknown as Readonly<Record<WorkloadMethod | typeof VALIDATE_METHOD, MethodDefinition<object, object>>>;

/** A dead agent behind a live connection is found out this way. grpc-go cuts off who asks more often than every 5 minutes. */
const KEEPALIVE_MS = 6 * 60_000;

const channelOptions: ChannelOptions = {
  'grpc.max_receive_message_length': workloadLimits.messageBytes,
  // The endpoint is the one that was named: no proxy out of the environment, no configuration out of the DNS.
  'grpc.enable_http_proxy': 0,
  'grpc.service_config_disable_resolution': 1,
  // Each call has a connection of its own, and our pace of coming back, not that of the library.
  'grpc.enable_retries': 0,
  'grpc.use_local_subchannel_pool': 1,
  'grpc.max_reconnect_backoff_ms': 10_000,
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': 20_000,
};

export interface Connection {
  readonly client: Client;
  /** Ends it now, with whatever it still carries. */
  close(): void;
}

/** A connection to the agent, made at the first call; plain text, as SPIFFE Workload Endpoint 3.1 has it. */
export function connect(socket: EndpointSocket): Connection {
  const sockets = new Set<Socket>();
  let isClosed = false;
  const insecure = credentials.createInsecure();
  const makeConnector = insecure._createSecureConnector.bind(insecure);
  // grpc-js 1.14 never lets go of a socket whose other end takes the connection and says nothing: a stopped agent would
  // cost a descriptor with every attempt. So we hold them too.
  insecure._createSecureConnector = (...how) => {
    const connector = makeConnector(...how);
    const connectSocket = (made: Socket): ReturnType<typeof connector.connect> => {
      if (isClosed) return Promise.reject(new Error('closed')); // the library then destroys it
      sockets.add(made);
      made.once('close', () => sockets.delete(made));
      return connector.connect(made);
    };
    return { ...connector, connect: connectSocket };
  };
  const client = new Client(targetOf(socket), insecure, channelOptions);
  const close = (): void => {
    isClosed = true;
    client.close();
    for (const made of sockets) made.destroy();
  };
  return { client, close };
}

/** Addresses only, so that nothing is ever looked up. */
function targetOf(socket: EndpointSocket): string {
  if (socket.kind === 'unix') return `unix://${socket.path}`;
  return socket.host.includes(':')
    ? `ipv6:[${socket.host}]:${socket.port}`
    : `ipv4:${socket.host}:${socket.port}`;
}

export function securityHeader(): Metadata {
  const metadata = new Metadata();
  metadata.set(SECURITY_HEADER.name, SECURITY_HEADER.value);
  return metadata;
}

/** How a call ended: a gRPC status code, and words for people. */
export interface CallEnd {
  readonly code: number;
  readonly details: string;
}

const MAX_SHOWN = 300;

/** For people: the same end always reads the same, on one line. */
export function describeEnd({ code, details }: CallEnd): string {
  const text = details
    .replace(/^No connection established\. Last error: (Error: )?/, '')
    .replace(/ ?\(\d{4}-\d\d-\d\dT[\d:.]+Z\)/g, '')
    .replace(/\. Resolution note: $/, '')
    .replace(/[^!-~]+/g, ' ')
    .trim()
    .slice(0, MAX_SHOWN);
  const name = status[code] ?? `status ${code}`;
  return text === '' ? name : `${name}: ${text}`;
}
