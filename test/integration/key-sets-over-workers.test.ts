import t from 'tap';
import { KEY_SERVER_CA, KeyServer, newIssuerKey } from '../support/key-sets.js';
import { ProcessWorld } from '../support/run-process.js';
import { type ReadRecord, waitFor } from '../support/start-proxy.js';

t.test('keys that one worker finds at an issuer the others ask for at once', async (t) => {
  const server = await KeyServer.start(t);
  const [k1, k2] = [newIssuerKey('k1'), newIssuerKey('k2')];
  server.publish(k1);
  const proxy = await ProcessWorld.start({
    extra: `workers: 2
tokens:
  - { name: ci, issuer: "https://ci.test", audience: x, principal: "ci:{sub}", jwks: { url: "${server.url}", ca: keys-ca.pem } }`,
    files: { 'keys-ca.pem': KEY_SERVER_CA },
  });
  t.teardown(() => proxy.close());
  const snapshot = async (): Promise<ReadRecord> =>
    (await (await proxy.admin('/snapshot')).json()) as ReadRecord;
  const untilAgreedOn = (...kids: string[]): Promise<void> =>
    waitFor(
      async () => {
        const { agreed, workers, tokens } = await snapshot();
        const shown = tokens?.[0]?.keys?.map(({ kid }: ReadRecord) => kid);
        return agreed && workers.length === 2 && JSON.stringify(shown) === JSON.stringify(kids);
      },
      15_000,
      () => proxy.stderr,
    );
  await untilAgreedOn('k1');
  const { workers } = await snapshot();
  server.publish(k2);
  process.kill((workers[0] as { pid: number }).pid, 'SIGKILL'); // its replacement asks anew
  await untilAgreedOn('k2');
  t.pass('the worker that would have asked again in ten minutes trusts the old key no more');
});
