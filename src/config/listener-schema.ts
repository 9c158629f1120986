import { isIP, isIPv4 } from 'node:net';
import { z } from 'zod';
import { parsePathPattern } from '../policy/pattern.js';
import { err, ok, type Result } from '../reasons.js';
import { parseAddress } from './address.js';
import type { AddressRange, ListenerConfig, RouteConfig, RouteDeadlines } from './config.js';
import type { Places } from './places.js';
import { concurrentPerPrincipal, requestRate, requestsPerPrincipal, toRouteLimits } from './request-rates.js';
import {
  count,
  duration,
  name,
  oneOf,
  parsed,
  pathPattern,
  place,
  placeLike,
  routeHost,
  sizeOrUnlimited,
  text,
} from './schema-values.js';
import type { KeyPath } from './yaml-text.js';

const routeDeadlines = z.strictObject({
  body: duration('The whole request body.').optional(),
  upstreamConnect: duration('Connecting to the upstream.').optional(),
  upstreamFirstByte: duration('From the request to the first byte of the answer.').optional(),
  tunnelIdle: duration('A tunnel without a byte either way.').optional(),
  tunnelAge: duration('Age at which a tunnel is ended.').optional(),
  accessEnd: duration('How long a request may still run after its access ended; 0s cuts at once.', {
    minMs: 0,
  }).optional(),
});

const routeLimits = z.strictObject({
  requests: requestRate('Requests of all callers together.').optional(),
  requestsPerPrincipal,
  concurrent: count('Most requests under way at once, of all callers together.', 1, 1_000_000).optional(),
  concurrentPerPrincipal,
});

const injectCredential = z
  .strictObject({
    header: z
      .string()
      .regex(/^[a-z0-9-]{1,64}$/, 'must be a header name in lower case')
      .describe('Header that the service reads; what a caller sends by this name is dropped.'),
    file: place('File with the secret: its one line.'),
    prefix: z
      .string()
      .regex(/^[ -~]{0,64}$/, 'must be plain text')
      .default('')
      .describe('Stands before the secret, such as "Bearer ".'),
  })
  .describe('A credential that the service still wants, so that no caller need have it.');

const route = z.strictObject({
  name: name('Unique name; policy may use it as a destination.'),
  host: routeHost('One exact host, lower-case; left out = any.').optional(),
  path: pathPattern('Path pattern: `*` one segment, `**` any number. A tcp listener has none.').optional(),
  upstream: name('Upstream that requests of this route go to.'),
  upgrade: z
    .array(oneOf('Protocol that may be upgraded to.', ['websocket']))
    .default([])
    .describe('Protocols that may be upgraded to; none unless named.'),
  accept: oneOf('Credential that is asked for.', ['mtls', 'mtls+token', 'token', 'either']).default('mtls'),
  tokens: z
    .array(name('Name of an entry of `tokens`.'))
    .min(1, 'must name at least one; leave it out for all of them')
    .optional()
    .describe('Tokens that count here; left out = all.'),
  forwardToken: z
    .boolean()
    .default(false)
    .describe('The token goes on to the service; else it is taken off.'),
  delegation: oneOf(
    'What a trusted peer says of whom it acts for: not looked at, verified where it is there, demanded. Outbound, `accept` lets x-identity-assertion of our own workload go on.',
    ['off', 'accept', 'require'],
  ).default('off'),
  assertion: z
    .union([z.literal(false), z.strictObject({ audience: text('`aud` of the assertion.', 512) })])
    .optional()
    .describe('x-identity-assertion for its service: with this audience, or false for none.'),
  injectCredential: injectCredential.optional(),
  encodedSlash: oneOf('Paths that hold %2F: policy must allow both readings.', ['refuse', 'allow']).default(
    'refuse',
  ),
  bodyBytes: sizeOrUnlimited('Replaces limits.bodyBytes here.').optional(),
  limits: routeLimits
    .describe('How many requests; the general words of the same name do not count here.')
    .optional(),
  deadlines: routeDeadlines.describe('Replace the general deadlines here.').optional(),
});

