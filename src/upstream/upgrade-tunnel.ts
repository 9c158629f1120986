import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { TunnelledCall, UpgradeHandler, UpgradeRequest } from '../listener/ports.js';
import { Failure } from '../reasons.js';
import { ByteTunnel } from './byte-tunnel.js';
import { formatUpgradeHead } from './request-head.js';
import { ResponseParser, type ResponseSink } from './response-parser.js';
import { TunnelCall, type TunnelLease, type TunnelRoad } from './tunnel-call.js';

/** RFC 6455 1.3. */
const WEBSOCKET_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/**
 * Opens a WebSocket tunnel: bytes flow only after the upstream's 101 (CVE-2024-23326 class).
 * @param answerMs for the upstream to answer; an answer that is no tunnel must be whole by then.
 */
export function openTunnel(
  road: TunnelRoad,
  answerMs: number,
  request: UpgradeRequest,
  handler: UpgradeHandler,
): TunnelledCall {
  return new UpgradeTunnel(road, answerMs, request, handler);
}

/** An answer that is no upgrade, as it comes in. */
class RefusedAnswer extends Readable {
  complete = false;
  override _read(): void {}
}

class UpgradeTunnel extends TunnelCall implements ResponseSink {
  readonly #handler: UpgradeHandler;
  #request: UpgradeRequest | undefined;
  #parser: ResponseParser | undefined = new ResponseParser(this);
  #timer: NodeJS.Timeout | undefined;
  #answer: RefusedAnswer | undefined;
  #isSwitched = false;
  #fields: string[] = [];

  constructor(road: TunnelRoad, answerMs: number, request: UpgradeRequest, handler: UpgradeHandler) {
    super(handler, road, { alpn: ['http/1.1'], ...(request.connectMs && { connectMs: request.connectMs }) });
    this.#handler = handler;
    this.#request = request;
    this.#timer = setTimeout(
      () => this.fail('upstream_timeout', 'the upgrade was not answered in time'),
      answerMs,
    );
  }

  /** WebSocket says itself where a message ends (RFC 6455 5.5.1). */
  isCutShort(): boolean {
    return false;
  }

  protected begin({ carrier: { socket } }: TunnelLease): void {
    const head = formatUpgradeHead(this.#request!);
    if (head === undefined) return this.fail('internal_error', 'a head that must not be sent');
    this.hasBegun = true;
    socket.on('data', this.#onData).once('end', this.#onEnd).once('close', this.#onClose);
    this.#parser!.begin(false, true);
    socket.write(head, 'latin1');
  }

  readonly #onData = (bytes: Buffer): void => {
    const parser = this.#parser;
    if (parser === undefined || this.isOver) return;
    const at = parser.push(bytes, bytes.length);
    if (this.isOver) return;
    if (parser.problem !== undefined) this.#malformed(parser.problem);
    else if (this.#isSwitched) this.#switch(bytes.subarray(at));
    else if (this.#answer !== undefined && parser.isDone) this.#finishAnswer();
  };

  readonly #onEnd = (): void => {
    const isCutShort = this.lease?.carrier.isCutShort?.() === true;
    if (!isCutShort && this.#parser?.end() === true && this.#answer !== undefined) this.#finishAnswer();
    else this.#lost();
  };

  readonly #onClose = (): void => this.#lost();

  #lost(): void {
    const error = this.lease?.carrier.socket.errored;
    if (error instanceof Failure) return this.fail(error.code, error.message, error);
    this.fail('upstream_reset', 'the connection closed before the upgrade was answered');
  }

  #malformed(problem: string): void {
    this.fail('upstream_malformed', problem);
  }

  onInformational(): void {
    // none of them is for a client that asked for a tunnel
  }

  onHead(status: number, fields: string[]): void {
    if (status === 101) {
      this.#isSwitched = true;
      this.#fields = fields;
      return;
    }
    const answer = new RefusedAnswer();
    answer.once('close', () => this.#answerClosed());
    this.#answer = answer;
    this.#handler.onRefused(status, fields, answer);
  }

  readonly onBody = (bytes: Buffer, start: number, end: number): void => {
    this.#answer?.push(Buffer.from(bytes.subarray(start, end)));
  };

  #finishAnswer(): void {
    const answer = this.#answer!;
    answer.complete = true;
    answer.push(null);
    this.#leave();
    this.over();
    this.lease?.carrier.socket.destroy();
  }

  #answerClosed(): void {
    if (!this.isOver) this.abort();
  }

  protected override over(failure?: Parameters<TunnelCall['over']>[0]): void {
    clearTimeout(this.#timer);
    super.over(failure);
    if (this.#answer?.complete === false) this.#answer.destroy();
  }

  #leave(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#parser = undefined;
    this.lease?.carrier.socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
  }

  /** @param rest what the upstream sent behind its 101. */
  #switch(rest: Buffer): void {
    const { socket: client, head } = this.#request!;
    const fields = this.#isAccepted() ? this.#handler.fieldsToClient(this.#fields) : undefined;
    if (fields === undefined) return this.#malformed('a 101 that answers another handshake');
    const { socket } = this.lease!.carrier;
    socket.pause();
    this.#leave();
    this.#request = undefined;
    this.#fields = [];
    const tunnel = new ByteTunnel(client, socket, this);
    this.tunnel = tunnel;
    this.#handler.onOpen(() => {
      if (this.isOver) return;
      client.write(formatSwitch(fields), 'latin1');
      if (rest.length > 0) client.write(rest);
      if (head.length > 0) socket.write(head);
      tunnel.begin();
    });
  }

  /** RFC 6455 4.1: only who has read the key can answer it; a 101 from anything else opens no tunnel (CVE-2024-23326 class). */
  #isAccepted(): boolean {
    const key = fieldOf(this.#request!.headers, 'sec-websocket-key') ?? '';
    const expected = createHash('sha1')
      .update(key + WEBSOCKET_GUID)
      .digest('base64');
    const fields = this.#fields;
    const connection = fieldOf(fields, 'connection')?.toLowerCase() ?? '';
    return (
      fieldOf(fields, 'upgrade')?.toLowerCase() === 'websocket' &&
      connection.split(/[ \t,]+/).includes('upgrade') &&
      fieldOf(fields, 'sec-websocket-accept') === expected
    );
  }
}

function formatSwitch(fields: readonly string[]): string {
  let head = 'HTTP/1.1 101 Switching Protocols\r\n';
  for (let i = 0; i < fields.length; i += 2) head += `${fields[i]}: ${fields[i + 1]}\r\n`;
  return `${head}\r\n`;
}

/** Several lines of one name are one value (RFC 9110 5.3). */
function fieldOf(flat: readonly string[], name: string): string | undefined {
  let found: string | undefined;
  for (let i = 0; i < flat.length; i += 2) {
    if (flat[i]!.toLowerCase() === name)
      found = found === undefined ? flat[i + 1]! : `${found}, ${flat[i + 1]}`;
  }
  return found;
}
