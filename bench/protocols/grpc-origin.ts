import { createServer } from 'node:http2';

/** A gRPC server on plaintext HTTP/2 whose every call says one empty message and then stays open. */

const MESSAGE = Buffer.alloc(5);

const server = createServer({ settings: { maxConcurrentStreams: 100_000 } });
server.on('stream', (stream) => {
  stream.on('error', () => undefined);
  stream.on('end', () => stream.end());
  stream.resume();
  stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
  stream.write(MESSAGE);
});
server.on('sessionError', () => undefined);
process.on('disconnect', () => process.exit(0));
server.listen(Number(process.argv[2]), '127.0.0.1', 1024);
