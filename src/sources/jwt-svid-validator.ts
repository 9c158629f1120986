import { type ServiceError, status } from '@grpc/grpc-js';
import type { EndpointSocket } from '../config/endpoint-socket.js';
import { parseSpiffeId, type SpiffeId } from '../identity/spiffe-id.js';
import {
  VALIDATE_METHOD,
  type ValidateJwtSvidRequest,
  type ValidateJwtSvidResponse,
} from '../identity/workload-proto.js';
import { err, ok, type Result } from '../reasons.js';
import {
  type Connection,
  connect,
  describeEnd,
  securityHeader,
  workloadService,
} from './workload-channel.js';

const ANSWER_MS = 5000;

/**
 * `rejected`: the token is bad, the caller gets a 401. `unsupported`: this agent never validates, verify by its bundles instead.
 * `unavailable`: nobody knows; the next token may be asked about.
 */
export interface NotValidated {
  readonly kind: 'rejected' | 'unsupported' | 'unavailable';
  readonly message: string;
}

/** Has the agent validate JWT-SVIDs (SPIFFE Workload API 6.3). */
export class JwtSvidValidator {
  readonly #connection: Connection;

  constructor(socket: EndpointSocket) {
    this.#connection = connect(socket);
  }

  /** The ID that the token stands for, when it is good for this audience. */
  validate(audience: string, svid: string): Promise<Result<SpiffeId, NotValidated>> {
    const { path, requestSerialize, responseDeserialize } = workloadService[VALIDATE_METHOD];
    const request: ValidateJwtSvidRequest = { audience, svid };
    return new Promise((resolve) => {
      this.#connection.client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        securityHeader(),
        { deadline: Date.now() + ANSWER_MS },
        (error: ServiceError | null, response?: object) =>
          resolve(error === null ? idOf(response as ValidateJwtSvidResponse) : notValidated(error)),
      );
    });
  }

  close(): void {
    this.#connection.close();
  }
}

function idOf({ spiffeId }: ValidateJwtSvidResponse): Result<SpiffeId, NotValidated> {
  const id = parseSpiffeId(spiffeId);
  return id.ok
    ? ok(id.value)
    : err({ kind: 'unavailable', message: `the agent answered no SPIFFE ID: ${id.error}` });
}

function notValidated(error: ServiceError): Result<never, NotValidated> {
  const message = describeEnd(error);
  switch (error.code) {
    case status.INVALID_ARGUMENT:
      return err({ kind: 'rejected', message }); // SPIRE says so of a bad token; it is not our mistake
    case status.UNIMPLEMENTED:
      return err({ kind: 'unsupported', message });
    default:
      return err({ kind: 'unavailable', message });
  }
}
