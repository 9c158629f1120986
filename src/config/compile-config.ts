import { resolve } from 'node:path';
import type { Result } from '../reasons.js';
import { parseAddress, parseUpstreamUrl } from './address.js';
import type {
  Address,
  Config,
  Deadlines,
  ForwardSettings,
  ListenerConfig,
  RouteConfig,
  RouteDeadlines,
  TrustConfig,
  UpstreamConfig,
} from './config.js';
import type { RawConfig } from './config-schema.js';
import { type Environment, expandEnvironment } from './environment.js';
import type { Problem } from './problem.js';
import type { KeyPath, YamlText } from './yaml-text.js';

type RawRoute = RawConfig['listeners'][number]['routes'][number];

/** Turns the checked text into the configuration: variables put in, paths made absolute, defaults handed down. */
export function compileConfig(
  raw: RawConfig,
  yaml: YamlText,
  directory: string,
  env: Environment,
): { readonly config: Config | undefined; readonly problems: readonly Problem[] } {
  const places = new Places(yaml, directory, env);
  const deadlines = toDeadlines(raw.deadlines);
  const { revocations, emergencyRevocations: emergency, admin, health } = raw;
  const config: Config = {
    file: yaml.file,
    identity: {
      certificateFile: places.file(['identity', 'files', 'certificate'], raw.identity.files.certificate),
      keyFile: places.file(['identity', 'files', 'key'], raw.identity.files.key),
    },
    identityOptions: {
      clockSkewMs: raw.identity.clockSkew,
      ...(raw.identity.maxSvidLifetime === undefined
        ? {}
        : { maxSvidLifetimeMs: raw.identity.maxSvidLifetime }),
      ...(raw.identity.flagSvidLifetime === undefined
        ? {}
        : { flagSvidLifetimeMs: raw.identity.flagSvidLifetime }),
    },
    trust: raw.trust.map((entry, i) => toTrust(entry, i, places)),
    ...(revocations === undefined ? {} : { revocationsFile: places.file(['revocations'], revocations) }),
    ...(emergency === undefined
      ? {}
      : { emergencyRevocationsFile: places.file(['emergencyRevocations'], emergency) }),
    listeners: raw.listeners.map((listener, i) => toListener(listener, i, places)),
    upstreams: new Map(
      Object.entries(raw.upstreams).map(([name, upstream]) => [
        name,
        toUpstream(name, upstream, deadlines, places),
      ]),
    ),
    policyFile: places.file(['policy'], raw.policy),
    trustedPeers: { gateways: raw.trustedPeers.gateways.map((gateway) => gateway.spiffeId) },
    forward: toForward(raw.forward),
    audit: {
      file: raw.audit.file === '-' ? '-' : places.file(['audit', 'file'], raw.audit.file),
      durability: raw.audit.durability,
      onFailure: raw.audit.onFailure,
    },
    ...(admin === undefined
      ? {}
      : {
          admin: {
            address: places.address(['admin', 'address'], admin.address),
            allowRemote: admin.allowRemote,
          },
        }),
    ...(health === undefined ? {} : { health: toHealth(health, places) }),
    limits: raw.limits,
    deadlines,
    drain: { delayMs: raw.drain.delay, deadlineMs: raw.drain.deadline },
  };
  places.checkElsewhere();
  return { config: places.problems.length === 0 ? config : undefined, problems: places.problems };
}

/** Values that name a file or an address: the only ones in which `${ENV}` is read. */
class Places {
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
    return address.kind === 'unix' ? { kind: 'unix', path: resolve(this.directory, address.path) } : address;
  }

  url(path: KeyPath, text: string): UpstreamConfig['url'] {
    const nowhere = { protocol: 'http:', host: '', port: 0, authority: '' } as const;
    return this.#parse(path, text, parseUpstreamUrl) ?? nowhere;
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

function toTrust(raw: RawConfig['trust'][number], i: number, places: Places): TrustConfig {
  const { crls, require, stale, staleGrace } = raw.revocation;
  return {
    trustDomain: raw.trustDomain,
    bundleFile: places.file(['trust', i, 'bundle', 'file'], raw.bundle.file),
    revocation: {
      crlFiles: crls.map((file, j) => places.file(['trust', i, 'revocation', 'crls', j], file)),
      require,
      stale,
      staleGraceMs: staleGrace,
    },
  };
}

const toListener = (raw: RawConfig['listeners'][number], i: number, places: Places): ListenerConfig => ({
  name: raw.name,
  address: places.address(['listeners', i, 'address'], raw.address),
  protocol: raw.protocol,
  direction: raw.direction,
  routes: raw.routes.map(toRoute),
});

const toRoute = (raw: RawRoute): RouteConfig => ({
  name: raw.name,
  host: raw.host,
  path: raw.path,
  pathText: raw.path.text,
  upstream: raw.upstream,
  upgrade: [...new Set(raw.upgrade)],
  accept: raw.accept,
  encodedSlash: raw.encodedSlash === 'allow',
  ...(raw.bodyBytes === undefined ? {} : { bodyBytes: raw.bodyBytes }),
  ...(raw.deadlines === undefined ? {} : { deadlines: toRouteDeadlines(raw.deadlines) }),
});

const toRouteDeadlines = (raw: NonNullable<RawRoute['deadlines']>): Partial<RouteDeadlines> => ({
  ...(raw.body === undefined ? {} : { bodyMs: raw.body }),
  ...(raw.upstreamConnect === undefined ? {} : { upstreamConnectMs: raw.upstreamConnect }),
  ...(raw.upstreamFirstByte === undefined ? {} : { upstreamFirstByteMs: raw.upstreamFirstByte }),
  ...(raw.tunnelIdle === undefined ? {} : { tunnelIdleMs: raw.tunnelIdle }),
  ...(raw.accessEnd === undefined ? {} : { accessEndMs: raw.accessEnd }),
});

const toUpstream = (
  name: string,
  raw: RawConfig['upstreams'][string],
  deadlines: Deadlines,
  places: Places,
): UpstreamConfig => ({
  name,
  url: places.url(['upstreams', name, 'url'], raw.url),
  timeouts: {
    connectMs: raw.timeouts.connect ?? deadlines.upstreamConnectMs,
    responseMs: raw.timeouts.response ?? deadlines.upstreamFirstByteMs,
  },
  ...(raw.maxConnections === undefined ? {} : { maxConnections: raw.maxConnections }),
});

const toForward = (raw: RawConfig['forward']): ForwardSettings => ({
  xfcc: raw.xfcc,
  spiffeId: raw.spiffeId,
  clientCert: raw.clientCert,
  headers: Object.entries(raw.headers).map(([name, template]) => ({ name, template })),
});

const toHealth = (raw: NonNullable<RawConfig['health']>, places: Places): NonNullable<Config['health']> => ({
  address: places.address(['health', 'address'], raw.address),
  probes: raw.probes.map(({ path, upstream, target, timeout }) => ({
    path,
    upstream,
    target,
    timeoutMs: timeout,
  })),
});

const toDeadlines = (raw: RawConfig['deadlines']): Deadlines => ({
  handshakeMs: raw.handshake,
  headMs: raw.head,
  bodyMs: raw.body,
  idleMs: raw.idle,
  connectionAgeMs: raw.connectionAge,
  upstreamConnectMs: raw.upstreamConnect,
  upstreamFirstByteMs: raw.upstreamFirstByte,
  tunnelIdleMs: raw.tunnelIdle,
  accessEndMs: raw.accessEnd,
});