/** `10.1.0.0/16`, `10.1.2.3`, `fd00::/8`. */
export function parseAddressRange(text: string): Result<AddressRange, string> {
  const slash = text.indexOf('/');
  const address = slash === -1 ? text : text.slice(0, slash);
  if (isIP(address) === 0 || address.includes('%'))
    return err(`"${text}" is not an IP address or a range such as 10.1.0.0/16`);
  // Peers are compared by the IPv4 address itself: such a range would match nobody.
  if (/^::ffff:/i.test(address)) return err(`"${text}" is an IPv4 address in IPv6: write it as IPv4`);
  const family = isIPv4(address) ? 'ipv4' : 'ipv6';
  const most = family === 'ipv4' ? 32 : 128;
  const digits = slash === -1 ? String(most) : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(digits) || Number(digits) > most) return err(`/${digits} is not from /1 to /${most}`);
  if (Number(digits) === 0) return err('names every address there is: name the load balancer');
  return ok({ family, address, prefix: Number(digits), text });
}

/** YAML reads bare digits as a number, and 0660 as another one than it looks like. */
const OCTAL = 'must be three octal digits in quotes, such as "0660"';

export const listeners = z
  .array(
    z.strictObject({
      name: name('Unique name.'),
      address: placeLike('host:port, [ipv6]:port or unix:/path.', parseAddress),
      socketMode: parsed(
        (text) => ok(Number.parseInt(text, 8)),
        z
          .string(OCTAL)
          .regex(/^0?[0-7]{3}$/, OCTAL)
          .describe('Permission bits of a unix socket, as in "0660"; default "0600".'),
      ).optional(),
      protocol: oneOf('Protocol behind TLS.', ['http', 'tcp']).default('http'),
      direction: oneOf(
        'inbound: mTLS in. outbound: plaintext in from this machine alone, mTLS with our own SVID out.',
        ['inbound', 'outbound'],
      ).default('inbound'),
      http2: z.boolean().default(true).describe('HTTP/2 beside HTTP/1.1, on the same port.'),
      proxyProtocol: z
        .strictObject({
          from: z
            .array(parsed(parseAddressRange, z.string().describe('IP address or range.')))
            .min(1, 'must name at least one address'),
        })
        .optional()
        .describe('Load balancers whose connections begin with a PROXY header, v1 or v2.'),
      startTls: oneOf('Plaintext that comes before TLS.', ['postgres']).optional(),
      serverCertificate: z
        .strictObject({
          certificate: place('PEM: the certificate, then its intermediates.'),
          key: place('PEM: its private key.'),
          names: z
            .array(z.string().regex(/^(\*\.)?[a-z0-9.-]{1,253}$/, 'must be a DNS name in lower case'))
            .min(1, 'must name at least one')
            .optional()
            .describe('Server names (SNI) that it is shown for; left out = its own DNS names.'),
        })
        .optional()
        .describe('A certificate that clients without SPIFFE can verify.'),
      routes: z.array(route).min(1, 'must hold at least one route'),
    }),
  )
  .min(1, 'must hold at least one listener')
  .describe('Where we listen.');

type RawListener = z.output<typeof listeners>[number];
type RawRoute = RawListener['routes'][number];

const ANY_PATH = parsePathPattern('/**');

