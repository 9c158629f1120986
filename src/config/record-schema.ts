import { z } from 'zod';
import {
  atListener,
  behalfOf,
  connections,
  decision,
  endReason,
  id,
  latencyMs,
  numbered,
  peer,
  principal,
  request,
  response,
  secretKind,
  stream,
  time,
  timing,
  tls,
  token,
  upstream,
} from './record-parts.js';

/**
 * Of the format of records, and of its schema. Within a version fields and events are only added, so that a reader who skips
 * what it does not know goes on working. A line does not say 1: only another version will have to be told apart, on each line.
 */
export const RECORD_FORMAT_VERSION = 1;

const access = z.strictObject({
  ...numbered,
  event: z
    .enum(['access', 'access.corrected'])
    .describe(
      'A request or upgrade ended; an upgrade also at its start. Corrected: the answer of this id ended otherwise than its record said.',
    ),
  id,
  phase: z.enum(['start', 'end']).optional(),
  principal: principal.optional(),
  behalfOf: behalfOf.optional(),
  token: token.optional(),
  decision,
  request,
  response,
  upstream: upstream.optional(),
  timing,
  tls,
  peer,
});

const handshake = z.strictObject({
  ...numbered,
  event: z.literal('handshake').describe('A connection that came to no request.'),
  id,
  principal: principal.optional(),
  decision,
  request: atListener,
  tls,
  peer,
});

const terminated = z.strictObject({
  ...numbered,
  event: z.literal('connection.terminated').describe('Access of an open connection ended.'),
  id,
  principal: principal.optional(),
  reason: endReason,
  latencyMs,
  request: atListener,
  peer,
});

/** Of most of them only the event differs. */
export const LIFECYCLE_EVENTS = [
  'process.started',
  'process.draining',
  'process.stopped',
  'process.worker_lost',
  'process.worker_replaced',
  'svid.rotated',
  'svid.revoked',
  'svid.expiring',
  'trust.changed',
  'trust.refused',
  'trust.shrunk',
  'policy.changed',
  'policy.refused',
  'revocation.changed',
  'revocation.refused',
  'revocation.withdrawn',
  'revocation.enforced',
  'source.drifted',
  'authority.in_use',
  'credential.long_lived',
  'credential.near_expiry',
  'credential.shared',
  'static_secret.observed',
  'identity.unregistered',
  'identity.first_seen',
  'edge.first_seen',
  'seal.key_rotated',
  'seal.key_refused',
  'assertion.key_rotated',
  'assertion.key_refused',
  'exception.started',
  'exception.expiring',
  'exception.expired',
  'exception.withdrawn',
] as const;

const exception = z.strictObject({ id: z.string(), owner: z.string(), expires: z.string() });

const shared = z.strictObject({
  kind: z.enum(['addresses', 'ids', 'certificates']),
  total: z.int().min(0),
  networks: z.int().min(0).optional(),
  addresses: z.array(z.string()).optional(),
  ids: z.array(z.string()).optional(),
});

const lifecycle = z.strictObject({
  ...numbered,
  event: z.enum(LIFECYCLE_EVENTS).describe('Something changed in what decides.'),
  source: z.string().optional().describe('That was read, as /snapshot names it.'),
  policyRevision: z.string().optional().describe('In force from here on.'),
  trustRevision: z.string().optional().describe('In force from here on.'),
  detail: z.string().optional().describe('For people.'),
  connections: connections.optional(),
  latencyMs: latencyMs.optional(),
  exception: exception.optional().describe('Of exception.*.'),
  principal: principal.optional(),
  shared: shared.optional().describe('Of credential.shared.'),
  secret: z
    .strictObject({ kind: secretKind, name: z.string() })
    .optional()
    .describe('Of static_secret.observed: never the value.'),
  request: atListener
    .extend({ route: z.string().optional(), destination: z.string().optional() })
    .optional()
    .describe('Of static_secret.observed and edge.first_seen.'),
});

const sequence = z.int().min(0);

const gap = z.strictObject({
  ...numbered,
  event: z.literal('audit.gap').describe('Records were lost here, or may have been.'),
  gap: z.strictObject({
    why: z.enum(['dropped', 'truncated', 'sync_failed', 'ended_without_last_word']),
    from: sequence.optional(),
    to: sequence.optional(),
    records: sequence.optional(),
    boot: z.string().optional(),
    worker: sequence.optional(),
    after: sequence.optional(),
    adopted: z
      .strictObject({ from: sequence, to: sequence, hash: z.string() })
      .optional()
      .describe('Lines without a seal of their own that this record vouches for.'),
  }),
  detail: z.string(),
});

const exportLost = z.strictObject({
  ...numbered,
  event: z.literal('audit.export_lost').describe('A collector lacks these; this stream does not.'),
  lost: z.strictObject({
    boot: z.string(),
    worker: sequence,
    from: sequence,
    to: sequence,
    records: sequence,
    why: z.enum(['queue_full', 'refused', 'rejected', 'too_old', 'shutdown']),
    seals: sequence.optional(),
  }),
  detail: z.string(),
});

/** No record, and without a `seq`: it stands among the records that it seals. */
const seal = z.strictObject({
  stream,
  time,
  event: z.literal('audit.seal').describe('Signs the lines of its stream since the seal before.'),
  seal: z.strictObject({ number: sequence, from: sequence, to: sequence, head: z.string() }),
  jws: z.string().describe('Compact JWS: what is proven.'),
});

export const recordSchema = z
  .discriminatedUnion('event', [access, handshake, terminated, lifecycle, gap, exportLost, seal])
  .meta({
    $id: `urn:countersign:record:${RECORD_FORMAT_VERSION}`,
    title: `Countersign record, version ${RECORD_FORMAT_VERSION}`,
    description: 'One line of the audit stream.',
  });
