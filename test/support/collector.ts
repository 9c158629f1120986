import {
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { fromJSON, type MethodDefinition } from '@grpc/proto-loader';

/** opentelemetry-proto 1.x, logs: as much as a collector needs to read what it is sent. Another decoder than the sender's. */
const descriptor: Parameters<typeof fromJSON>[0] = {
  nested: {
    otlp: {
      nested: {
        LogsService: {
          methods: {
            Export: {
              requestType: 'ExportLogsServiceRequest',
              responseType: 'ExportLogsServiceResponse',
              comment: '',
            },
          },
        },
        ExportLogsServiceRequest: {
          fields: { resourceLogs: { rule: 'repeated', type: 'ResourceLogs', id: 1 } },
        },
        ExportLogsServiceResponse: { fields: { partialSuccess: { type: 'PartialSuccess', id: 1 } } },
        PartialSuccess: {
          fields: {
            rejectedLogRecords: { type: 'int64', id: 1 },
            errorMessage: { type: 'string', id: 2 },
          },
        },
        ResourceLogs: {
          fields: {
            resource: { type: 'Resource', id: 1 },
            scopeLogs: { rule: 'repeated', type: 'ScopeLogs', id: 2 },
          },
        },
        Resource: { fields: { attributes: { rule: 'repeated', type: 'KeyValue', id: 1 } } },
        ScopeLogs: {
          fields: {
            scope: { type: 'Scope', id: 1 },
            logRecords: { rule: 'repeated', type: 'LogRecord', id: 2 },
          },
        },
        Scope: { fields: { name: { type: 'string', id: 1 } } },
        KeyValue: { fields: { key: { type: 'string', id: 1 }, value: { type: 'AnyValue', id: 2 } } },
        AnyValue: {
          oneofs: { value: { oneof: ['stringValue', 'boolValue', 'intValue', 'doubleValue'] } },
          fields: {
            stringValue: { type: 'string', id: 1 },
            boolValue: { type: 'bool', id: 2 },
            intValue: { type: 'int64', id: 3 },
            doubleValue: { type: 'double', id: 4 },
          },
        },
        LogRecord: {
          fields: {
            timeUnixNano: { type: 'fixed64', id: 1 },
            observedTimeUnixNano: { type: 'fixed64', id: 11 },
            severityNumber: { type: 'int32', id: 2 },
            severityText: { type: 'string', id: 3 },
            body: { type: 'AnyValue', id: 5 },
            attributes: { rule: 'repeated', type: 'KeyValue', id: 6 },
            traceId: { type: 'bytes', id: 9 },
            eventName: { type: 'string', id: 12 },
          },
        },
      },
    },
  },
};

const service = fromJSON(descriptor, { longs: String, bytes: Buffer, arrays: true, keepCase: true });
const { Export } = service['otlp.LogsService'] as unknown as {
  readonly Export: MethodDefinition<object, object>;
};

type Value = Readonly<Record<string, string | number | boolean>> | null;
interface Pair {
  readonly key: string;
  readonly value: Value;
}

interface Request {
  readonly resourceLogs: readonly {
    readonly resource: { readonly attributes: readonly Pair[] };
    readonly scopeLogs: readonly {
      readonly scope: { readonly name: string };
      readonly logRecords: readonly {
        readonly timeUnixNano: string;
        readonly severityNumber: number;
        readonly severityText: string;
        readonly body: Value;
        readonly attributes: readonly Pair[];
        readonly traceId: Buffer | undefined;
        readonly eventName: string;
      }[];
    }[];
  }[];
}

export interface CollectedLog {
  /** The line that was sent. */
  readonly body: unknown;
  readonly timeUnixNano: string;
  readonly severity: string;
  readonly eventName: string;
  readonly traceId: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly resource: Readonly<Record<string, unknown>>;
}

export interface Batch {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly logs: readonly CollectedLog[];
}

/** What a collector does with a batch. It has taken it unless `false` comes back. */
export type CollectorReply = (batch: Batch, response: ServerResponse, socket: Socket) => boolean;

/** An answer of OTLP: all taken, or all but so many. */
export const takes =
  (rejectedLogRecords = 0, errorMessage = ''): CollectorReply =>
  (_batch, response) => {
    const partialSuccess = rejectedLogRecords === 0 && errorMessage === '' ? undefined : {};
    const answer = Export.responseSerialize({
      partialSuccess: partialSuccess && { rejectedLogRecords, errorMessage },
    });
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end(answer);
    return true;
  };

/** An answer that says no, with these header fields. */
export const says =
  (status: number, headers: Readonly<Record<string, string>> = {}): CollectorReply =>
  (_batch, response) => {
    response.writeHead(status, headers).end('no');
    return false;
  };

/** Breaks the connection. */
export const resets: CollectorReply = (_batch, _response, socket) => {
  socket.resetAndDestroy();
  return false;
};

/** Never answers. */
export const hangs: CollectorReply = () => false;

/** A real HTTP server that decodes OTLP logs in protobuf, as a collector does. */
export class Collector {
  /** Every batch that came, taken or not. */
  readonly asked: Batch[] = [];
  readonly taken: CollectedLog[] = [];
  reply: CollectorReply = takes();
  readonly sockets = new Set<Socket>();
  readonly #server: Server;
  readonly #isSecure: boolean;

  constructor(tls?: { readonly cert: string; readonly key: string }) {
    const listener = (request: IncomingMessage, response: ServerResponse): void => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => this.#take(request, Buffer.concat(chunks), response));
    };
    this.#isSecure = tls !== undefined;
    this.#server = tls === undefined ? createServer(listener) : createSecureServer(tls, listener);
    this.#server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
  }

  async open(port = 0): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(port, '127.0.0.1', resolve));
    return this;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `${this.#isSecure ? 'https' : 'http'}://127.0.0.1:${this.port}/v1/logs`;
  }

  /** What was taken, as the file has it. */
  get text(): string {
    return this.taken.map(({ body }) => `${body}\n`).join('');
  }

  async close(): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #take(request: IncomingMessage, body: Buffer, response: ServerResponse): void {
    const batch = { path: request.url ?? '', headers: request.headers, logs: decode(body) };
    this.asked.push(batch);
    if (this.reply(batch, response, request.socket)) this.taken.push(...batch.logs);
  }
}

function decode(body: Buffer): CollectedLog[] {
  const { resourceLogs } = Export.requestDeserialize(body) as Request;
  return resourceLogs.flatMap(({ resource, scopeLogs }) =>
    scopeLogs.flatMap(({ logRecords }) =>
      logRecords.map((log) => ({
        body: plain(log.body),
        timeUnixNano: log.timeUnixNano,
        severity: `${log.severityNumber} ${log.severityText}`,
        eventName: log.eventName,
        traceId: log.traceId?.toString('hex') ?? '',
        attributes: toObject(log.attributes),
        resource: toObject(resource.attributes),
      })),
    ),
  );
}

const toObject = (pairs: readonly Pair[]): Record<string, unknown> =>
  Object.fromEntries(pairs.map(({ key, value }) => [key, plain(value)]));

const plain = (value: Value): unknown => {
  if (value === null) return undefined;
  return 'intValue' in value ? Number(value.intValue) : Object.values(value)[0];
};