export function toListener(raw: RawListener, i: number, places: Places): ListenerConfig {
  const at = ['listeners', i];
  const { name: listenerName, protocol, direction, http2, proxyProtocol, startTls, socketMode } = raw;
  const { serverCertificate: shown } = raw;
  const problem = (key: string, message: string): void => {
    places.problems.push(places.yaml.problemAt([...at, key], message));
  };
  const address = places.address([...at, 'address'], raw.address);
  if (socketMode !== undefined && address.kind !== 'unix')
    problem('socketMode', 'needs a unix:/path address');
  if (startTls !== undefined && protocol !== 'tcp') problem('startTls', 'goes with `protocol: tcp`');
  for (const [key, value] of Object.entries({ startTls, proxyProtocol, serverCertificate: shown })) {
    if (value !== undefined && direction === 'outbound') problem(key, 'goes with `direction: inbound`');
  }
  if (proxyProtocol !== undefined && address.kind === 'unix')
    problem('proxyProtocol', 'needs an IP address to listen on');
  return {
    name: listenerName,
    address,
    ...(address.kind === 'unix' ? { socketMode: socketMode ?? 0o600 } : {}),
    protocol,
    direction,
    http2,
    ...(proxyProtocol === undefined ? {} : { proxyProtocol }),
    ...(startTls === undefined ? {} : { startTls }),
    ...(shown === undefined
      ? {}
      : {
          serverCertificate: {
            certificateFile: places.file([...at, 'serverCertificate', 'certificate'], shown.certificate),
            keyFile: places.file([...at, 'serverCertificate', 'key'], shown.key),
            ...(shown.names === undefined ? {} : { names: shown.names }),
          },
        }),
    routes: raw.routes.map((one, j) =>
      toRoute(one, protocol, injectedBy(one, [...at, 'routes', j], places), (key, message) => {
        places.problems.push(places.yaml.problemAt([...at, 'routes', j, key], message));
      }),
    ),
  };
}

function injectedBy(
  { injectCredential: raw }: RawRoute,
  at: KeyPath,
  places: Places,
): Pick<RouteConfig, 'injects'> {
  if (raw === undefined) return {};
  return { injects: { ...raw, file: places.file([...at, 'injectCredential', 'file'], raw.file) } };
}

function toRoute(
  raw: RawRoute,
  protocol: RawListener['protocol'],
  injected: Pick<RouteConfig, 'injects'>,
  problem: (key: string, message: string) => void,
): RouteConfig {
  const isTcp = protocol === 'tcp';
  if (isTcp) {
    for (const key of ['path', 'bodyBytes'] as const)
      if (raw[key] !== undefined) problem(key, 'a tcp listener carries no requests');
    if (raw.upgrade.length > 0) problem('upgrade', 'a tcp listener carries no requests');
  } else if (raw.path === undefined) problem('path', 'is missing; /** takes every path');
  const path = raw.path ?? (ANY_PATH.ok ? ANY_PATH.value : { text: '/**', segments: ['**'] });
  return {
    name: raw.name,
    host: raw.host,
    path,
    pathText: path.text,
    upstream: raw.upstream,
    upgrade: [...new Set(raw.upgrade)],
    accept: raw.accept,
    ...(raw.tokens === undefined ? {} : { tokens: raw.tokens }),
    forwardsToken: raw.forwardToken,
    delegation: raw.delegation,
    ...(raw.assertion === undefined ? {} : { assertion: raw.assertion }),
    ...injected,
    encodedSlash: raw.encodedSlash === 'allow',
    ...(raw.bodyBytes === undefined ? {} : { bodyBytes: raw.bodyBytes }),
    ...(raw.limits === undefined ? {} : { limits: toRouteLimits(raw.limits) }),
    ...(raw.deadlines === undefined ? {} : { deadlines: toRouteDeadlines(raw.deadlines) }),
  };
}

const toRouteDeadlines = (raw: NonNullable<RawRoute['deadlines']>): Partial<RouteDeadlines> => ({
  ...(raw.body === undefined ? {} : { bodyMs: raw.body }),
  ...(raw.upstreamConnect === undefined ? {} : { upstreamConnectMs: raw.upstreamConnect }),
  ...(raw.upstreamFirstByte === undefined ? {} : { upstreamFirstByteMs: raw.upstreamFirstByte }),
  ...(raw.tunnelIdle === undefined ? {} : { tunnelIdleMs: raw.tunnelIdle }),
  ...(raw.tunnelAge === undefined ? {} : { tunnelAgeMs: raw.tunnelAge }),
  ...(raw.accessEnd === undefined ? {} : { accessEndMs: raw.accessEnd }),
});
