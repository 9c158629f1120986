import { z } from 'zod';
import { allReasons, type Reason } from '../reasons.js';

/** Parts that several kinds of records share. Strict: a field that is not written down here is no field of ours. */

const count = (description: string) => z.int().min(0).describe(description);
const ms = (description: string) => z.number().min(0).describe(description);
const some = (description: string) => z.string().min(1).describe(description);
const sha256 = (description: string) =>
  z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .describe(description);
const reason = z.enum(allReasons as [Reason, ...Reason[]]);
const allowedBy = ['rule_allowed', 'exception_allowed', 'external_allowed'] as const;
const effect = z.enum(['allow', 'deny']);

export const time = z
  .string()
  .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  .describe('When the request began, or the thing happened; UTC.');

export const stream = z
  .strictObject({
    id: some('Host name.'),
    boot: z
      .string()
      .regex(/^[0-9a-f]{16}$/)
      .describe('A random word for this start of the process.'),
    worker: count('0 without `workers`, and of the supervisor with them.'),
  })
  .describe('Who wrote it.');

/** What every record has. */
export const numbered = {
  stream,
  seq: z.int().min(1).describe('Number in its stream, from 1, without gaps.'),
  time,
};

/** Of a request or a connection. */
export const id = some('Of the request or the connection.');

export const principal = z
  .strictObject({
    id: z.string().describe('SPIFFE ID; as it stands in the certificate, acceptable or not.'),
    kind: z
      .enum(['workload', 'token', 'none'])
      .describe(
        "token: a name that a token's issuer vouches for. none: nothing verified it, and the ID is a claim.",
      ),
    credential: z.enum(['jwt-svid', 'oidc']).optional().describe('What it showed; left out: a certificate.'),
    trustDomain: z.string(),
    serial: z.string().optional().describe('Of the certificate, in hexadecimal.'),
    sha256: sha256('Of the certificate.').optional(),
    keySha256: sha256('Of its public key.').optional(),
    issuer: z.string(),
    authority: z
      .string()
      .optional()
      .describe(
        'SHA-256 of the trust anchor that verified it; of a token the thumbprint of the key (RFC 7638).',
      ),
    notBefore: time,
    notAfter: time,
    owner: z.string().optional().describe('By the registry.'),
    registered: z.boolean().optional().describe('Whether the registry knows the ID.'),
  })
  .describe('Who called, by what was presented.');

export const token = z
  .strictObject({
    entry: some('Name under `tokens`.'),
    issuer: z.string(),
    jti: z.string().optional(),
    sha256: sha256('Of its text.'),
    notAfter: time,
    bound: z.literal(true).optional().describe('Good with this client certificate alone.'),
  })
  .describe('A verified token that came with the request.');

export const behalfOf = z
  .strictObject({
    id: some('Whom the call was for.'),
    trustDomain: z.string(),
    by: z.enum(['token', 'assertion', 'xfcc']).describe('What said so.'),
    actors: z.array(z.string()).describe('Who acted; the last is the caller.'),
    issuer: z.string().optional().describe('Of the assertion.'),
    jti: z.string().optional().describe('Of the assertion.'),
    owner: z.string().optional().describe('By the registry.'),
    registered: z.boolean().optional().describe('Whether the registry knows the subject.'),
  })
  .describe('On whose behalf the caller acted.');

export const decision = z
  .strictObject({
    effect: effect.describe('allow: the service may have seen the request.'),
    reason: z.enum([...allowedBy, ...allReasons]),
    rule: z.string().optional().describe('That decided.'),
    exception: z.string().optional().describe('That let it in.'),
    shadow: z
      .strictObject({
        effect,
        rule: z.string(),
        reason: z.string(),
        exception: z.string().optional(),
        policyRevision: z.string(),
      })
      .optional()
      .describe('What is only tried out would have said.'),
    conditionErrors: z
      .array(z.strictObject({ rule: z.string(), error: z.string() }))
      .optional()
      .describe('Conditions that could not be evaluated.'),
    policyRevision: z.string().optional(),
    trustRevision: z.string().optional(),
    external: z
      .strictObject({
        result: z.enum(['allow', 'deny', 'unavailable']),
        id: z.string().optional().describe('`decision_id` of the engine.'),
        cached: z.literal(true).optional(),
        durationMs: ms('How long the request waited.'),
      })
      .optional()
      .describe('What an external engine said.'),
    detail: z.string().optional().describe('For people.'),
  })
  .describe('What was decided, and under what.');

export const secretKind = z.enum(['basic', 'api_key', 'bearer_opaque', 'bearer_long_lived', 'query']);

const values = z.record(z.string(), z.string().nullable());

export const request = z
  .strictObject({
    listener: z.string(),
    route: z.string().optional(),
    destination: z.string().optional().describe('Upstream.'),
    method: z.string().optional(),
    host: z.string().optional(),
    path: z
      .string()
      .optional()
      .describe('Without its query; where `redacted`, the template that stands for it.'),
    protocol: z.enum(['http/1.0', 'http/1.1', 'http/2', 'tcp']).optional(),
    direction: z.literal('outbound').optional().describe('Our own workload called out.'),
    upgrade: z.enum(['websocket', 'other']).optional(),
    bytes: count('Of the body.'),
    traceId: z.string().optional(),
    requestId: z.string().optional().describe('`x-request-id` of a trusted peer: the id of its record.'),
    headers: values
      .optional()
      .describe('Those that the policy reads or `audit.headers` names; null = not there.'),
    query: values
      .optional()
      .describe('Those that the policy reads or `audit.query` names; null = not there.'),
    claims: values.optional().describe('Those of the token that the policy reads; null = not there.'),
    secrets: z.array(secretKind).optional().describe('Kinds of static secrets that arrived with it.'),
    redacted: z.literal(true).optional().describe('`path` is a template.'),
    truncated: z.literal(true).optional().describe('A value was cut to 4096 characters.'),
  })
  .describe('What was asked.');

export const response = z
  .strictObject({
    status: count('Sent to the client; 0 = none.'),
    bytes: count('Of the body.'),
    outcome: z.enum([
      'complete',
      'refused',
      'upstream_failed',
      'upstream_cut_short',
      'client_aborted',
      'access_ended',
      'deadline_exceeded',
      'record_failed',
    ]),
    reason: reason.optional().describe('Where the answer is ours or was broken off.'),
    grpcStatus: count('`grpc-status` of a gRPC call.').optional(),
  })
  .describe('What was answered.');

export const upstream = z
  .strictObject({
    target: z.string().optional().describe('Of several targets.'),
    attempts: count('How often it was sent, where more than once.').optional(),
    server: principal.optional().describe('Identity that the server proved.'),
    assertion: z.string().optional().describe('`jti` of the assertion that it got.'),
    injected: z.string().optional().describe('Header in which a secret was put in.'),
  })
  .describe('Where it went to.');

export const timing = z.strictObject({
  totalMs: ms('The whole exchange.'),
  upstreamMs: ms("The service's part of it.").optional(),
});

export const tls = z.strictObject({
  version: z.string().optional(),
  cipher: z.string().optional(),
  resumed: z.boolean(),
  serverName: z.string().optional().describe('That was asked for.'),
});

export const peer = z.strictObject({ address: z.string() }).describe('Last and least.');
export const atListener = z.strictObject({ listener: z.string() });
export const endReason = reason;
export const latencyMs = ms('From when the cause was seen.');
export const connections = count('Open connections that it is about.');
