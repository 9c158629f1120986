import { connect, createServer } from 'node:net';

/** A loopback port that was free a moment ago: the proxies beside us cannot be asked for port 0. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Resolves when something accepts on the port; rejects at the deadline or when `hasEnded` says that nothing ever will. */
export async function untilListening(
  port: number,
  hasEnded: () => boolean,
  deadlineMs = 15_000,
): Promise<void> {
  const until = performance.now() + deadlineMs;
  while (!(await accepts(port))) {
    if (hasEnded()) throw new Error('it ended before it listened');
    if (performance.now() > until) throw new Error(`nothing listens after ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
