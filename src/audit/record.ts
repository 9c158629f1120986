import type { Reason, RefusalReason } from '../reasons.js';

/** Evidence: one NDJSON line each (PRODUCT §9). Names here are the names in the file. */

export interface PrincipalFields {
  readonly id: string;
  /** `workload`: it has a SPIFFE ID. `token`: a name in the namespace of a token's issuer. `none`: nobody vouches for it. */
  readonly kind: 'workload' | 'token' | 'none';
  /** What it showed; left out = a certificate. */
  readonly credential?: 'jwt-svid' | 'oidc' | undefined;
  readonly trustDomain: string;
  /** This and the next two: of a certificate. */
  readonly serial?: string | undefined;
  readonly sha256?: string | undefined;
  readonly keySha256?: string | undefined;
  readonly issuer: string;
  /** SHA-256 of the authority (trust anchor) that verified it; of a token the thumbprint of the key (RFC 7638). */
  readonly authority: string | undefined;
  readonly notBefore: string;
  readonly notAfter: string;
  /** By the registry, of the ID as it stands here; left out where it names nobody. */
  readonly owner?: string | undefined;
  /** Whether the registry knows the ID; left out without a registry. */
  readonly registered?: boolean | undefined;
}

/** A verified token that came with the request: enough to find it again, nothing that could be shown again. */
export interface TokenFields {
  /** The entry of `tokens`. */
  readonly entry: string;
  readonly issuer: string;
  readonly jti?: string | undefined;
  /** Of its text. */
  readonly sha256: string;
  readonly notAfter: string;
  /** It was good with this client certificate alone (RFC 8705). */
  readonly bound?: true | undefined;
}

/** On whose behalf the caller acted. */
export interface DelegationFields {
  /** Whom the call was for. */
  readonly id: string;
  readonly trustDomain: string;
  readonly by: 'token' | 'assertion' | 'xfcc';
  /** Who acted, the first for the subject itself; the last is the caller. */
  readonly actors: readonly string[];
  /** Of the assertion that said so. */
  readonly issuer?: string | undefined;
  readonly jti?: string | undefined;
  readonly owner?: string | undefined;
  readonly registered?: boolean | undefined;
}

export interface DecisionFields {
  readonly effect: 'allow' | 'deny';
  readonly reason: Reason | 'rule_allowed' | 'exception_allowed' | 'external_allowed';
  readonly rule: string | undefined;
  /** The exception that let it in. */
  readonly exception?: string | undefined;
  /** What the policy that is only tried out would have said. */
  readonly shadow?: ShadowFields | undefined;
  /** Conditions that could not be evaluated. */
  readonly conditionErrors?: readonly { readonly rule: string; readonly error: string }[] | undefined;
  readonly policyRevision: string | undefined;
  readonly trustRevision: string | undefined;
  /** What an external engine said, where one was asked. */
  readonly external?: ExternalFields | undefined;
  /** What exactly was wrong, for people; never shown to the client. */
  readonly detail: string | undefined;
}

export interface ExternalFields {
  readonly result: 'allow' | 'deny' | 'unavailable';
  /** The engine's `decision_id`. */
  readonly id: string | undefined;
  /** It was not asked: an earlier answer still held. */
  readonly cached: true | undefined;
  /** How long the request waited for it. */
  readonly durationMs: number;
}

export interface ShadowFields {
  readonly effect: 'allow' | 'deny';
  readonly rule: string;
  readonly reason: string;
  readonly exception?: string;
  readonly policyRevision: string;
}

/** Values that the policy file names under `reads` or the configuration under `audit`; `null` where the request had none. */
export type ReadValues = Readonly<Record<string, string | null>>;

export interface RequestFields {
  readonly listener: string;
  readonly route: string | undefined;
  readonly destination: string | undefined;
  readonly method: string | undefined;
  readonly host: string | undefined;
  readonly path: string | undefined;
  readonly protocol: 'http/1.0' | 'http/1.1' | 'http/2' | 'tcp' | undefined;
  /** Our own workload called out. */
  readonly direction?: 'outbound' | undefined;
  /** `x-request-id` of a trusted peer: the `id` of its own record. */
  readonly requestId?: string | undefined;
  /** An upgrade was asked for. */
  readonly upgrade?: 'websocket' | 'other' | undefined;
  readonly bytes: number;
  readonly traceId: string | undefined;
  /** What conditions may read of it, and what the configuration names. */
  readonly headers?: ReadValues | undefined;
  readonly query?: ReadValues | undefined;
  /** Of the token. */
  readonly claims?: ReadValues | undefined;
  /** Secrets that do not change from request to request and came with it: of what kind, and nothing of them. */
  readonly secrets?: readonly SecretKind[] | undefined;
  /** `path` is the template that stands for it, not what was asked for. */
  readonly redacted?: true | undefined;
  /** Set where a value was cut to its documented size. */
  readonly truncated: true | undefined;
}

