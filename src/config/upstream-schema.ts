import { z } from 'zod';
import { parseUpstreamUrl, type UpstreamUrl } from './address.js';
import type { Deadlines, HealthCheckConfig, UpstreamConfig, UpstreamTls } from './config.js';
import type { Places } from './places.js';
import { count, duration, name, oneOf, place, placeLike, spiffePattern } from './schema-values.js';
import type { KeyPath } from './yaml-text.js';

const target = placeLike(
  'http://, https://, tcp:// or tls:// and host:port, or unix:/path.',
  parseUpstreamUrl,
);

const healthCheck = z
  .strictObject({
    path: z
      .string()
      .regex(/^\/[!-~]{0,1000}$/, 'must be a path, such as /healthz')
      .describe('Path asked for; 200 to 399 is good. Left out: a connection that opens is enough.')
      .optional(),
    every: duration('Between two of them.', { minMs: 100, maxMs: 3_600_000 }).prefault('5s'),
    timeout: duration('How long a target has to answer.', { maxMs: 60_000 }).prefault('1s'),
    healthy: count('Good answers in a row that bring a target back.', 1, 100).default(2),
    unhealthy: count('Bad answers in a row that take a target out.', 1, 100).default(3),
  })
  .describe('Asks every target on its own, whether requests come or not.');

const ejection = z.union(
  [
    z.literal(false),
    z.strictObject({
      failures: count('Failures in a row that take a target out.', 1, 1000).default(5),
      for: duration('For how long; each time in a row longer by as much.', {
        minMs: 100,
        maxMs: 3_600_000,
      }).prefault('10s'),
      maxPercent: count('Most of the targets that may be out at once.', 0, 100).default(50),
    }),
  ],
  { error: 'must be `false` or `{ failures, for, maxPercent }`' },
);

const upstream = z.strictObject({
  url: target.optional(),
  targets: z.array(target).min(1, 'must hold at least one target').max(256).optional(),
  protocol: oneOf('What is spoken to it; by default what its URL says.', [
    'http1',
    'http2',
    'auto',
    'tcp',
  ]).optional(),
  spiffeId: spiffePattern(
    'SPIFFE ID, or a pattern, that the server must have; our own SVID is shown to it.',
  ).optional(),
  tls: z
    .strictObject({
      ca: place('PEM of the authorities that count, in place of the public ones.').optional(),
      serverName: z
        .string()
        .regex(/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/, 'must be a host name in lower case')
        .describe("Name that TLS asks for and the certificate must have; default the URL's host.")
        .optional(),
    })
    .describe('Of https:// and tls:// without `spiffeId`.')
    .optional(),
  balance: oneOf('Which of several targets is next.', ['round_robin', 'least_requests']).default(
    'round_robin',
  ),
  ejection: ejection.prefault({}),
  healthCheck: healthCheck.optional(),
  retries: count('How often what is safe to be sent again is sent again.', 0, 5).default(1),
  proxyProtocol: oneOf("Begin with a PROXY header that holds the caller's SPIFFE ID (tcp).", [
    'v2',
  ]).optional(),
  timeouts: z
    .strictObject({
      connect: duration('Connecting; default deadlines.upstreamConnect.').optional(),
      response: duration('First byte of the answer; default deadlines.upstreamFirstByte.').optional(),
    })
    .prefault({}),
  maxConnections: count('Most connections open to each target at once.', 1, 100_000).optional(),
});

export const upstreams = z
  .record(name('Name of the upstream.'), upstream)
  .refine((value) => Object.keys(value).length > 0, 'must name at least one upstream')
  .describe('Services behind.');

type RawUpstream = z.output<typeof upstream>;

/** What each URL speaks where nothing else is said. */
const SPOKEN = { http: 'http1', https: 'auto', tcp: 'tcp', tls: 'tcp', unix: 'http1' } as const;

