import { createHash } from 'node:crypto';
import { createServer, type Socket } from 'node:net';
import { MessageScanner } from '../support/message-scanner.js';

/**
 * The service behind, as cheap as Node can make it. `/bulk…` answers 1 MiB, `/slow…` begins an answer and never ends it,
 * `/socket…` takes a WebSocket and says nothing on it, anything else a few bytes. Told `keepIds`, it remembers the x-request-id of everything it was asked, for the books.
 */

const answer = (body: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\n\r\n`),
    body,
  ]);
const SMALL = answer(Buffer.from('{"invoice":7,"state":"paid"}\n'));
const BULK = answer(Buffer.alloc(1024 * 1024, 'x'));
const BEGUN = Buffer.from(
  'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1000000\r\n\r\nfirst part',
);
const SOCKET_KEY = /\r\nsec-websocket-key: *([^\r]*)/i;
const REQUEST_ID = /\r\nx-request-id: *([^\r]*)/i;

/** RFC 6455 4.2.2. */
function upgraded(head: string): string {
  const key = `${SOCKET_KEY.exec(head)?.[1]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
  const accept = createHash('sha1').update(key).digest('base64');
  return `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`;
}

export type OriginMessage = { readonly keepIds: true } | { readonly report: true };
export interface OriginReport {
  readonly requests: number;
  readonly ids: readonly string[];
}

let requests = 0;
let ids: string[] | undefined;

const server = createServer({ noDelay: true }, (socket: Socket) => {
  const scanner = new MessageScanner();
  socket.on('data', (chunk: Buffer) => {
    for (let left = scanner.push(chunk); left > 0; left--) {
      requests++;
      const { head } = scanner;
      ids?.push(REQUEST_ID.exec(head)?.[1] ?? '');
      if (head.startsWith('GET /slow')) socket.write(BEGUN);
      else if (head.startsWith('GET /socket')) socket.write(upgraded(head));
      else socket.write(head.startsWith('GET /bulk') ? BULK : SMALL);
    }
  });
  socket.on('error', () => socket.destroy());
});

process.on('message', (message: OriginMessage) => {
  if ('keepIds' in message) ids = [];
  else process.send?.({ requests, ids: ids ?? [] } satisfies OriginReport);
});
process.on('disconnect', () => process.exit(0));
server.listen(Number(process.argv[2]), '127.0.0.1', 1024);
