import { EventEmitter, once } from 'node:events';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { fromJSON, type MethodDefinition } from '@grpc/proto-loader';
import {
  SECURITY_HEADER,
  VALIDATE_METHOD,
  type ValidateJwtSvidRequest,
  type ValidateJwtSvidResponse,
  WORKLOAD_SERVICE,
  type WorkloadMethod,
  workloadCodecOptions,
  workloadDescriptor,
} from '../identity/workload-proto.js';

/** A SPIFFE Workload API over a real socket that says what it is told to say: for the demo and for tests. */

/** A message, or the very bytes to send in its place. */
export type Offered = object | Buffer;

/** One stream that a client holds open. */
export interface OfferedStream {
  readonly method: WorkloadMethod;
  /** Of the HTTP/2 request. */
  readonly path: string;
  /** What the client sent under each name. */
  readonly metadata: Readonly<Record<string, readonly string[]>>;
  send(message: Offered): void;
  /** Ends it with a gRPC status; 0 is a normal end. */
  end(code?: number, details?: string): void;
  readonly ended: Promise<unknown>;
}

/** What a new stream gets: the present message (the default), nothing at all, or a status at once. */
export type Answer = 'offer' | 'hang' | { readonly code: number; readonly details?: string };

/** The SPIFFE ID that a token stands for, or a status. */
export type Validation = string | { readonly code: number; readonly details?: string };

type Call = ServerWritableStream<object, Offered>;
type ValidateCall = ServerUnaryCall<ValidateJwtSvidRequest, ValidateJwtSvidResponse>;

const methods: readonly WorkloadMethod[] = ['FetchX509SVID', 'FetchX509Bundles', 'FetchJWTBundles'];

export class WorkloadApiServer {
  /** Every call that was ever made, oldest first. */
  readonly calls: OfferedStream[] = [];
  readonly #open = new Set<OfferedStream>();
  readonly #offers = new Map<WorkloadMethod, Offered>();
  readonly #answers = new Map<WorkloadMethod, Answer>();
  readonly #events = new EventEmitter();
  #validate: (request: ValidateJwtSvidRequest) => Validation | Promise<Validation> = () => ({
    code: status.UNIMPLEMENTED,
  });
  readonly #server = new Server({ 'grpc.max_send_message_length': -1 });

  private constructor() {
    this.#server.addService(rawService(), {
      ...Object.fromEntries(methods.map((method) => [method, (call: Call) => this.#answer(method, call)])),
      [VALIDATE_METHOD]: async (call: ValidateCall, reply: sendUnaryData<ValidateJwtSvidResponse>) => {
        const answer = isSecured(metadataOf(call)) ? await this.#validate(call.request) : insecure;
        if (typeof answer === 'string') reply(null, { spiffeId: answer });
        else reply({ code: answer.code, details: answer.details ?? '' });
      },
    });
  }

  /** Listens on `unix:/path` or `127.0.0.1:0`. */
  static async listen(address: string): Promise<WorkloadApiServer & { readonly port: number }> {
    const server = new WorkloadApiServer();
    const port = await new Promise<number>((resolve, reject) => {
      server.#server.bindAsync(address, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      );
    });
    return Object.assign(server, { port });
  }

  /** From now on the state of this method: every open stream gets it now, every new one at once. */
  offer(method: WorkloadMethod, message: Offered): void {
    this.#offers.set(method, message);
    for (const stream of this.#open) if (stream.method === method) stream.send(message);
  }

  /** How new streams of this method are answered. */
  answer(method: WorkloadMethod, answer: Answer): void {
    this.#answers.set(method, answer);
  }

  /** How JWT-SVIDs are judged; before it is called the method is not implemented. */
  validateBy(judge: (request: ValidateJwtSvidRequest) => Validation | Promise<Validation>): void {
    this.#validate = judge;
  }

  /** The next stream that a client opens. */
  async nextCall(): Promise<OfferedStream> {
    const [stream] = (await once(this.#events, 'call')) as [OfferedStream];
    return stream;
  }

  /** Cuts every connection and stops listening. */
  close(): void {
    this.#server.forceShutdown();
  }

  #answer(method: WorkloadMethod, call: Call): void {
    const stream = describeCall(method, call);
    this.calls.push(stream);
    this.#open.add(stream);
    void stream.ended.then(() => this.#open.delete(stream));
    const answer = this.#answers.get(method) ?? 'offer';
    const offered = this.#offers.get(method);
    if (!isSecured(stream.metadata)) stream.end(insecure.code, insecure.details);
    else if (typeof answer === 'object') stream.end(answer.code, answer.details);
    else if (answer === 'offer' && offered === undefined)
      stream.end(status.PERMISSION_DENIED, 'no identity issued'); // as SPIRE says it
    else if (answer === 'offer' && offered !== undefined) stream.send(offered);
    this.#events.emit('call', stream);
  }
}

const insecure = { code: status.INVALID_ARGUMENT, details: 'security header missing from request' };

type Sent = Readonly<Record<string, readonly string[]>>;

/** SPIFFE Workload Endpoint 3: who does not say it, exactly so, may have been talked into the call by somebody else. */
const isSecured = (metadata: Sent): boolean =>
  metadata[SECURITY_HEADER.name]?.join() === SECURITY_HEADER.value;

const metadataOf = ({ metadata }: Pick<Call, 'metadata'>): Sent =>
  Object.fromEntries(Object.keys(metadata.getMap()).map((name) => [name, metadata.get(name).map(String)]));

/** The service, with codecs that let bytes pass as they are. */
function rawService(): ServiceDefinition {
  const service = fromJSON(workloadDescriptor, workloadCodecOptions)[WORKLOAD_SERVICE] as unknown as Record<
    string,
    MethodDefinition<object, object>
  >;
  return Object.fromEntries(
    Object.entries(service).map(([name, method]) => {
      const responseSerialize = (message: Offered): Buffer =>
        Buffer.isBuffer(message) ? message : method.responseSerialize(message);
      return [name, { ...method, responseSerialize }];
    }),
  );
}

function describeCall(method: WorkloadMethod, call: Call): OfferedStream {
  return {
    method,
    path: call.getPath(),
    metadata: metadataOf(call),
    send: (message) => void call.write(message),
    end: (code = status.OK, details = '') => {
      if (code === status.OK) call.end();
      else call.emit('error', { code, details });
    },
    ended: new Promise((resolve) => {
      call.once('cancelled', resolve);
      call.once('close', resolve);
      call.once('finish', resolve);
      call.once('error', resolve);
    }),
  };
}
