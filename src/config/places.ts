import { resolve } from 'node:path';
import { type BundleEndpointUrl, parseBundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import type { Result } from '../reasons.js';
import { formatAddress, parseAddress, parseUpstreamUrl, type UpstreamUrl } from './address.js';
import type { Address } from './config.js';
import { type DecisionUrl, parseDecisionUrl } from './decision-url.js';
import { MAX_UNIX_PATH_BYTES, parseEndpointSocket, resolveEndpointSocket } from './endpoint-socket.js';
import { type Environment, expandEnvironment } from './environment.js';
import type { HttpUrl } from './http-url.js';
import { parseCollectorUrl } from './otlp.js';
import type { Problem } from './problem.js';
import type { KeyPath, YamlText } from './yaml-text.js';

const NOWHERE: HttpUrl = { protocol: 'https:', host: '', port: 0, authority: '', target: '' };

/** Values that name a file or an address, and credentials: the only ones in which `${ENV}` is read. */
export class Places {
  readonly problems: Problem[] = [];
  readonly #seen = new Set<string>();

  constructor(
    readonly yaml: YamlText,
    readonly directory: string,
    readonly env: Environment,
  ) {}

  /** Relative paths start at the file that names them, wherever the process was started. */
  file(path: KeyPath, text: string): string {
    const expanded = this.#expand(path, text);
    if (expanded.includes('\0')) this.problems.push(this.yaml.problemAt(path, 'must not hold a NUL'));
    return resolve(this.directory, expanded);
  }

  address(path: KeyPath, text: string): Address {
    const address = this.#parse(path, text, parseAddress) ?? { kind: 'tcp', host: '', port: 0 };
    if (address.kind !== 'unix') return address;
    const socket = resolve(this.directory, address.path);
    // The system would cut it off without a word, and listen somewhere else.
    if (Buffer.byteLength(socket) > MAX_UNIX_PATH_BYTES) {
      const message = `${socket} is longer than the ${MAX_UNIX_PATH_BYTES} bytes that a unix socket's path may have`;
      this.problems.push(this.yaml.problemAt(path, message));
    }
    return { kind: 'unix', path: socket };
  }

  url(path: KeyPath, text: string): UpstreamUrl {
    const nowhere: UpstreamUrl = { scheme: 'http', address: { kind: 'tcp', host: '', port: 0 }, shown: '' };
    const url = this.#parse(path, text, parseUpstreamUrl) ?? nowhere;
    if (url.scheme !== 'unix') return url;
    const address = this.address(path, text);
    return { ...url, address, shown: formatAddress(address) };
  }

  /** `-`, a file, or `unix:` and the absolute path of a socket. */
  recordPlace(path: KeyPath, text: string): string {
    if (text === '-') return text;
    return this.#expand(path, text).startsWith('unix:')
      ? `unix:${this.unixSocket(path, text)}`
      : this.file(path, text);
  }

  unixSocket(path: KeyPath, text: string): string {
    const address = this.address(path, text);
    if (address.kind === 'unix') return address.path;
    this.problems.push(this.yaml.problemAt(path, 'must be unix:/path; another host stands in the URL'));
    return '';
  }

  decisionUrl(path: KeyPath, text: string): DecisionUrl {
    return this.#parse(path, text, parseDecisionUrl) ?? NOWHERE;
  }

  collectorUrl(path: KeyPath, text: string): HttpUrl {
    return this.#parse(path, text, parseCollectorUrl) ?? NOWHERE;
  }

  /** A value that may be a credential: it stands in no message. */
  secret(path: KeyPath, text: string): string {
    return this.#expand(path, text);
  }

  endpointUrl(path: KeyPath, text: string): BundleEndpointUrl {
    const nowhere = { href: '', host: '', port: 0, target: '', shown: '' };
    return this.#parse(path, text, parseBundleEndpointUrl) ?? nowhere;
  }

  /** The configured one, or that of the environment. */
  endpointSocket(path: KeyPath, text: string | undefined): Address | undefined {
    if (text !== undefined) return this.#parse([...path, 'socket'], text, parseEndpointSocket);
    const socket = resolveEndpointSocket(undefined, this.env);
    if (socket.ok) return socket.value;
    this.problems.push(this.yaml.problemAt(path, socket.error));
    return undefined;
  }

  /** A `${…}` anywhere else would be taken literally, which nobody means. */
  checkElsewhere(): void {
    this.#walk(this.yaml.value, []);
  }

  #walk(value: unknown, path: KeyPath): void {
    if (typeof value === 'string') {
      if (value.includes('${') && !this.#seen.has(JSON.stringify(path))) {
        this.problems.push(this.yaml.problemAt(path, `\${…} is read in file names and addresses only`));
      }
    } else if (Array.isArray(value)) {
      for (const [i, item] of value.entries()) this.#walk(item, [...path, i]);
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, item] of Object.entries(value)) this.#walk(item, [...path, key]);
    }
  }

  #expand(path: KeyPath, text: string): string {
    this.#seen.add(JSON.stringify(path));
    const expanded = expandEnvironment(text, this.env);
    if (expanded.ok) return expanded.value;
    this.problems.push(this.yaml.problemAt(path, expanded.error));
    return '';
  }

  #parse<T>(path: KeyPath, text: string, parse: (text: string) => Result<T, string>): T | undefined {
    const before = this.problems.length;
    const expanded = this.#expand(path, text);
    if (this.problems.length > before) return undefined;
    const value = parse(expanded);
    if (value.ok) return value.value;
    this.problems.push(this.yaml.problemAt(path, value.error));
    return undefined;
  }
}
