import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http2';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { nativeOf } from '../../src/http2-lifetime.js';

const PROGRAM = fileURLToPath(new URL('../support/collected-sessions.js', import.meta.url));

for (const role of ['client', 'server']) {
  t.test(`a ${role}'s sessions are collected behind their streams, and end no process`, async (t) => {
    const child = spawn(process.execPath, ['--expose-gc', PROGRAM, role], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    let told = '';
    child.stderr.on('data', (chunk: Buffer) => {
      told += chunk.toString();
    });
    const [code, signal] = await once(child, 'close');
    t.strictSame({ code, signal }, { code: 0, signal: null }, told.slice(0, 300));
  });
}

t.test("Node's native object of a session is found", async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { connect } = await import('node:http2');
  const address = server.address() as { port: number };
  const session = connect(`http://127.0.0.1:${address.port}`);
  await once(session, 'connect');
  t.equal(typeof nativeOf(session), 'object');
  session.destroy();
  server.close();
});
