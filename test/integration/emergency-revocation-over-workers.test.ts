import t from 'tap';
import type { RawClient } from '../support/raw-client.js';
import { ProcessWorld } from '../support/run-process.js';
import { GET } from '../support/sources.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

const ask = async (client: RawClient): Promise<number> => (await client.ask(GET))[0]?.status ?? 0;

t.test(
  'an emergency revocation that one worker does not confirm is answered with 500 until all of them enforce it',
  async (t) => {
    const proxy = await ProcessWorld.start({
      extra: 'workers: 2\nemergencyRevocations: emergency.yaml',
    });
    t.teardown(() => proxy.close());
    const open = await Promise.all(Array.from({ length: 4 }, () => proxy.client()));
    for (const client of open) t.equal(await ask(client), 200);
    const revoke = async (): Promise<{ status: number; body: ReadRecord }> => {
      const response = await fetch(`http://${proxy.address('admin')}/revocations`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ id: proxy.world.web.uri, reason: 'key leaked', author: 'alice' }),
      });
      return { status: response.status, body: (await response.json()) as ReadRecord };
    };
    const { workers } = await proxy.snapshot();
    const { pid } = workers[0] as { pid: number };
    process.kill(pid, 'SIGSTOP');
    t.teardown(() => {
      if (proxy.stderr.includes('was stopped')) return; // it is gone, and its number may be another's
      process.kill(pid, 'SIGKILL');
    });

    const partial = await revoke();
    t.equal(partial.status, 500);
    t.match(partial.body, {
      detail: /^IN FORCE IN 1 OF 2 WORKERS: .*did not answer/,
      added: 1,
      workersSilent: 1,
      revocations: [{ id: proxy.world.web.uri, state: 'in_force' }],
    });
    t.notMatch(partial.body.revocations[0], { kept: false }, 'what comes after the silent one will read it');
    const { connections } = partial.body; // a busy machine deals them out unevenly
    t.ok(connections > 0 && connections < open.length, `${connections} connections`);
    await waitFor(
      () => open.filter(({ closed }) => closed).length === connections,
      5000,
      () => 'the connections of the worker that answers',
    );
    await Promise.all(open.map((client) => client.untilClosed())); // by the end of the silent one
    await waitFor(
      () => proxy.stderr.includes('a worker was replaced'),
      15_000,
      () => proxy.stderr,
    );
    const whole = await revoke();
    t.equal(whole.status, 200);
    t.match(whole.body, { added: 0, connections: 0 });
    t.notOk('workersSilent' in whole.body);
    for (const client of [await proxy.client(), await proxy.client()])
      t.equal(await ask(client), 403, 'in either worker');
  },
);