/**
 * A static secret. `basic`: Basic authentication; `api_key`: a header known to hold one, or a scheme whose parameter is one;
 * `bearer_opaque`: a bearer token that does not say how long it lives; `bearer_long_lived`: a JWT that lives too long, or
 * for ever; `query`: a parameter of the URL known to hold a credential.
 */
export type SecretKind = 'basic' | 'api_key' | 'bearer_opaque' | 'bearer_long_lived' | 'query';

/** Of `credential.shared`. Lists are of the first 20. */
export interface SharedFields {
  /** One key from several `addresses` at once, one key under several `ids`, or one ID with many live `certificates`. */
  readonly kind: 'addresses' | 'ids' | 'certificates';
  /** How many of them. */
  readonly total: number;
  /** Of `addresses`: how many networks they are of, of the kind (IPv4 or IPv6) that has more; this is what counts. */
  readonly networks?: number;
  readonly addresses?: readonly string[];
  readonly ids?: readonly string[];
}

/** How the exchange ended. `complete` is the only good word. */
export type Outcome =
  | 'complete'
  | 'refused'
  | 'upstream_failed'
  | 'upstream_cut_short'
  | 'client_aborted'
  | 'access_ended'
  | 'deadline_exceeded'
  /** Its record could not be kept as the durability asks: the answer was reset before its last byte. */
  | 'record_failed';

export interface ResponseFields {
  readonly status: number;
  readonly bytes: number;
  readonly outcome: Outcome;
  /** Why, where the answer is ours or was broken off. */
  readonly reason: Reason | undefined;
  /** `grpc-status`, of a gRPC call. */
  readonly grpcStatus?: number | undefined;
}

/** Where it went to; left out where the configuration names one plaintext target. */
export interface UpstreamFields {
  /** Of several. */
  readonly target?: string | undefined;
  /** How often it was sent, where that was more than once. */
  readonly attempts?: number | undefined;
  /** The server's verified identity. */
  readonly server?: PrincipalFields | undefined;
  /** `jti` of the assertion that it got. */
  readonly assertion?: string | undefined;
  /** The header in which a secret was put in for it. */
  readonly injected?: string | undefined;
}

export interface TlsFields {
  readonly version: string | undefined;
  readonly cipher: string | undefined;
  readonly resumed: boolean;
  readonly serverName: string | undefined;
}

export interface AccessRecord {
  readonly time: string;
  /** `access.corrected`: an answer that a record called whole before its last byte was sent ended otherwise, as said here. */
  readonly event: 'access' | 'access.corrected';
  readonly id: string;
  /** A long-lived exchange (upgrade) has two records of one id: at its start and at its end. */
  readonly phase: 'start' | 'end' | undefined;
  readonly principal: PrincipalFields | undefined;
  readonly behalfOf?: DelegationFields | undefined;
  readonly token?: TokenFields | undefined;
  readonly decision: DecisionFields;
  readonly request: RequestFields;
  readonly response: ResponseFields;
  readonly upstream?: UpstreamFields | undefined;
  readonly timing: { readonly totalMs: number; readonly upstreamMs: number | undefined };
  readonly tls: TlsFields;
  readonly peer: { readonly address: string };
}

/** A connection that came to no request: the handshake failed, or its certificate was refused and no request followed. */
export interface HandshakeRecord {
  readonly time: string;
  readonly event: 'handshake';
  readonly id: string;
  readonly principal: PrincipalFields | undefined;
  readonly decision: DecisionFields;
  readonly request: { readonly listener: string };
  readonly tls: TlsFields;
  readonly peer: { readonly address: string };
}

export interface ConnectionTerminatedRecord {
  readonly time: string;
  readonly event: 'connection.terminated';
  readonly id: string;
  readonly principal: PrincipalFields | undefined;
  readonly reason: RefusalReason | 'access_ended';
  /** From when the cause was seen to the socket's end. */
  readonly latencyMs: number;
  readonly request: { readonly listener: string };
  readonly peer: { readonly address: string };
}

