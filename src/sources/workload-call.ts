import { type ChannelOptions, Client, credentials, Metadata, type StatusObject, status } from '@grpc/grpc-js';
import { fromJSON, type MethodDefinition } from '@grpc/proto-loader';
import type { EndpointSocket } from '../config/endpoint-socket.js';
import { whyNotDecodable } from '../identity/wire-fields.js';
import {
  SECURITY_HEADER,
  WORKLOAD_SERVICE,
  type WorkloadMethod,
  workloadCodecOptions,
  workloadDescriptor,
} from '../identity/workload-proto.js';
import { workloadLimits } from '../identity/workload-update.js';
import { err, ok, type Result } from '../reasons.js';

/** One open server stream. Its messages come undecoded: a flood of them must cost next to nothing. */
export interface WorkloadCall {
  cancel(): void;
}

export interface CallEvents {
  onMessage(bytes: Buffer): void;
  /** Exactly once, after the last message, unless the call was cancelled. */
  onEnd(end: CallEnd): void;
}

export interface CallEnd {
  readonly code: number;
  readonly details: string;
}

const service = fromJSON(workloadDescriptor, workloadCodecOptions)[WORKLOAD_SERVICE] as unknown as Readonly<
  Record<WorkloadMethod, MethodDefinition<object, object>>
>;

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
  'grpc.enable_channelz': 0,
  'grpc.keepalive_time_ms': KEEPALIVE_MS,
  'grpc.keepalive_timeout_ms': 20_000,
};

/** Opens the stream; plain text, as SPIFFE Workload Endpoint 3.1 has it. Never throws: what fails comes as an end. */
export function openCall(socket: EndpointSocket, method: WorkloadMethod, events: CallEvents): WorkloadCall {
  const client = new Client(targetOf(socket), credentials.createInsecure(), channelOptions);
  const metadata = new Metadata();
  metadata.set(SECURITY_HEADER.name, SECURITY_HEADER.value);
  const { path, requestSerialize } = service[method];
  const call = client.makeServerStreamRequest(path, requestSerialize, (bytes) => bytes, {}, metadata);
  let isOver = false;
  let result: StatusObject | undefined;
  let hasEnded = false;
  const finish = (): void => {
    if (isOver || result === undefined || !hasEnded) return;
    isOver = true;
    client.close();
    events.onEnd(result);
  };
  call.on('data', (bytes: Buffer) => {
    if (!isOver) events.onMessage(bytes);
  });
  call.on('error', () => {}); // told by its status
  call.on('status', (given) => {
    result = given;
    finish();
  });
  // The status overtakes messages that wait to be read; the last of them may be what matters.
  call.on('end', () => {
    hasEnded = true;
    finish();
  });
  return {
    cancel: () => {
      isOver = true;
      call.cancel();
      client.close();
    },
  };
}

/** Addresses only, so that nothing is ever looked up. */
function targetOf(socket: EndpointSocket): string {
  if (socket.kind === 'unix') return `unix://${socket.path}`;
  return socket.host.includes(':')
    ? `ipv6:[${socket.host}]:${socket.port}`
    : `ipv4:${socket.host}:${socket.port}`;
}

/** Fields of one message: as many as the limits allow, and some that this version does not know. */
const MOST_FIELDS = workloadLimits.svids + workloadLimits.bundles + workloadLimits.crls + 64;

/** The message as its proto has it; every field is there. */
export function decodeMessage<T extends object>(method: WorkloadMethod, bytes: Buffer): Result<T, string> {
  const problem = whyNotDecodable(bytes, MOST_FIELDS);
  if (problem !== undefined) return err(problem);
  try {
    return ok(service[method].responseDeserialize(bytes) as T);
  } catch {
    return err('it cannot be decoded');
  }
}

export type Reaction = 'retry' | 'reconnect' | 'stop' | 'denied';

/** What an end asks for (SPIFFE Workload Endpoint 6 and appendix A). */
export function reactionTo({ code }: CallEnd): Reaction {
  switch (code) {
    case status.OK:
      return 'reconnect';
    case status.PERMISSION_DENIED:
      return 'denied';
    case status.INVALID_ARGUMENT:
    case status.UNIMPLEMENTED:
      return 'stop';
    default:
      return 'retry';
  }
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
