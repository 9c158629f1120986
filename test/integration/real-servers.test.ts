import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { missingPostgres, programOf, startPostgres } from '../support/real-postgres.js';
import { missingRedis, redisCli, startRedis } from '../support/real-redis.js';

const run = promisify(execFile);

const leaves = 'answers on loopback and on its socket, and leaves nothing behind';

t.test(`a real PostgreSQL ${leaves}`, { skip: missingPostgres() }, async (t) => {
  const { port, socketPath, user, database, stop } = await startPostgres();
  t.teardown(stop);
  const folder = dirname(socketPath);
  for (const host of ['127.0.0.1', folder]) {
    const args = ['-h', host, '-p', String(port), '-U', user, '-d', database, '-Atc', 'select 6 * 7'];
    t.equal((await run(programOf('psql')!, args)).stdout, '42\n', host);
  }
  await stop();
  t.notOk(existsSync(folder));
});

t.test(`a real Redis ${leaves}`, { skip: missingRedis() }, async (t) => {
  const { port, socketPath, stop } = await startRedis();
  t.teardown(stop);
  t.equal((await run(redisCli()!, ['-h', '127.0.0.1', '-p', String(port), 'set', 'k', 'v'])).stdout, 'OK\n');
  t.equal((await run(redisCli()!, ['-s', socketPath, 'get', 'k'])).stdout, 'v\n');
  await stop();
  t.notOk(existsSync(dirname(socketPath)));
});