/** Something changed in what decides: a source was adopted or refused, the process started or stops. */
export interface LifecycleRecord {
  readonly time: string;
  readonly event:
    | 'process.started'
    | 'process.draining'
    | 'process.stopped'
    | 'process.worker_lost'
    | 'process.worker_replaced'
    | 'svid.rotated'
    | 'trust.changed'
    | 'trust.refused'
    | 'policy.changed'
    | 'policy.refused'
    | 'revocation.changed'
    | 'revocation.refused'
    | 'revocation.withdrawn'
    | 'revocation.enforced'
    | 'trust.shrunk'
    | 'source.drifted'
    | 'authority.in_use'
    | 'svid.revoked'
    | 'svid.expiring'
    | 'credential.long_lived'
    | 'credential.near_expiry'
    | 'credential.shared'
    | 'static_secret.observed'
    | 'identity.first_seen'
    | 'edge.first_seen'
    | 'identity.unregistered'
    | 'exception.started'
    | 'exception.expiring'
    | 'exception.expired'
    | 'exception.withdrawn'
    | 'seal.key_rotated'
    | 'seal.key_refused'
    | 'assertion.key_rotated'
    | 'assertion.key_refused';
  readonly source: string | undefined;
  readonly policyRevision: string | undefined;
  readonly trustRevision: string | undefined;
  readonly detail: string | undefined;
  /** Open connections that it is about. */
  readonly connections?: number;
  /** Of `revocation.enforced`: from when the cause was seen to the last of them gone. */
  readonly latencyMs?: number;
  /** Of `exception.*`. */
  readonly exception?: { readonly id: string; readonly owner: string; readonly expires: string };
  /** Of `credential.*`, `identity.*`, `edge.*` and `static_secret.observed`. */
  readonly principal?: PrincipalFields | undefined;
  readonly shared?: SharedFields;
  /** Of `static_secret.observed`; `name` of the header or query parameter, as the configuration writes it. */
  readonly secret?: { readonly kind: SecretKind; readonly name: string };
  /** Of `static_secret.observed` and `edge.first_seen`. */
  readonly request?: Pick<RequestFields, 'listener' | 'route' | 'destination'>;
}

/**
 * Why a collector lacks records: no room to wait, refused by it (all of a batch, or some), tried for too long, or not taken
 * before the process ended.
 */
export type ExportLossCause = 'queue_full' | 'refused' | 'rejected' | 'too_old' | 'shutdown';

/** Records of one stream that a collector lacks: so many of those from..to, the ends included. */
export interface ExportLoss {
  readonly boot: string;
  readonly worker: number;
  readonly from: number;
  readonly to: number;
  readonly records: number;
  readonly why: ExportLossCause;
  /** Seals of the stream that it lacks too. */
  readonly seals?: number;
}

/** The copy that a collector has is incomplete here; the stream itself is not. */
export interface ExportLostRecord {
  readonly time: string;
  readonly event: 'audit.export_lost';
  readonly lost: ExportLoss;
  readonly detail: string;
}

/** What of the evidence is missing, or may be. */
export interface GapFields {
  /**
   * `dropped`: there was no room for them. `truncated`: somebody cut the file in place. `sync_failed`: the disk may not have
   * them. `ended_without_last_word`: an earlier process of the same file was killed.
   */
  readonly why: 'dropped' | 'truncated' | 'sync_failed' | 'ended_without_last_word';
  /** The first and the last number of this stream that are not there, and how many. */
  readonly from?: number;
  readonly to?: number;
  readonly records?: number;
  /** The stream that it is about, where it is not this one, and the last number found of it. */
  readonly boot?: string;
  readonly worker?: number;
  readonly after?: number;
  /**
   * Lines of that stream that no seal of its own covers: those of this one do. `hash`: base64url SHA-256 of them, torn ones
   * too; where there are only such, `from` is the number after `to`.
   */
  readonly adopted?: { readonly from: number; readonly to: number; readonly hash: string };
}

export interface GapRecord {
  readonly time: string;
  readonly event: 'audit.gap';
  readonly gap: GapFields;
  readonly detail: string;
}

export type AuditRecord =
  | AccessRecord
  | HandshakeRecord
  | ConnectionTerminatedRecord
  | LifecycleRecord
  | GapRecord
  | ExportLostRecord;

/** Longest path, host or server name kept in a record; longer ones are cut and the record says so. */
export const MAX_RECORDED_VALUE = 4096;
