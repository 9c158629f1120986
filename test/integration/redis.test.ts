import { execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { waitFor } from '../support/start-proxy.js';
import { startTcpWorld, type TcpService } from '../support/tcp-world.js';

const isThere = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const missing =
  isThere('redis-server') && isThere('redis-cli') ? false : 'Redis (server and redis-cli) is not installed';

t.test(
  'redis-cli with a client certificate reaches a real Redis that knows no TLS',
  { skip: missing },
  async (t) => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as { port: number };
    probe.close();
    const server = spawn('redis-server', [
      '--port',
      String(port),
      '--save',
      '',
      '--appendonly',
      'no',
      '--bind',
      '127.0.0.1',
    ]);
    let log = '';
    server.stdout.on('data', (chunk) => {
      log += chunk;
    });
    t.teardown(async () => {
      server.kill();
      await once(server, 'exit');
    });
    await waitFor(
      () => log.includes('eady to accept connections'),
      20_000,
      () => log,
    );
    const world = await startTcpWorld({ port } as TcpService);
    t.teardown(() => world.close());
    const ask = async (name: 'web' | 'admin', ...command: string[]) => {
      world.write(`${name}.pem`, world[name].chainPem);
      world.write(`${name}.key`, world[name].keyPem);
      const at = (file: string) => join(world.dir, file);
      const tls = ['--tls', '--cacert', at('a.pem'), '--cert', at(`${name}.pem`), '--key', at(`${name}.key`)];
      return promisify(execFile)(
        'redis-cli',
        ['-h', 'localhost', '-p', String(world.port), ...tls, ...command],
        {
          timeout: 10_000,
        },
      );
    };
    t.equal((await ask('web', 'SET', 'colour', 'green')).stdout.trim(), 'OK');
    t.equal((await ask('web', 'GET', 'colour')).stdout.trim(), 'green');
    const denied = await ask('admin', 'GET', 'colour').catch((error) => error);
    t.notMatch(denied.stdout, /green/);
    const records = await world.untilRecords(5);
    t.ok(records.some(({ decision }) => decision.reason === 'no_rule_matched'));
    t.ok(records.some(({ phase, request }) => phase === 'end' && request.bytes > 0));
  },
);
