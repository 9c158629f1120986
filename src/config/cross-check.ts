import { parseForwardTemplate, problemOfForwardHeader } from '../message/forward-policy.js';
import { formatAddress, isLoopback } from './address.js';
import { checkAdded, warnAdded } from './assertion-check.js';
import type { Address, Config, ListenerConfig, RouteConfig, UpstreamConfig } from './config.js';
import { checkExternalDecision } from './external-decision.js';
import { nearestKey } from './issues.js';
import { KnownNames } from './known-names.js';
import { checkLimits, warnLimits } from './limits-check.js';
import { checkOtlp } from './otlp.js';
import type { PolicyFile } from './policy-file.js';
import type { Problem } from './problem.js';
import { checkTokens, warnTokens } from './token-check.js';
import type { KeyPath } from './yaml-text.js';

type ProblemAt = (path: KeyPath, message: string) => Problem;

/** What no single value can show: names that lead nowhere, the same thing twice, doors wider than meant. */
export function crossCheck(config: Config, at: ProblemAt): Problem[] {
  return [
    ...checkTrust(config, at),
    ...checkListeners(config, at),
    ...checkRoutes(config, at),
    ...checkOutbound(config, at),
    ...checkServers(config, at),
    ...checkForward(config, at),
    ...checkAdded(config, at),
    ...checkSideDoors(config, at),
    ...checkExternalDecision(config, at),
    ...checkOtlp(config, at),
    ...checkLimits(config, at),
    ...checkAudit(config, at),
    ...checkTokens(config, at),
  ];
}

function checkAudit({ audit: { durability, file } }: Config, at: ProblemAt): Problem[] {
  const isSocket = file.startsWith('unix:');
  if (durability !== 'synced' || (file !== '-' && !isSocket)) return [];
  const what = isSocket ? 'a socket' : 'standard output';
  return [at(['audit', 'durability'], `synced needs a regular file as \`file\`: ${what} is no disk`)];
}

/** What is allowed but rarely meant. */
export function crossWarn(config: Config, at: ProblemAt): Problem[] {
  const warnings: Problem[] = [];
  const used = new Set([
    ...config.listeners.flatMap((listener) => listener.routes.map((route) => route.upstream)),
    ...(config.health?.probes ?? []).map((probe) => probe.upstream),
  ]);
  for (const name of config.upstreams.keys()) {
    if (!used.has(name)) warnings.push(at(['upstreams', name], 'no route leads to this upstream'));
  }
  const { xfcc } = config.forward;
  if ((xfcc === 'forward_only' || xfcc === 'append_forward') && config.trustedPeers.gateways.length === 0) {
    warnings.push(
      at(['forward', 'xfcc'], `${xfcc} has no effect without trustedPeers.gateways: nobody's header counts`),
    );
  }
  if (config.audit.onFailure === 'allow') {
    warnings.push(
      at(['audit', 'onFailure'], 'requests are served without evidence while records cannot be written'),
    );
  }
  return [...warnings, ...warnAdded(config, at), ...warnLimits(config, at), ...warnTokens(config, at)];
}

/** Policy beside configuration: a name that leads nowhere is a rule that never works, which is worst in a deny. */
export function crossCheckPolicy(config: Config, file: PolicyFile): Problem[] {
  const names = new KnownNames(config);
  const routes = config.listeners.flatMap((listener) => listener.routes.map((route) => route.name));
  const destinations = new Set([...config.upstreams.keys(), ...routes]);
  const listeners = new Set(config.listeners.map((listener) => listener.name));
  const problems: Problem[] = [];
  for (const [i, rule] of (file.input?.rules ?? []).entries()) {
    for (const [j, pattern] of rule.principals.entries()) {
      const message = names.whyNoCaller(pattern);
      if (message !== undefined) problems.push(file.problemAt(['rules', i, 'principals', j], message));
    }
    for (const [j, pattern] of (rule.behalfOf ?? []).entries()) {
      const message = names.whyNoSubject(pattern);
      if (message !== undefined) problems.push(file.problemAt(['rules', i, 'behalfOf', j], message));
    }
    for (const [j, name] of rule.destinations.entries()) {
      if (destinations.has(name)) continue;
      const message = `there is no upstream or route "${name}"${hint(name, [...destinations])}`;
      problems.push(file.problemAt(['rules', i, 'destinations', j], message));
    }
  }
  for (const [i, test] of file.tests.entries()) {
    if (test.listener !== undefined && !listeners.has(test.listener)) {
      problems.push(file.problemAt(['tests', i, 'listener'], `there is no listener "${test.listener}"`));
    }
  }
  return problems;
}

