import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { parseBundleEndpointUrl } from '../../src/identity/bundle-endpoint-url.js';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '../../src/identity/spiffe-id.js';
import { parseBundleDocument, type TrustBundle } from '../../src/identity/trust-bundle.js';
import { BundleEndpoint } from '../../src/sources/bundle-endpoint.js';
import type {
  BundleEndpointDeps,
  BundleEndpointEvents,
  BundleEndpointOptions,
} from '../../src/sources/bundle-endpoint-options.js';
import type { Timers } from '../../src/sources/timers.js';
import { readPeerChain } from '../../src/tls/peer-chain.js';
import type { Authority, Svid } from './pki.js';

export const A_TEST = ((): BundleEndpointOptions['trustDomain'] => {
  const parsed = parseTrustDomain('a.test');
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
})();

export function urlOf(text: string): BundleEndpointOptions['url'] {
  const parsed = parseBundleEndpointUrl(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

export function idOf(text: string): SpiffeId {
  const parsed = parseSpiffeId(text);
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

export interface DocumentParts {
  readonly sequence?: number | string;
  readonly hint?: number;
}

/** A bundle document (SPIFFE Trust Domain and Bundle 4). */
export function bundleDocument(authorities: readonly Authority[], parts: DocumentParts = {}): string {
  const members = authorities.map(
    ({ certDer }) => `{"use":"x509-svid","kty":"EC","x5c":["${certDer.toString('base64')}"]}`,
  );
  const sequence = parts.sequence === undefined ? '' : `,"spiffe_sequence":${parts.sequence}`;
  const hint = parts.hint === undefined ? '' : `,"spiffe_refresh_hint":${parts.hint}`;
  return `{"keys":[${members.join(',')}]${sequence}${hint}}`;
}

export function bundleOf(authorities: readonly Authority[], parts: DocumentParts = {}): TrustBundle {
  const parsed = parseBundleDocument(A_TEST, Buffer.from(bundleDocument(authorities, parts)));
  if (!parsed.ok) throw new Error(parsed.error);
  return parsed.value;
}

type Respond = (request: IncomingMessage, response: ServerResponse) => void;

/** A bundle endpoint whose answers a test writes, and that remembers who asked how. */
export class BundleServer {
  readonly asked: string[] = [];
  /** Each finished TLS handshake: whether it resumed a session, and whether a client certificate came. */
  readonly handshakes: { resumed: boolean; clientCertificate: boolean }[] = [];
  readonly #server: Server;
  respond: Respond = (_request, response) => response.writeHead(404).end();

  private constructor(credential: Svid) {
    this.#server = createServer(
      { cert: credential.chainPem, key: credential.keyPem, requestCert: true, rejectUnauthorized: false },
      (request, response) => {
        this.asked.push(`${request.method} ${request.url}`);
        this.respond(request, response);
      },
    );
    this.#server.on('secureConnection', (socket: TLSSocket) => {
      this.handshakes.push({
        resumed: socket.isSessionReused(),
        clientCertificate: socket.getPeerX509Certificate() !== undefined,
      });
      socket.on('error', () => undefined);
    });
    this.#server.on('tlsClientError', () => undefined);
  }

  static async start(credential: Svid): Promise<BundleServer> {
    const server = new BundleServer(credential);
    server.#server.listen(0, '127.0.0.1');
    await once(server.#server, 'listening');
    return server;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get url(): string {
    return `https://localhost:${this.port}/bundle`;
  }

  serve(document: string | Buffer, status = 200, headers: Record<string, string> = {}): void {
    this.respond = (_request, response) =>
      response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(document);
  }

  redirect(location: string, status = 302): void {
    this.respond = (_request, response) => response.writeHead(status, { location }).end();
  }

  /** From now on the server shows another certificate. */
  present(credential: Svid): void {
    this.#server.setSecureContext({ cert: credential.chainPem, key: credential.keyPem });
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

/** A clock that stands still until a test moves it, and the timers that hang on it. */
export class ManualClock implements Timers {
  now = Date.now();
  readonly #pending = new Set<{ atMs: number; run: () => void }>();

  after(ms: number, run: () => void): () => void {
    const entry = { atMs: this.now + ms, run };
    this.#pending.add(entry);
    return () => this.#pending.delete(entry);
  }

  /** How long until each timer that waits, in milliseconds, soonest first. */
  get waiting(): number[] {
    return [...this.#pending].map(({ atMs }) => atMs - this.now).sort((a, b) => a - b);
  }

  advance(ms: number): void {
    this.now += ms;
    for (const entry of [...this.#pending].filter(({ atMs }) => atMs <= this.now)) {
      this.#pending.delete(entry);
      entry.run();
    }
  }
}

/** Keeps what a poller tells, in order. */
export class ToldByEndpoint implements BundleEndpointEvents {
  readonly bundles: TrustBundle[] = [];
  readonly notes: (string | undefined)[] = [];
  readonly problems: string[] = [];
  readonly stale: number[] = [];
  recoveries = 0;

  onBundle(bundle: TrustBundle, note: string | undefined): void {
    this.bundles.push(bundle);
    this.notes.push(note);
  }
  onProblem(message: string): void {
    this.problems.push(message);
  }
  onRecovered(): void {
    this.recoveries++;
  }
  onStale(sinceMs: number): void {
    this.stale.push(sinceMs);
  }
}

/** A poller of the domain a.test with its clock and what it told. It polls when the test says so. */
export function pollerOf(
  options: Omit<BundleEndpointOptions, 'trustDomain'>,
  deps: Partial<BundleEndpointDeps> = {},
): { endpoint: BundleEndpoint; clock: ManualClock; told: ToldByEndpoint } {
  const clock = new ManualClock();
  const told = new ToldByEndpoint();
  const endpoint = new BundleEndpoint(
    { trustDomain: A_TEST, ...options },
    {
      endpointBundles: () => new Map(),
      readPeer: readPeerChain,
      checkSvid: () => undefined,
      nowMs: () => clock.now,
      timers: clock,
      ...deps,
    },
    told,
  );
  return { endpoint, clock, told };
}

/** The subjects in a bundle: what tests name authorities by. */
export const subjectsOf = (bundle: TrustBundle | undefined): string[] =>
  (bundle?.authorities ?? []).map(({ subject }) => subject);
