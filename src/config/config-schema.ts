import { z } from 'zod';
import { parseAddress } from './address.js';
import { assertion, delegates } from './assertion-schema.js';
import { externalDecision } from './external-schema.js';
import { listeners } from './listener-schema.js';
import { otlp } from './otlp-schema.js';
import { recordedValues } from './recorded-values.js';
import { concurrentPerPrincipal, requestsPerPrincipal } from './request-rates.js';
import {
  count,
  duration,
  name,
  oneOf,
  place,
  placeLike,
  size,
  sizeOrUnlimited,
  text,
  workloadId,
} from './schema-values.js';
import { seal } from './seal-schema.js';
import { metrics, signals } from './signal-schema.js';
import { tokens } from './token-schema.js';
import { identity, trust } from './trust-schema.js';
import { upstreams } from './upstream-schema.js';

/** An exception without an end to speak of is a rule. */
const MAX_LENGTH_MS = 3650 * 86_400_000;

const version = z.literal(1).describe('Version of this file format.');

const forward = z
  .strictObject({
    xfcc: oneOf('What happens to x-forwarded-client-cert.', [
      'sanitize',
      'sanitize_set',
      'forward_only',
      'append_forward',
    ]).default('sanitize_set'),
    spiffeId: z.boolean().default(true).describe('Set x-spiffe-id.'),
    clientCert: z.boolean().default(false).describe('Set client-cert and client-cert-chain (RFC 9440).'),
    headers: z
      .record(z.string(), text('Template of {fields}, such as {id}.'))
      .default({})
      .describe('Further headers for services that already read some header.'),
    assertion: assertion.optional(),
  })
  .describe('What the service behind sees of the caller.');

const audit = z
  .strictObject({
    file: place('File for the records; - is standard output, unix:/path a reader.').default('-'),
    durability: oneOf('What an answer waits for before its last byte: nothing, the kernel, the disk.', [
      'buffered',
      'written',
      'synced',
    ]).default('buffered'),
    onFailure: oneOf('New requests while records cannot be written.', ['deny', 'allow']).default('deny'),
    otlp: otlp.optional(),
    seal: seal.optional(),
    signals: signals.prefault({}),
    ...recordedValues,
  })
  .describe('Evidence: one record for every request.');

const admin = z.strictObject({
  address: placeLike('Loopback address or unix:/path.', parseAddress),
  allowRemote: z.boolean().default(false).describe('Needed for an address that other machines can reach.'),
});

const health = z.strictObject({
  address: placeLike('host:port or unix:/path.', parseAddress),
  probes: z
    .array(
      z.strictObject({
        path: z
          .string()
          .regex(/^\/[A-Za-z0-9._~/-]{1,200}$/, 'must be a plain path, such as /probe/billing')
          .describe('Path on the health listener.'),
        upstream: name('Upstream that is asked.'),
        target: z
          .string()
          .regex(/^\/[!-~]{0,1000}$/, 'must be a path, such as /healthz')
          .describe('Path asked of the upstream.'),
        timeout: duration('How long the upstream has to answer.', { maxMs: 60_000 }).prefault('1s'),
      }),
    )
    .default([]),
});

const limits = z.strictObject({
  connections: count('Most client connections at once.', 1, 1_000_000).default(10_000),
  connectionsPerPrincipal: count(
    'Most connections of one SPIFFE ID at once on a listener.',
    1,
    1_000_000,
  ).default(1000),
  connectionsWithoutCertificate: count(
    'Most connections at once on a listener of clients without a certificate.',
    1,
    1_000_000,
  ).default(1000),
  tokens: count('Verified tokens that are remembered.', 10, 1_000_000).default(10_000),
  delegationDepth: count('Most actors between the subject of a call and us.', 1, 8).default(2),
  headerBytes: size('Largest request head.', 1024, 1024 ** 2).prefault('16KiB'),
  // Node drops headers past about 1,000 without a word: what policy and upstream see must be all there is.
  headerCount: count('Most header lines of a request.', 8, 1000).default(100),
  bodyBytes: sizeOrUnlimited('Largest request body.').prefault('unlimited'),
  requestsPerConnection: count('Requests before a connection is closed; 0 = no limit.', 0, 1e9).default(
    10_000,
  ),
  streams: count('Requests under way at once on one HTTP/2 connection.', 1, 10_000).default(100),
  requestsPerPrincipal,
  concurrentPerPrincipal,
  rateLimitHeaders: z
    .boolean()
    .default(false)
    .describe('RateLimit headers on every answer, not on 429 alone.'),
});

const deadlines = z.strictObject({
  handshake: duration('TLS handshake.').prefault('10s'),
  head: duration('Request head, from its first byte.').prefault('10s'),
  body: duration('Whole request body.').prefault('60s'),
  idle: duration('Connection without a request.').prefault('75s'),
  connectionAge: duration('Age at which a connection is ended politely.').prefault('1h'),
  upstreamConnect: duration('Connecting to an upstream.').prefault('5s'),
  upstreamFirstByte: duration('From the request to the first byte of the answer.').prefault('60s'),
  tunnelIdle: duration('A tunnel without a byte either way.').prefault('1h'),
  tunnelAge: duration('Age at which a tunnel is ended.').prefault('24h'),
  accessEnd: duration('How long a request may still run after its access ended; 0s cuts at once.', {
    minMs: 0,
  }).prefault('10s'),
});

const drain = z.strictObject({
  delay: duration('Not ready, still serving.', { minMs: 0 }).prefault('5s'),
  deadline: duration('Then no new requests, until this long has passed; then cut.', { minMs: 0 }).prefault(
    '20s',
  ),
});

const exceptions = z
  .strictObject({
    maxLength: duration('How far ahead an exception may end.', {
      minMs: 1000,
      maxMs: MAX_LENGTH_MS,
    }).prefault('90d'),
    file: place('Grants: exceptions given beside the policy, by `POST /exceptions` or by hand.').optional(),
  })
  .describe('Exceptions of the policy file and grants.');

const WORKERS = 'must be `auto` (one for each CPU that the cgroup grants) or a whole number from 1 to 256';

export const configSchema = z
  .strictObject({
    version,
    identity,
    trust,
    tokens: tokens.default([]),
    revocations: place('revoked.yaml').optional(),
    emergencyRevocations: place('Where `POST /revocations` keeps what it is told.').optional(),
    exceptions: exceptions.prefault({}),
    listeners,
    upstreams,
    policy: place('policy.yaml'),
    shadowPolicy: place(
      'A policy that is only tried out: records say what it would have decided.',
    ).optional(),
    registry: place('registry.yaml: who owns which identity.').optional(),
    externalDecision: externalDecision.optional(),
    trustedPeers: z
      .strictObject({
        gateways: z.array(z.strictObject({ spiffeId: workloadId('Exact SPIFFE ID.') })).default([]),
        delegates,
      })
      .prefault({})
      .describe('Whose forwarded headers and request ids count.'),
    forward: forward.prefault({}),
    audit: audit.prefault({}),
    metrics: metrics.prefault({}),
    admin: admin.optional(),
    health: health.optional(),
    limits: limits.prefault({}),
    deadlines: deadlines.prefault({}),
    workers: z
      .union([z.literal('auto'), z.number().int(WORKERS).min(1, WORKERS).max(256, WORKERS)], {
        error: WORKERS,
      })
      .default(1)
      .describe('Worker processes that share the listeners; auto = one for each CPU that the cgroup grants.'),
    drain: drain.prefault({}),
  })
  .meta({ title: 'Countersign configuration' });

export type RawConfig = z.output<typeof configSchema>;