export function crossWarnPolicy(file: PolicyFile): Problem[] {
  const rules = file.input?.rules;
  if (rules === undefined) return [];
  const warnings: Problem[] = [];
  if (!rules.some((rule) => rule.effect === 'allow')) {
    warnings.push(file.problemAt(['rules'], 'no rule allows anything: every request will be refused'));
  }
  for (const [i, rule] of rules.entries()) {
    for (const key of ['principals', 'behalfOf'] as const) {
      for (const [j, pattern] of (rule[key] ?? []).entries()) {
        if (pattern.segments.length > 0) continue;
        const message = `names the trust domain, not a workload, and matches nobody; write ${pattern.text}/** for all of them`;
        warnings.push(file.problemAt(['rules', i, key, j], message));
      }
    }
  }
  return warnings;
}

function checkTrust(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const first = new Map<string, number>();
  for (const entry of config.trust) {
    const i = entry.entry;
    const known = first.get(entry.trustDomain);
    if (known === undefined) first.set(entry.trustDomain, i);
    else
      problems.push(
        at(['trust', i, 'trustDomain'], `${entry.trustDomain} is configured already in trust[${known}]`),
      );
    const { require, crlFiles } = entry.revocation;
    if (require !== 'none' && crlFiles.length === 0 && entry.bundle.kind !== 'workloadApi') {
      const message = `${require} needs \`crls\`: without one, every workload of ${entry.trustDomain} is refused`;
      problems.push(at(['trust', i, 'revocation', 'require'], message));
    }
  }
  if (
    config.emergencyRevocationsFile !== undefined &&
    config.emergencyRevocationsFile === config.revocationsFile
  )
    problems.push(at(['emergencyRevocations'], 'must be a file of its own: this one is written by people'));
  const grantsFile = config.exceptions.file;
  const others = [config.policyFile, config.revocationsFile, config.emergencyRevocationsFile];
  if (grantsFile !== undefined && others.includes(grantsFile))
    problems.push(at(['exceptions', 'file'], 'must be a file of its own'));
  const { maxSvidLifetimeMs: most, flagSvidLifetimeMs: flagged } = config.identityOptions;
  if (most !== undefined && flagged !== undefined && flagged >= most)
    problems.push(
      at(['identity', 'flagSvidLifetime'], 'must be shorter than `maxSvidLifetime`, which refuses'),
    );
  for (const [i, gateway] of config.trustedPeers.gateways.entries()) {
    if (first.has(gateway.trustDomain) || config.trustFolders.length > 0) continue;
    const message = `trust domain ${gateway.trustDomain} is not configured under \`trust\``;
    problems.push(at(['trustedPeers', 'gateways', i, 'spiffeId'], message));
  }
  problems.push(...checkOrigins(config, at));
  return problems;
}

/** Files that two entries would write, or that nothing could begin with. */
function checkOrigins(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const stores = new Map<string, number>();
  for (const { entry, trustDomain, bundle } of config.trust) {
    if (bundle.kind !== 'endpoint') continue;
    const path = ['trust', entry, 'bundle', 'endpoint'];
    const { profile, bootstrapFile, storeFile } = bundle;
    if (profile.kind === 'https_spiffe') {
      const { endpointId } = profile;
      const isOwn = endpointId.trustDomain === trustDomain;
      if (isOwn && bootstrapFile === undefined) {
        problems.push(
          at(
            path,
            `an https_spiffe endpoint in ${trustDomain} itself needs a \`bootstrap\` bundle to be verified with`,
          ),
        );
      }
      const isTrusted = config.trust.some((other) => other.trustDomain === endpointId.trustDomain);
      if (!isOwn && !isTrusted && config.trustFolders.length === 0) {
        const message = `trust domain ${endpointId.trustDomain} is not configured under \`trust\`, so the endpoint could not be verified`;
        problems.push(at([...path, 'spiffeId'], message));
      }
    }
    if (storeFile === undefined) continue;
    const taken = stores.get(storeFile);
    if (taken === undefined) stores.set(storeFile, entry);
    else problems.push(at([...path, 'store'], `is the store of trust[${taken}] already`));
  }
  return problems;
}

