import { status } from '@grpc/grpc-js';
import type { EndpointSocket } from '../config/endpoint-socket.js';
import { whyNotDecodable } from '../identity/wire-fields.js';
import type { WorkloadMethod } from '../identity/workload-proto.js';
import { workloadLimits } from '../identity/workload-update.js';
import { err, ok, type Result } from '../reasons.js';
import { type CallEnd, connect, securityHeader, workloadService } from './workload-channel.js';

/** One open server stream. Its messages come undecoded: a flood of them must cost next to nothing. */
export interface WorkloadCall {
  cancel(): void;
}

export interface CallEvents {
  onMessage(bytes: Buffer): void;
  /** Exactly once, after the last message, unless the call was cancelled. */
  onEnd(end: CallEnd): void;
}

/** Opens the stream on a connection of its own. What fails comes as an end. */
export function openCall(socket: EndpointSocket, method: WorkloadMethod, events: CallEvents): WorkloadCall {
  const connection = connect(socket);
  const { path, requestSerialize } = workloadService[method];
  const call = connection.client.makeServerStreamRequest(
    path,
    requestSerialize,
    (bytes) => bytes,
    {},
    securityHeader(),
  );
  let isOver = false;
  let result: CallEnd | undefined;
  let hasEnded = false;
  const finish = (): void => {
    if (isOver || result === undefined || !hasEnded) return;
    isOver = true;
    connection.close();
    events.onEnd(result);
  };
  call.on('data', (bytes: Buffer) => {
    if (!isOver) events.onMessage(bytes);
  });
  call.on('error', () => {}); // told by its status
  call.on('status', (given: Partial<CallEnd>) => {
    // grpc-js has neither code nor details for a message that it cannot unpack.
    const code = Number.isInteger(given.code) ? given.code : undefined;
    result = { code: code ?? status.UNKNOWN, details: given.details ?? 'a message cannot be unpacked' };
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
      connection.close();
    },
  };
}

/** Fields of one message: as many as the limits allow, and some that this version does not know. */
const MOST_FIELDS = workloadLimits.svids + workloadLimits.bundles + workloadLimits.crls + 64;

/** The message as its proto has it; every field is there. */
export function decodeMessage<T extends object>(method: WorkloadMethod, bytes: Buffer): Result<T, string> {
  const problem = whyNotDecodable(bytes, MOST_FIELDS);
  if (problem !== undefined) return err(problem);
  try {
    return ok(workloadService[method].responseDeserialize(bytes) as T);
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