/** Turns one upstream into what is in force; what cannot be is a problem of `places`. */
export function toUpstream(
  upstreamName: string,
  raw: RawUpstream,
  deadlines: Deadlines,
  places: Places,
): UpstreamConfig {
  const at: KeyPath = ['upstreams', upstreamName];
  const urls = urlsOf(raw, at, places);
  const scheme = urls[0]?.scheme ?? 'http';
  const protocol = raw.protocol ?? SPOKEN[scheme];
  const isTls = scheme === 'https' || scheme === 'tls';
  const problem = (key: string, message: string): void => {
    places.problems.push(places.yaml.problemAt([...at, key], message));
  };
  if (urls.some((url) => url.scheme !== scheme)) problem('targets', 'must all begin with the same scheme');
  if ((scheme === 'http' || scheme === 'https') && protocol === 'tcp')
    problem('protocol', `tcp needs tcp://, tls:// or unix: in place of ${scheme}://`);
  if ((scheme === 'tcp' || scheme === 'tls') && protocol !== 'tcp')
    problem('protocol', `${protocol} needs http://, https:// or unix: in place of ${scheme}://`);
  if (protocol === 'auto' && scheme !== 'https')
    problem('protocol', 'auto is settled by TLS: it needs https://');
  if (raw.spiffeId !== undefined && !isTls) problem('spiffeId', 'needs https:// or tls://');
  if (raw.spiffeId !== undefined && raw.tls !== undefined) problem('tls', 'does not go with `spiffeId`');
  if (raw.tls !== undefined && !isTls) problem('tls', 'needs https:// or tls://');
  if (raw.proxyProtocol !== undefined && protocol !== 'tcp') problem('proxyProtocol', 'goes with tcp only');
  if (raw.healthCheck?.path !== undefined && protocol === 'tcp')
    problem('healthCheck', 'has no `path` where requests are not HTTP');
  return {
    name: upstreamName,
    protocol,
    targets: urls.map(({ address, shown }) => ({ address, name: shown })),
    ...(isTls ? { tls: tlsOf(raw, at, places) } : {}),
    balance: raw.balance,
    ejection:
      raw.ejection === false
        ? false
        : {
            failures: raw.ejection.failures,
            forMs: raw.ejection.for,
            maxShare: raw.ejection.maxPercent / 100,
          },
    ...(raw.healthCheck === undefined ? {} : { healthCheck: toHealthCheck(raw.healthCheck) }),
    retries: raw.retries,
    ...(raw.proxyProtocol === undefined ? {} : { proxyProtocol: raw.proxyProtocol }),
    timeouts: {
      connectMs: raw.timeouts.connect ?? deadlines.upstreamConnectMs,
      responseMs: raw.timeouts.response ?? deadlines.upstreamFirstByteMs,
    },
    ...(raw.maxConnections === undefined ? {} : { maxConnections: raw.maxConnections }),
  };
}

function urlsOf(raw: RawUpstream, at: KeyPath, places: Places): UpstreamUrl[] {
  if (raw.url !== undefined && raw.targets === undefined) return [places.url([...at, 'url'], raw.url)];
  if (raw.url === undefined && raw.targets !== undefined) {
    const urls = raw.targets.map((text, i) => places.url([...at, 'targets', i], text));
    const shown = urls.map((url) => url.shown);
    for (const [i, one] of shown.entries()) {
      if (one === '' || shown.indexOf(one) === i) continue;
      places.problems.push(places.yaml.problemAt([...at, 'targets', i], `${one} stands there already`));
    }
    return urls;
  }
  const both = raw.url !== undefined ? ', not both' : '';
  places.problems.push(places.yaml.problemAt(at, `needs either \`url\` or \`targets\`${both}`));
  return [];
}

function tlsOf({ spiffeId, tls }: RawUpstream, at: KeyPath, places: Places): UpstreamTls {
  if (spiffeId !== undefined) return { kind: 'spiffe', id: spiffeId };
  return {
    kind: 'roots',
    ...(tls?.ca === undefined ? {} : { caFile: places.file([...at, 'tls', 'ca'], tls.ca) }),
    ...(tls?.serverName === undefined ? {} : { serverName: tls.serverName }),
  };
}

const toHealthCheck = (raw: NonNullable<RawUpstream['healthCheck']>): HealthCheckConfig => ({
  ...(raw.path === undefined ? {} : { path: raw.path }),
  everyMs: raw.every,
  timeoutMs: raw.timeout,
  healthy: raw.healthy,
  unhealthy: raw.unhealthy,
});