function checkListeners(config: Config, at: ProblemAt): Problem[] {
  const names = new Map<string, number>();
  const problems: Problem[] = [];
  for (const [i, listener] of config.listeners.entries()) {
    const known = names.get(listener.name);
    if (known === undefined) names.set(listener.name, i);
    else problems.push(at(['listeners', i, 'name'], `"${listener.name}" is also listeners[${known}]`));
  }
  const taken = new Map<string, string>();
  const take = (address: Address, path: KeyPath, who: string): void => {
    if (address.kind === 'tcp' && address.port === 0) return; // the system chooses: never the same twice
    const key = formatAddress(address);
    const holder = taken.get(key);
    if (holder === undefined) taken.set(key, who);
    else problems.push(at(path, `${key} is taken already by ${holder}`));
  };
  for (const [i, listener] of config.listeners.entries()) {
    take(listener.address, ['listeners', i, 'address'], `listener ${listener.name}`);
  }
  if (config.admin) take(config.admin.address, ['admin', 'address'], 'admin');
  if (config.health) take(config.health.address, ['health', 'address'], 'health');
  return problems;
}

function checkRoutes(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const names = new Map<string, string>();
  for (const [i, listener] of config.listeners.entries()) {
    const matches = new Map<string, string>();
    for (const [j, route] of listener.routes.entries()) {
      const path = ['listeners', i, 'routes', j];
      const where = `listeners[${i}].routes[${j}]`;
      const known = names.get(route.name);
      if (known === undefined) names.set(route.name, where);
      else problems.push(at([...path, 'name'], `"${route.name}" is also ${known}`));
      if (!config.upstreams.has(route.upstream)) {
        const near = hint(route.upstream, [...config.upstreams.keys()]);
        problems.push(at([...path, 'upstream'], `there is no upstream "${route.upstream}"${near}`));
      }
      // Policy names destinations by upstream or route: one word must not mean two things.
      if (config.upstreams.has(route.name) && route.upstream !== route.name) {
        const message = `"${route.name}" is also an upstream, but this route leads to "${route.upstream}": policy could not tell them apart`;
        problems.push(at([...path, 'name'], message));
      }
      problems.push(
        ...checkPair(listener, config.upstreams.get(route.upstream), route, (key, text) =>
          at([...path, key], text),
        ),
      );
      const key = `${route.host ?? ''} /${route.path.segments.join('/')}`;
      const earlier = matches.get(key);
      if (earlier === undefined) matches.set(key, route.name);
      else problems.push(at([...path, 'path'], `route "${earlier}" has the same host and path`));
    }
  }
  return problems;
}

/** A listener and the upstream that one of its routes leads to. */
function checkPair(
  { protocol, direction }: ListenerConfig,
  upstream: UpstreamConfig | undefined,
  route: RouteConfig,
  at: (key: string, message: string) => Problem,
): Problem[] {
  if (upstream === undefined) return [];
  const problems: Problem[] = [];
  const isTcp = upstream.protocol === 'tcp';
  if (isTcp !== (protocol === 'tcp')) {
    const what = isTcp ? 'takes bytes (tcp)' : 'takes HTTP requests';
    const instead = isTcp
      ? 'http://, https:// or unix:/path'
      : 'tcp://, tls://, or unix:/path with `protocol: tcp`';
    const message = `"${upstream.name}" ${what}, and the listener is \`protocol: ${protocol}\`: it needs ${instead}`;
    problems.push(at('upstream', message));
  }
  if (route.upgrade.length > 0 && upstream.protocol === 'http2')
    problems.push(at('upgrade', `"${upstream.name}" speaks HTTP/2 only: a WebSocket needs HTTP/1.1`));
  if (direction === 'outbound' && upstream.tls?.kind !== 'spiffe') {
    const message = `"${upstream.name}" needs a \`spiffeId\`: what goes out shows our SVID, and says whose it wants to see`;
    problems.push(at('upstream', message));
  }
  return problems;
}

