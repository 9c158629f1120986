import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { AssertionSigner } from '../support/assertion-signer.js';
import { ALICE, BOB } from '../support/delegation-world.js';
import type { Svid } from '../support/pki.js';
import { World } from '../support/start-proxy.js';

const PROXY = 'spiffe://a.test/proxy';

const GATEWAY_POLICY = `version: 1
default: deny
rules:
  - { id: everybody, effect: allow, principals: ["spiffe://a.test/*"], destinations: [u] }
  - { id: calls, effect: allow, principals: ["${PROXY}"], destinations: [billing] }
`;
const BILLING_POLICY = `version: 1
default: deny
rules:
  - { id: for-alice, effect: allow, principals: ["${PROXY}"], behalfOf: ["${ALICE}"], destinations: [u] }
`;

const callersOf = { alice: ALICE, bob: BOB };

/** A gateway behind its own sidecar, which calls billing, behind another one, for whoever calls it. */
class Chain {
  readonly gateway = new World();
  readonly billing = new World();
  readonly callers = new Map<string, Svid>();
  app!: Server;
  /** The gateway's app forgets what it was told. */
  forgets = false;

  static async start(t: Test, { passes = true } = {}): Promise<Chain> {
    const chain = new Chain();
    t.teardown(() => chain.close());
    const { gateway, billing } = chain;
    await Promise.all([gateway.prepare(), billing.prepare()]);
    billing.caA = gateway.caA;
    billing.own = await gateway.caA.issue('spiffe://a.test/billing');
    for (const [name, id] of Object.entries(callersOf)) chain.callers.set(name, await gateway.caA.issue(id));
    const signer = await AssertionSigner.create();
    const toBilling = {
      policy: BILLING_POLICY,
      routes: '[{ name: r1, path: /**, upstream: u, delegation: require }]',
      extra: `trustedPeers:
  delegates: [{ spiffeId: "${PROXY}", by: assertion, audience: gateway, jwks: { file: keys.json } }]
`,
      files: { 'keys.json': signer.jwks },
    };
    billing.writeConfig(toBilling);
    await billing.run(toBilling);
    chain.app = createServer(
      (asked, answer) => void chain.#relay(asked.headers['x-identity-assertion'], answer),
    );
    chain.app.listen(0, '127.0.0.1');
    await once(chain.app, 'listening');
    const said = passes ? ', delegation: accept' : '';
    const toGateway = {
      policy: GATEWAY_POLICY,
      routes: `[{ name: r1, path: /**, upstream: u }]
  - name: out
    direction: outbound
    address: 127.0.0.1:0
    routes: [{ name: r2, path: /**, upstream: billing${said} }]`,
      upstreams: `
  u: { url: "http://127.0.0.1:${(chain.app.address() as AddressInfo).port}" }
  billing: { url: "https://127.0.0.1:${billing.port}", spiffeId: "spiffe://a.test/billing" }`,
      extra: 'forward: { assertion: { audience: gateway, key: assert.jwk, jwksFile: jwks.json } }\n',
      files: { 'assert.jwk': await signer.privateJwk() },
    };
    gateway.writeConfig(toGateway);
    await gateway.run(toGateway);
    // It names its keys by what they are: billing gets them as they were published.
    const { trustRevision: before } = await billing.snapshot();
    billing.replace('keys.json', readFileSync(join(gateway.dir, 'jwks.json')));
    await billing.untilSnapshot(({ trustRevision }) => trustRevision !== before);
    return chain;
  }

  /** What the gateway's app does: it calls billing, and hands on what it was told of its caller. */
  async #relay(
    assertion: string | string[] | undefined,
    answer: import('node:http').ServerResponse,
  ): Promise<void> {
    const out = this.gateway.app.addresses.get('out') ?? '';
    const said = assertion === undefined || this.forgets ? {} : { 'x-identity-assertion': assertion };
    const call = request(`http://${out}/invoices/1`, { headers: said });
    call.end();
    const [answered] = (await once(call, 'response')) as [import('node:http').IncomingMessage];
    answer.writeHead(answered.statusCode ?? 500);
    answered.pipe(answer);
  }

  async ask(caller: keyof typeof callersOf): Promise<number | undefined> {
    const client = await this.gateway.client(this.callers.get(caller));
    const [answer] = await client.ask('GET /overview HTTP/1.1\r\nHost: svc.test\r\n\r\n');
    return answer?.status;
  }

  async close(): Promise<void> {
    await this.gateway.close();
    await this.billing.close();
    this.app.close();
    this.app.closeAllConnections();
  }
}

t.test('billing tells the callers of a gateway apart, by what its sidecar signed', async (t) => {
  const chain = await Chain.start(t);
  t.equal(await chain.ask('alice'), 200);
  t.equal(await chain.ask('bob'), 403);
  t.equal(await chain.ask('alice'), 200);
  t.equal(chain.billing.upstream.requests.length, 2);
  const records = await chain.billing.untilRecords(3);
  const told = records.map(({ principal, behalfOf, decision }) => [
    principal.id,
    behalfOf.id,
    behalfOf.actors,
    decision.effect,
  ]);
  t.same(told, [
    [PROXY, ALICE, [PROXY], 'allow'],
    [PROXY, BOB, [PROXY], 'deny'],
    [PROXY, ALICE, [PROXY], 'allow'],
  ]);
  const given = chain.gateway.records.flatMap(({ upstream }) => upstream?.assertion ?? []);
  t.ok(given.includes(records[0]?.behalfOf.jti), 'one assertion joins the records of both sides');
});

t.test(
  'a gateway that forgets for whom it calls is refused: the call is not taken for its own',
  async (t) => {
    const chain = await Chain.start(t);
    chain.forgets = true;
    t.equal(await chain.ask('alice'), 403);
    t.match(await chain.billing.untilRecords(1), [{ decision: { reason: 'delegation_missing' } }]);
    t.equal(chain.billing.upstream.bytes, '');
  },
);

t.test('without a word in its configuration, a sidecar lets no assertion out', async (t) => {
  const chain = await Chain.start(t, { passes: false });
  t.equal(await chain.ask('alice'), 403);
  t.match(await chain.billing.untilRecords(1), [{ decision: { reason: 'delegation_missing' } }]);
});
