import { request } from 'node:http';
import t, { type Test } from 'tap';
import { World } from '../support/start-proxy.js';

const HEALTH = `health:
  address: 127.0.0.1:0
  probes:
    - { path: /app, upstream: u, target: /health, timeout: 1s }
`;

async function start(t: Test): Promise<World> {
  const world = await World.start({ extra: HEALTH });
  t.teardown(() => world.close());
  return world;
}

/** The status and text of one answer; `host` is what the Host header says. */
function ask(
  address: string | undefined,
  path: string,
  host?: string,
): Promise<[number | undefined, string]> {
  return new Promise((resolve, reject) => {
    const headers = host === undefined ? {} : { host };
    const outgoing = request(`http://${address}${path}`, { headers, signal: AbortSignal.timeout(5000) });
    outgoing.once('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.once('end', () => resolve([response.statusCode, text]));
    });
    outgoing.once('error', reject).end();
  });
}

for (const [name, answer, status, text] of [
  ['200', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret', 200, 'app answered 200\n'],
  ['302', 'HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n', 200, 'app answered 302\n'],
  ['500', 'HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n', 503, 'app answered 500\n'],
  [
    '101',
    'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
    503,
    'app does not answer\n',
  ],
  ['nothing', undefined, 503, 'app does not answer\n'],
  ['no HTTP', 'hello\r\n\r\n', 503, 'app does not answer\n'],
  ['silence', '', 503, 'app does not answer\n'],
  ['a body without end', 'HTTP/1.1 200 OK\r\n\r\nabc', 200, 'app answered 200\n'],
] as const) {
  t.test(`a probe of an app that answers ${name} is answered ${status}`, async (t) => {
    const world = await start(t);
    world.upstream.respond = ({ socket }) => (answer === undefined ? socket.destroy() : socket.write(answer));
    const health = world.app.addresses.get('health');
    t.same(await ask(health, '/app'), [status, text]);
    t.same(await ask(health, '/livez'), [200, 'ok\n']);
  });
}

t.test(
  'the health listener is asked by any name, the admin listener by address or localhost alone',
  async (t) => {
    const world = await start(t);
    const [health, admin] = [world.app.addresses.get('health'), world.app.addresses.get('admin')];
    for (const host of ['web-0.pods.cluster.local:9902', 'localhost', '10.0.0.1:9902', '[::1]:9902']) {
      for (const path of ['/livez', '/readyz', '/metrics']) {
        t.equal((await ask(health, path, host))[0], 200, `${host}${path}`);
        const local = !host.startsWith('web');
        t.equal((await ask(admin, path, host))[0], local ? 200 : 421, `${host}${path}`);
      }
    }
    t.equal((await ask(health, '/snapshot'))[0], 404);
    t.equal((await ask(admin, '/snapshot', 'evil.test'))[0], 421);
  },
);