/** What goes out speaks as us: nobody but this machine may ask for it. */
function checkOutbound(config: Config, at: ProblemAt): Problem[] {
  return config.listeners.flatMap(({ direction, address }, i) => {
    if (direction === 'inbound' || isLoopback(address)) return [];
    const message = `${formatAddress(address)} can be reached by other machines: \`direction: outbound\` needs a loopback address or unix:/path`;
    return [at(['listeners', i, 'address'], message)];
  });
}

/** SPIFFE IDs of servers that nothing could verify. */
function checkServers(config: Config, at: ProblemAt): Problem[] {
  if (config.trustFolders.length > 0) return [];
  const domains = new Set<string>(config.trust.map((entry) => entry.trustDomain));
  return [...config.upstreams.values()].flatMap(({ name, tls }) => {
    if (tls?.kind !== 'spiffe' || domains.has(tls.id.trustDomain)) return [];
    const message = `trust domain ${tls.id.trustDomain} is not configured under \`trust\``;
    return [at(['upstreams', name, 'spiffeId'], message)];
  });
}

function checkForward(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const spellings = new Map<string, string>();
  for (const { name, template } of config.forward.headers) {
    const path = ['forward', 'headers', name];
    const wrong = problemOfForwardHeader(name);
    if (wrong !== undefined) problems.push(at(path, wrong));
    const folded = name.toLowerCase().replaceAll('_', '-');
    const other = spellings.get(folded);
    if (other === undefined) spellings.set(folded, name);
    else problems.push(at(path, `is the same header as ${other} for many servers`));
    const parsed = parseForwardTemplate(template);
    if (!parsed.ok) problems.push(at(path, parsed.error));
    else if (config.registryFile === undefined) {
      const field = parsed.value.fields.find((of) => of === 'owner' || of === 'environment');
      if (field !== undefined) problems.push(at(path, `{${field}} needs a \`registry\``));
    }
  }
  return problems;
}

function checkSideDoors(config: Config, at: ProblemAt): Problem[] {
  const problems: Problem[] = [];
  const { admin, health } = config;
  if (admin !== undefined && !admin.allowRemote && !isLoopback(admin.address)) {
    const message = `${formatAddress(admin.address)} can be reached by other machines; say \`allowRemote: true\` if that is meant`;
    problems.push(at(['admin', 'address'], message));
  }
  const paths = new Set(['/livez', '/readyz', '/metrics', '/.well-known/jwks.json']);
  for (const [i, probe] of (health?.probes ?? []).entries()) {
    if (paths.has(probe.path)) problems.push(at(['health', 'probes', i, 'path'], `${probe.path} is taken`));
    paths.add(probe.path);
    const upstream = config.upstreams.get(probe.upstream);
    if (upstream !== undefined && (upstream.protocol !== 'http1' || upstream.tls !== undefined)) {
      const message = `"${probe.upstream}" cannot be probed: a probe is plaintext HTTP/1.1`;
      problems.push(at(['health', 'probes', i, 'upstream'], message));
    }
    if (upstream === undefined) {
      const near = hint(probe.upstream, [...config.upstreams.keys()]);
      problems.push(
        at(['health', 'probes', i, 'upstream'], `there is no upstream "${probe.upstream}"${near}`),
      );
    }
  }
  return problems;
}

function hint(name: string, known: readonly string[]): string {
  const nearest = nearestKey(name, known);
  return nearest === undefined ? '' : `; did you mean "${nearest}"?`;
}
