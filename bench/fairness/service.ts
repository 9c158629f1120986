import { createServer, type Socket } from 'node:net';
import { MessageScanner } from '../support/message-scanner.js';

/** A service that takes so many milliseconds for each answer: argv PORT MS. */

const BODY = '{"invoice":7,"state":"paid"}\n';
const ANSWER = Buffer.from(
  `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${BODY.length}\r\n\r\n${BODY}`,
);
const [port, delayMs] = process.argv.slice(2).map(Number);

const server = createServer({ noDelay: true }, (socket: Socket) => {
  const scanner = new MessageScanner();
  socket.on('data', (chunk: Buffer) => {
    for (let left = scanner.push(chunk); left > 0; left--) setTimeout(() => socket.write(ANSWER), delayMs);
  });
  socket.on('error', () => socket.destroy());
});

process.on('disconnect', () => process.exit(0));
server.listen(port, '127.0.0.1', 1024);
