import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import type { KeySet } from '../../src/identity/key-set.js';
import { metadataUrlOf } from '../../src/identity/provider-metadata.js';
import { KeySetEndpoint, type KeySetEndpointOptions } from '../../src/sources/key-set-endpoint.js';
import { BundleServer, ManualClock, urlOf } from './bundle-server.js';
import { mintRoot } from './pki.js';

/** A key that an issuer signs tokens with. */
export interface IssuerKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  /** As it is published. */
  readonly jwk: Readonly<Record<string, unknown>>;
}

export function newIssuerKey(kid: string): IssuerKey {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { kid, privateKey, jwk: { ...publicKey.export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' } };
}

/** The text of a JWK Set. */
export const jwksOf = (...keys: readonly IssuerKey[]): string =>
  JSON.stringify({ keys: keys.map(({ jwk }) => jwk) });

export const kidsOf = (keys: KeySet | undefined): (string | undefined)[] | undefined =>
  keys?.keys.map(({ kid }) => kid).sort();

const root = await mintRoot('web', { subject: 'CN=web root', uriSans: [] });
const credential = await root.issue([], { otherSans: ['DNS:localhost'] });

/** PEM of the authority that vouches for every key server here. */
export const KEY_SERVER_CA = root.certPem;

/** An https server that publishes keys, or what a test has it say. */
export class KeyServer {
  private constructor(readonly server: BundleServer) {}

  static async start(t: { teardown(run: () => Promise<void>): void }): Promise<KeyServer> {
    const server = await BundleServer.start(credential);
    t.teardown(() => server.close());
    return new KeyServer(server);
  }

  get issuer(): string {
    return `https://localhost:${this.server.port}`;
  }

  get url(): string {
    return `${this.issuer}/keys`;
  }

  get asked(): readonly string[] {
    return this.server.asked;
  }

  publish(...keys: readonly IssuerKey[]): void {
    this.server.serve(jwksOf(...keys));
  }

  /** Metadata and keys, each at its place. */
  publishAll(metadata: Readonly<Record<string, unknown>>, ...keys: readonly IssuerKey[]): void {
    this.server.respond = ({ url }, response) => {
      const isMetadata = url === '/.well-known/openid-configuration';
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(isMetadata ? JSON.stringify(metadata) : jwksOf(...keys));
    };
  }

  /** Takes every request and answers when the test says so. */
  hold(): { readonly waiting: ServerResponse[] } {
    const waiting: ServerResponse[] = [];
    this.server.respond = (_request, response) => void waiting.push(response);
    return { waiting };
  }
}

/** A client of one issuer's keys with its clock, and what it told. It fetches when the test says so. */
export function keyClient(options: Partial<KeySetEndpointOptions> & { readonly at: string }): KeyClient {
  const { at, discovers, ...rest } = options;
  const discovered = discovers === undefined ? undefined : metadataUrlOf(discovers);
  if (discovered?.ok === false) throw new Error(discovered.error);
  const clock = new ManualClock();
  const told: KeyClient['told'] = { keys: [], problems: [] };
  const endpoint = new KeySetEndpoint(
    {
      url: discovered?.value ?? urlOf(at),
      discovers,
      refreshMs: 600_000,
      maxStaleMs: 86_400_000,
      ca: () => [KEY_SERVER_CA],
      ...rest,
    },
    { timers: clock, nowMs: () => clock.now },
    { onFetched: (keys) => told.keys.push(keys), onProblem: (message) => told.problems.push(message) },
  );
  return { endpoint, clock, told };
}

export interface KeyClient {
  readonly endpoint: KeySetEndpoint;
  readonly clock: ManualClock;
  readonly told: { readonly keys: KeySet[]; readonly problems: string[] };
}
