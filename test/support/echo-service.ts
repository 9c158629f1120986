import {
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerReadableStream,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';

export const whole = (bytes: Buffer): Buffer => bytes;
const method = (path: string, requestStream: boolean, responseStream: boolean) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: whole,
  requestDeserialize: whole,
  responseSerialize: whole,
  responseDeserialize: whole,
});
const echo = (prefix: string): ServiceDefinition => ({
  unary: method(`${prefix}/Unary`, false, false),
  fail: method(`${prefix}/Fail`, false, false),
  hang: method(`${prefix}/Hang`, false, false),
  collect: method(`${prefix}/Collect`, true, false),
  list: method(`${prefix}/List`, false, true),
  chat: method(`${prefix}/Chat`, true, true),
});

/** A service that somebody else's library serves. */
export class EchoService {
  readonly server = new Server();
  readonly cancelled: string[] = [];
  port = 0;

  constructor(readonly prefix = '/test.Echo') {}

  async open(): Promise<this> {
    this.server.addService(echo(this.prefix), {
      unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const trailers = new Metadata();
        trailers.set('x-who', String(call.metadata.get('x-spiffe-id')[0]));
        trailers.set('x-spiffe-id', 'spiffe://a.test/forged');
        done(null, call.request, trailers);
      },
      fail: (_call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) =>
        done({ code: status.NOT_FOUND, details: 'no such thing' }),
      hang: (call: ServerUnaryCall<Buffer, Buffer>) => {
        call.on('cancelled', () => this.cancelled.push('hang'));
      },
      collect: (call: ServerReadableStream<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
        const parts: Buffer[] = [];
        call.on('data', (part: Buffer) => parts.push(part));
        call.on('end', () => done(null, Buffer.concat(parts)));
      },
      list: (call: ServerWritableStream<Buffer, Buffer>) => {
        for (let i = 0; i < 100; i++) call.write(Buffer.from(`${i};`));
        call.end();
      },
      chat: (call: ServerDuplexStream<Buffer, Buffer>) => {
        call.on('cancelled', () => this.cancelled.push('chat'));
        call.on('data', (part: Buffer) => call.write(part));
        call.on('end', () => call.end());
      },
    });
    this.port = await new Promise<number>((resolve, reject) =>
      this.server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error === null ? resolve(port) : reject(error),
      ),
    );
    return this;
  }
}
