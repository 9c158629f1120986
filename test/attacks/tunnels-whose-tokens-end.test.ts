import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { RawClient } from '../support/raw-client.js';
import { waitFor } from '../support/start-proxy.js';
import { ask, TOKEN_POLICY, TokenWorld } from '../support/token-world.js';

const UPGRADE = `Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${'A'.repeat(22)}==\r\n`;
const OPENED =
  'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI=\r\n\r\n';

interface Tunnels {
  readonly tokens: TokenWorld;
  readonly ahead: (ms: number) => void;
  readonly open: (path: string, token: string | undefined, client?: RawClient) => Promise<RawClient>;
}

async function start(t: Test): Promise<Tunnels> {
  let aheadMs = 0;
  const tokens = await TokenWorld.start({ nowMs: () => Date.now() + aheadMs });
  t.teardown(() => tokens.close());
  const { world } = tokens;
  world.upstream.respond = (connection) => {
    if (connection.bytes.endsWith('\r\n\r\n')) connection.socket.write(OPENED);
  };
  const open: Tunnels['open'] = async (path, token, client) => {
    const opened = client ?? (await world.nobody());
    opened.send(ask(path, token, UPGRADE));
    await opened.until(() => opened.received.includes('\r\n\r\n'));
    if (!opened.received.startsWith('HTTP/1.1 101')) throw new Error(opened.received);
    return opened;
  };
  const ahead = (ms: number): void => {
    aheadMs = ms;
  };
  return { tokens, ahead, open };
}

/** Those of `ended` are over, and `left` carry on. */
async function ends(t: Test, { tokens }: Tunnels, ended: readonly RawClient[], left: readonly RawClient[]) {
  await Promise.all(ended.map((client) => client.untilClosed()));
  const over = () => tokens.world.exchanges.filter(({ phase }) => phase === 'end');
  await waitFor(() => over().length >= ended.length);
  t.equal(over().length, ended.length);
  for (const { response } of over()) t.equal(response.outcome, 'access_ended');
  for (const client of left) t.notOk(client.closed);
}

t.test('a tunnel ends with the token that opened it, and another does not', async (t) => {
  const tunnels = await start(t);
  const { tokens, ahead, open } = tunnels;
  const soon = Math.floor(Date.now() / 1000) + 60;
  const [short, long] = [
    await open('/token/a', tokens.token({ exp: soon })),
    await open('/token/b', tokens.token()),
  ];
  const certified = await open('/either/c', undefined, await tokens.world.client());
  ahead(61_000);
  await ends(t, tunnels, [short], [long, certified]);
});

t.test('a revoked principal, of whatever connection, loses what is open', async (t) => {
  const tunnels = await start(t);
  const { tokens, open } = tunnels;
  const { world } = tokens;
  const [mine, theirs] = [
    await open('/token/a', tokens.token()),
    await open('/token/b', tokens.token({ sub: 'octo/other' })),
  ];
  const shown = await open('/token/c', tokens.token(), await world.client());
  world.replace('revoked.yaml', 'version: 1\nrevoked: [{ idPrefix: "ci:octo/app", reason: stolen }]\n');
  await ends(t, tunnels, [mine, shown], [theirs]);
});

t.test('a rule, an entry or a route that takes tokens no more ends what rests on them', async (t) => {
  for (const [what, file, from, to] of [
    ['the rule', 'policy.yaml', '"ci:octo/*"', '"ci:else/*"'],
    [
      'the audience',
      'countersign.yaml',
      'audience: billing, jwks: { file: jwks.json }, principal: "ci:',
      'audience: other, jwks: { file: jwks.json }, principal: "ci:',
    ],
    ['the name', 'countersign.yaml', 'principal: "ci:{+sub}"', 'principal: "ci:{sub}"'],
    [
      'the route',
      'countersign.yaml',
      'path: /token/**, upstream: u, accept: token,',
      'path: /token/**, upstream: u,',
    ],
    [
      'the entries of the route',
      'countersign.yaml',
      'path: /token/**, upstream: u, accept: token,',
      '$&, tokens: [once],',
    ],
    ['the binding', 'countersign.yaml', 'principal: "ci:{+sub}"', '$&, binding: required'],
  ] as const) {
    const tunnels = await start(t);
    const { tokens, open } = tunnels;
    const { world } = tokens;
    const [stranger, certified] = [
      await open('/token/a', tokens.token()),
      await open('/token/b', tokens.token({ jti: 'x' }), await world.client()),
    ];
    const before = file === 'policy.yaml' ? TOKEN_POLICY : readFileSync(join(world.dir, file), 'utf8');
    const after = before.replace(from, to.replace('$&,', `${from.replace(/,$/, '')},`));
    t.not(after, before, what);
    world.replace(file, after);
    await ends(t, tunnels, [stranger, certified], []);
    t.pass(what);
  }
});
