import { AssertionSigner } from './assertion-signer.js';
import type { Svid } from './pki.js';
import type { Answer, RawClient } from './raw-client.js';
import { World, type WorldOptions } from './start-proxy.js';

export const GATEWAY = 'spiffe://a.test/gateway';
export const ENVOY = 'spiffe://a.test/envoy';
export const SIDECAR = 'spiffe://a.test/gateway-sidecar';
export const ALICE = 'spiffe://a.test/alice';
export const BOB = 'spiffe://a.test/bob';

export const PAIRS = `version: 1
default: deny
rules:
  - { id: for-alice, effect: allow, principals: ["${GATEWAY}", "${ENVOY}"], behalfOf: ["${ALICE}"], destinations: [u] }
  - { id: itself, effect: allow, principals: ["${GATEWAY}"], destinations: [status] }
`;

const ROUTES = `
      - { name: invoices, host: svc.test, path: /invoices/**, upstream: u, delegation: require }
      - { name: status, host: svc.test, path: /status, upstream: u, delegation: accept }
      - { name: plain, host: svc.test, path: /plain, upstream: u }
      - { name: live, host: svc.test, path: /live, upstream: u, delegation: require, upgrade: [websocket] }`;

const DELEGATES = `trustedPeers:
  delegates:
    - { spiffeId: "${GATEWAY}", by: assertion, issuer: "${SIDECAR}", audience: gateway, jwks: { file: gateway-keys.json } }
    - { spiffeId: "${ENVOY}", by: xfcc }
`;

/** A service that a gateway calls for others: the gateway's sidecar signs, and ours verifies. */
export class DelegationWorld {
  gateway!: Svid;
  envoy!: Svid;

  private constructor(
    readonly world: World,
    readonly signer: AssertionSigner,
  ) {}

  static async start(options: WorldOptions = {}): Promise<DelegationWorld> {
    const signer = await AssertionSigner.create();
    const world = await World.start({
      routes: ROUTES,
      policy: PAIRS,
      ...options,
      extra: `${DELEGATES}${options.extra ?? ''}`,
      files: { 'gateway-keys.json': signer.jwks, ...options.files },
    });
    const of = new DelegationWorld(world, signer);
    of.gateway = await world.caA.issue(GATEWAY);
    of.envoy = await world.caA.issue(ENVOY);
    return of;
  }

  /** As the gateway's sidecar gives it to the gateway. */
  assertion(claims: Readonly<Record<string, unknown>> = {}, by = this.signer): Promise<string> {
    return by.sign({ iss: SIDECAR, aud: 'gateway', sub: ALICE, ...claims });
  }

  client(identity = this.gateway): Promise<RawClient> {
    return this.world.client(identity);
  }

  /** One request with what it says of others. */
  async ask(client: RawClient, path: string, ...lines: readonly string[]): Promise<Answer> {
    const said = lines.map((line) => `${line}\r\n`).join('');
    const [answer] = await client.ask(`GET ${path} HTTP/1.1\r\nHost: svc.test\r\n${said}\r\n`);
    if (answer === undefined) throw new Error('no answer');
    return answer;
  }

  /** Status and reason of one request with this assertion, on a connection of its own. */
  async outcome(assertion: string, { path = '/invoices/1', as = this.gateway } = {}): Promise<string> {
    const client = await this.client(as);
    const answer = await this.ask(client, path, `X-Identity-Assertion: ${assertion}`);
    client.destroy();
    return outcomeOf(answer);
  }
}

/** `200`, or `403 delegation_untrusted`. */
export const outcomeOf = ({ status, body }: Answer): string =>
  status < 400 ? String(status) : `${status} ${JSON.parse(body).reason}`;
