import { toAssertion, toDelegate } from './assertions.js';
import { toIdentity, trustOf, workloadApiOf } from './compile-trust.js';
import type { Config, Deadlines, ForwardSettings, Limits, RecordedValues } from './config.js';
import type { RawConfig } from './config-schema.js';
import type { Environment } from './environment.js';
import { externalDecisionOf } from './external-decision.js';
import { toListener } from './listener-schema.js';
import { otlpOf } from './otlp.js';
import { Places } from './places.js';
import type { Problem } from './problem.js';
import { toPrincipalLimits } from './request-rates.js';
import { toSeal } from './seal-schema.js';
import { signalsOf } from './signal-schema.js';
import { toToken } from './tokens.js';
import { toUpstream } from './upstream-schema.js';
import type { YamlText } from './yaml-text.js';

/** Turns the checked text into the configuration: variables put in, paths made absolute, defaults handed down. */
export function compileConfig(
  raw: RawConfig,
  yaml: YamlText,
  directory: string,
  env: Environment,
): { readonly config: Config | undefined; readonly problems: readonly Problem[] } {
  const places = new Places(yaml, directory, env);
  const deadlines = toDeadlines(raw.deadlines);
  const { revocations, emergencyRevocations: emergency, registry, admin, health } = raw;
  const config: Config = {
    file: yaml.file,
    identity: toIdentity(raw.identity, places),
    ...workloadApiOf(raw, places),
    identityOptions: {
      clockSkewMs: raw.identity.clockSkew,
      ...(raw.identity.maxSvidLifetime === undefined
        ? {}
        : { maxSvidLifetimeMs: raw.identity.maxSvidLifetime }),
      ...(raw.identity.flagSvidLifetime === undefined
        ? {}
        : { flagSvidLifetimeMs: raw.identity.flagSvidLifetime }),
    },
    ...trustOf(raw, places),
    tokens: raw.tokens.map((token, i) => toToken(token, i, places)),
    ...(revocations === undefined ? {} : { revocationsFile: places.file(['revocations'], revocations) }),
    ...(emergency === undefined
      ? {}
      : { emergencyRevocationsFile: places.file(['emergencyRevocations'], emergency) }),
    exceptions: {
      maxLengthMs: raw.exceptions.maxLength,
      ...(raw.exceptions.file === undefined
        ? {}
        : { file: places.file(['exceptions', 'file'], raw.exceptions.file) }),
    },
    listeners: raw.listeners.map((listener, i) => toListener(listener, i, places)),
    upstreams: new Map(
      Object.entries(raw.upstreams).map(([name, upstream]) => [
        name,
        toUpstream(name, upstream, deadlines, places),
      ]),
    ),
    policyFile: places.file(['policy'], raw.policy),
    ...(raw.shadowPolicy === undefined
      ? {}
      : { shadowPolicyFile: places.file(['shadowPolicy'], raw.shadowPolicy) }),
    ...(registry === undefined ? {} : { registryFile: places.file(['registry'], registry) }),
    ...externalDecisionOf(raw.externalDecision, places),
    trustedPeers: {
      gateways: raw.trustedPeers.gateways.map((gateway) => gateway.spiffeId),
      delegates: raw.trustedPeers.delegates.map((delegate, i) => toDelegate(delegate, i, places)),
    },
    forward: toForward(raw.forward, places),
    audit: {
      file: places.recordPlace(['audit', 'file'], raw.audit.file),
      durability: raw.audit.durability,
      onFailure: raw.audit.onFailure,
      ...otlpOf(raw.audit.otlp, places),
      ...(raw.audit.seal === undefined ? {} : { seal: toSeal(raw.audit.seal, places) }),
      signals: signalsOf(raw.audit.signals),
      recorded: toRecorded(raw.audit),
    },
    metrics: { principals: raw.metrics.principals === false ? 0 : raw.metrics.principals },
    ...(admin === undefined
      ? {}
      : {
          admin: {
            address: places.address(['admin', 'address'], admin.address),
            allowRemote: admin.allowRemote,
          },
        }),
    ...(health === undefined ? {} : { health: toHealth(health, places) }),
    limits: toLimits(raw.limits),
    deadlines,
    workers: raw.workers,
    drain: { delayMs: raw.drain.delay, deadlineMs: raw.drain.deadline },
  };
  places.checkElsewhere();
  return { config: places.problems.length === 0 ? config : undefined, problems: places.problems };
}

const toLimits = ({
  requestsPerPrincipal,
  concurrentPerPrincipal,
  ...rest
}: RawConfig['limits']): Limits => ({
  ...rest,
  ...toPrincipalLimits({ requestsPerPrincipal, concurrentPerPrincipal }),
});

const toForward = (raw: RawConfig['forward'], places: Places): ForwardSettings => ({
  xfcc: raw.xfcc,
  spiffeId: raw.spiffeId,
  clientCert: raw.clientCert,
  headers: Object.entries(raw.headers).map(([name, template]) => ({ name, template })),
  ...(raw.assertion === undefined ? {} : { assertion: toAssertion(raw.assertion, places) }),
});

const toRecorded = ({ headers, query, pathTemplates }: RawConfig['audit']): RecordedValues => ({
  headers,
  query,
  ...(pathTemplates === undefined ? {} : { pathTemplates }),
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
  tunnelAgeMs: raw.tunnelAge,
  accessEndMs: raw.accessEnd,
});
