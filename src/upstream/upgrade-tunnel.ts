import { createHash } from 'node:crypto';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import httpProxy from 'http-proxy';
import type { ForwardCall, UpgradeHandler, UpgradeRequest } from '../listener/ports.js';
import { Failure, type FailureCode } from '../reasons.js';

/** RFC 6455 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export interface UpgradeTarget {
  readonly host: string;
  readonly port: number;
  readonly firstByteMs: number;
}

/** http-proxy carries upgrades only; it gets a head that is rewritten already and decides nothing. */
const proxy = httpProxy.createProxyServer({});
const tunnels = new WeakMap<object, Tunnel>();

proxy.on('proxyReqWs', (proxyRequest, request) => tunnels.get(request)?.begin(proxyRequest));
proxy.on('error', (error, request) => tunnels.get(request)?.fail(error));

/** Opens a WebSocket tunnel: bytes flow only after the upstream's 101 (CVE-2024-23326 class). */
export function openTunnel(
  target: UpgradeTarget,
  request: UpgradeRequest,
  handler: UpgradeHandler,
): ForwardCall {
  return new Tunnel(target, request, handler);
}

class Tunnel implements ForwardCall {
  readonly hasBegun = true;
  #finished = false;
  #opened = false;
  /** With anything but a 101. */
  #answered = false;
  #proxyRequest: ClientRequest | undefined;
  #upstreamSocket: Duplex | undefined;
  #timer: NodeJS.Timeout;

  constructor(
    readonly target: UpgradeTarget,
    readonly request: UpgradeRequest,
    readonly handler: UpgradeHandler,
  ) {
    this.#timer = setTimeout(() => this.fail(undefined, 'upstream_timeout'), target.firstByteMs);
    request.socket.once('close', () => this.#closed());
    this.#start();
  }

  resume(): void {}

  abort(): void {
    this.#end();
  }

  #start(): void {
    const { request, target } = this;
    const message = {
      method: 'GET',
      url: request.target,
      headers: headerObject(request.headers),
      httpVersionMajor: 1,
      httpVersionMinor: 1,
      socket: request.socket,
      connection: request.socket,
    };
    tunnels.set(message, this);
    proxy.ws(message as unknown as IncomingMessage, request.socket, request.head, {
      target: { protocol: 'http:', host: target.host, port: target.port },
      ignorePath: true,
      xfwd: false,
    });
    // http-proxy relays a refusal with the upstream's own framing around a decoded body: the listener does it right.
    const proxyRequest = this.#proxyRequest;
    if (proxyRequest === undefined) return;
    proxyRequest.removeAllListeners('response');
    proxyRequest.once('response', (response: IncomingMessage) => {
      // a 101 without `Connection: Upgrade` is no upgrade, and no refusal that could be relayed either
      if ((response.statusCode ?? 0) < 200) this.fail(undefined, 'upstream_malformed');
      else this.#refused(response);
    });
    // It would also end the client's socket at once, before an answer that waits for its record.
    proxyRequest.removeAllListeners('error');
    proxyRequest.on('error', (error) => this.fail(error));
    const pipe = proxyRequest.listeners('upgrade');
    proxyRequest.removeAllListeners('upgrade');
    proxyRequest.once('upgrade', (response: IncomingMessage, socket: Duplex, head: Buffer) => {
      const fields = this.#isAccepted(response)
        ? this.handler.fieldsToClient(response.rawHeaders)
        : undefined;
      if (fields === undefined) {
        socket.destroy();
        return this.fail(undefined, 'upstream_malformed');
      }
      response.headers = headerObject(fields); // http-proxy writes these
      this.#open(socket, () => {
        for (const listener of pipe) listener.call(proxyRequest, response, socket, head);
      });
    });
  }

  /** RFC 6455 4.1: only who has read the key can answer it; a 101 from anything else opens no tunnel (CVE-2024-23326 class). */
  #isAccepted(response: IncomingMessage): boolean {
    const { headers } = response;
    const key = headerOf(this.request.headers, 'sec-websocket-key') ?? '';
    const expected = createHash('sha1')
      .update(key + WEBSOCKET_GUID)
      .digest('base64');
    return (
      headers.upgrade?.toLowerCase() === 'websocket' &&
      headers.connection
        ?.toLowerCase()
        .split(/[ \t,]+/)
        .includes('upgrade') === true &&
      headers['sec-websocket-accept'] === expected
    );
  }

  /** Runs before http-proxy adds its own listeners. */
  begin(proxyRequest: ClientRequest): void {
    this.#proxyRequest = proxyRequest;
    proxyRequest.path = this.request.target; // http-proxy would join and squeeze slashes: send what was judged
    proxyRequest.setHeader('host', this.request.authority);
  }

  #open(socket: Duplex, pipe: () => void): void {
    clearTimeout(this.#timer);
    this.#opened = true;
    this.#upstreamSocket = socket;
    socket.once('close', () => this.#closed());
    socket.on('error', () => socket.destroy()); // http-proxy listens only once it pipes
    this.handler.onOpen(() => {
      if (!this.#finished) pipe();
    });
  }

  #refused(response: IncomingMessage): void {
    if (this.#finished) return void response.destroy();
    this.#answered = true;
    // The deadline holds for all of the answer: one that never ends would keep its client for ever.
    response.once('close', () => {
      this.#finished = true;
      clearTimeout(this.#timer);
    });
    this.handler.onRefused(response.statusCode ?? 502, response.rawHeaders, response);
  }

  fail(error: unknown, code: FailureCode = this.#answered ? 'upstream_reset' : 'upstream_unreachable'): void {
    if (this.#finished || this.#opened) return this.#end();
    this.#finished = true;
    clearTimeout(this.#timer);
    this.#proxyRequest?.destroy();
    this.handler.onFailure(new Failure(code, 'the upgrade failed', { cause: error }));
  }

  #closed(): void {
    if (this.#finished) return;
    this.#end();
    this.handler.onClose();
  }

  #end(): void {
    this.#finished = true;
    clearTimeout(this.#timer);
    this.#proxyRequest?.destroy();
    this.#upstreamSocket?.destroy();
    if (this.#opened) this.request.socket.destroy();
  }
}

function headerObject(flat: readonly string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = Object.create(null);
  for (let i = 0; i < flat.length; i += 2) {
    const name = flat[i]!.toLowerCase();
    const value = flat[i + 1]!;
    const before = headers[name];
    if (before === undefined) headers[name] = value;
    else if (typeof before === 'string') headers[name] = [before, value];
    else before.push(value);
  }
  return headers;
}

function headerOf(flat: readonly string[], name: string): string | undefined {
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i]!.toLowerCase() === name) return flat[i + 1];
  }
  return undefined;
}
