import type { BundleEndpointUrl } from '../identity/bundle-endpoint-url.js';
import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.js';
import type { AssertionIssuer, JwtSvidIssuer, OidcIssuer } from '../identity/token-issuer.js';
import type { XfccMode } from '../message/forward-policy.js';
import type { PathTemplate } from '../policy/path-template.js';
import type { PathPattern, SpiffePattern } from '../policy/pattern.js';
import type { DecisionUrl } from './decision-url.js';
import type { OtlpConfig } from './otlp.js';

/** Where to listen. `host` is a literal IP address or a name, IPv6 without brackets. */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** The configuration in force: every file path absolute, every unit in the name, every default filled in. */
export interface Config {
  readonly file: string;
  readonly identity: IdentityConfig;
  readonly identityOptions: {
    readonly clockSkewMs: number;
    readonly maxSvidLifetimeMs?: number;
    /** Credentials that live longer are let in and recorded. */
    readonly flagSvidLifetimeMs?: number;
  };
  /** Where the SPIFFE Workload API is served; there when anything comes from it. */
  readonly workloadApi?: { readonly socket: Address };
  readonly trust: readonly TrustConfig[];
  /** Folders with one bundle a file, named after its trust domain. */
  readonly trustFolders: readonly TrustFolderConfig[];
  /** Tokens that callers may bring, in the order of the file. */
  readonly tokens: readonly TokenConfig[];
  readonly revocationsFile?: string;
  /** Written by POST /revocations; need not be there yet. */
  readonly emergencyRevocationsFile?: string;
  readonly exceptions: {
    /** How far ahead an exception may end. */
    readonly maxLengthMs: number;
    /** Grants: written by POST /exceptions and by people; need not be there yet. */
    readonly file?: string;
  };
  readonly listeners: readonly ListenerConfig[];
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>;
  readonly policyFile: string;
  /** A policy that is only tried out: records say what it would have decided. */
  readonly shadowPolicyFile?: string;
  /** Who owns which identity. */
  readonly registryFile?: string;
  readonly externalDecision?: ExternalDecisionConfig;
  readonly trustedPeers: {
    readonly gateways: readonly SpiffeId[];
    /** Whose word counts on whose behalf it acts. */
    readonly delegates: readonly DelegateConfig[];
  };
  readonly forward: ForwardSettings;
  readonly audit: AuditConfig;
  /** How many identities have a series of their own; 0 = none, and no such metric. */
  readonly metrics: { readonly principals: number };
  readonly admin?: { readonly address: Address; readonly allowRemote: boolean };
  readonly health?: { readonly address: Address; readonly probes: readonly ProbeConfig[] };
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly workers: number | 'auto';
  readonly drain: { readonly delayMs: number; readonly deadlineMs: number };
}

export type IdentityConfig =
  | { readonly kind: 'files'; readonly certificateFile: string; readonly keyFile: string }
  /** Which of several SVIDs, by ID or by hint; without either the first. */
  | { readonly kind: 'workloadApi'; readonly id?: SpiffeId; readonly hint?: string };

/** Where the bundle of one trust domain comes from. */
export type BundleOrigin =
  | { readonly kind: 'file'; readonly file: string }
  | { readonly kind: 'workloadApi' }
  | BundleEndpointConfig;

export interface BundleEndpointConfig {
  readonly kind: 'endpoint';
  readonly url: BundleEndpointUrl;
  readonly profile:
    | { readonly kind: 'https_web' /** PEM, in place of the public roots. */; readonly caFile?: string }
    | { readonly kind: 'https_spiffe'; readonly endpointId: SpiffeId };
  /** The bundle to begin with. */
  readonly bootstrapFile?: string;
  /** Where the last good bundle is kept across restarts. */
  readonly storeFile?: string;
}

export interface TokenConfig {
  readonly issuer: OidcIssuer | JwtSvidIssuer;
  /** Of an `oidc` issuer. */
  readonly keys?: KeySetOrigin;
}

/** Where the keys of somebody who signs tokens come from. `discovery`: by the metadata of the issuer (OpenID Discovery 4). */
export type KeySetOrigin =
  | { readonly kind: 'file'; readonly file: string }
  | ({ readonly kind: 'url'; readonly url: BundleEndpointUrl } & KeyFetching)
  | ({ readonly kind: 'discovery' } & KeyFetching);

interface KeyFetching {
  readonly refreshMs: number;
  /** The last good keys count no longer than this without a fetch that succeeded. */
  readonly maxStaleMs: number;
  /** PEM, in place of the public roots. */
  readonly caFile?: string;
}

/** A peer that may say on whose behalf it acts, in one way. */
export interface DelegateConfig {
  readonly id: SpiffeId;
  /** Its forwarded assertion is verified; its XFCC is believed. */
  readonly by:
    | { readonly kind: 'xfcc' }
    | { readonly kind: 'assertion'; readonly issuer: AssertionIssuer; readonly keys: KeySetOrigin };
}

export interface TrustFolderConfig {
  /** Its place under `trust`. */
  readonly entry: number;
  readonly folder: string;
}

export interface TrustConfig {
  /** Its place under `trust`, or that of the folder it is from: where a problem with it is shown. */
  readonly entry: number;
  readonly trustDomain: TrustDomain;
  readonly bundle: BundleOrigin;
  readonly revocation: {
    readonly crlFiles: readonly string[];
    readonly require: 'none' | 'leaf' | 'chain';
    readonly stale: 'deny' | 'use';
    readonly staleGraceMs: number;
  };
}

export interface ListenerConfig {
  readonly name: string;
  readonly address: Address;
  /** Permission bits of a unix socket. */
  readonly socketMode?: number;
  /** What is spoken behind TLS: requests, or bytes of any kind. */
  readonly protocol: 'http' | 'tcp';
  /** `inbound`: mTLS in. `outbound`: plaintext in, on this machine alone, and mTLS with our own SVID out. */
  readonly direction: 'inbound' | 'outbound';
  /** HTTP/2 beside HTTP/1.1 on the same port: by ALPN, outbound by its preface. */
  readonly http2: boolean;
  /** Whose connections begin with a PROXY header that says where they come from; nobody else's may. */
  readonly proxyProtocol?: { readonly from: readonly AddressRange[] };
  /** The plaintext that comes before TLS. */
  readonly startTls?: 'postgres';
  /** For clients that know no SPIFFE and ask for one of these names (SNI); undefined = the DNS names of the certificate. */
  readonly serverCertificate?: {
    readonly certificateFile: string;
    readonly keyFile: string;
    readonly names?: readonly string[];
  };
  /** Of a `tcp` listener: each takes all paths, and `host` is the name that TLS was asked for. */
  readonly routes: readonly RouteConfig[];
}

/** IP addresses that begin with the same bits. */
export interface AddressRange {
  readonly family: 'ipv4' | 'ipv6';
  readonly address: string;
  readonly prefix: number;
  /** As it was written. */
  readonly text: string;
}

export interface RouteConfig {
  readonly name: string;
  /** Exact and lower-case; undefined = any host. */
  readonly host: string | undefined;
  readonly path: PathPattern;
  readonly pathText: string;
  readonly upstream: string;
  readonly upgrade: readonly 'websocket'[];
  readonly accept: Accept;
  /** Entries of `tokens` that count here; undefined = all. */
  readonly tokens?: readonly string[];
  /** The token goes on to the service. */
  readonly forwardsToken: boolean;
  /** On whose behalf a trusted peer says that it acts: not looked at, verified where it is said, or demanded. */
  readonly delegation: 'off' | 'accept' | 'require';
  /** Of the assertion that its service gets; false = none, undefined = by `forward.assertion.audience`. */
  readonly assertion?: false | { readonly audience: string };
  readonly injects?: InjectedCredential;
  readonly encodedSlash: boolean;
  /** Replaces limits.bodyBytes on this route; Infinity = unlimited. */
  readonly bodyBytes?: number;
  readonly limits?: RouteLimits;
  /** Replace the global ones on this route; these beat the upstream's timeouts too. */
  readonly deadlines?: Partial<RouteDeadlines>;
}

/** `token`: no certificate is needed. `either`: a certificate or a token; both are judged where both are there. */
export type Accept = 'mtls' | 'mtls+token' | 'token' | 'either';

/** A secret that the service still wants, put in so that no caller need have it. */
export interface InjectedCredential {
  /** Lower case. */
  readonly header: string;
  /** Stands before the secret: `Bearer `, or nothing. */
  readonly prefix: string;
  readonly file: string;
}

export interface UpstreamConfig {
  readonly name: string;
  /** What is spoken to it. `auto`: what ALPN settles, HTTP/2 or HTTP/1.1. */
  readonly protocol: 'http1' | 'http2' | 'auto' | 'tcp';
  /** At least one; all alike but for where they are. */
  readonly targets: readonly UpstreamTarget[];
  /** Undefined = plaintext. */
  readonly tls?: UpstreamTls;
  readonly balance: 'round_robin' | 'least_requests';
  /** Taken out for a while after so many failures in a row; never more than `maxShare` (0 to 1) of the targets. */
  readonly ejection: false | { readonly failures: number; readonly forMs: number; readonly maxShare: number };
  readonly healthCheck?: HealthCheckConfig;
  /** How often what is safe to be sent again is sent again; 0 = never. */
  readonly retries: number;
  /** Each connection to it begins with a PROXY header that holds the caller's SPIFFE ID (`tcp` only). */
  readonly proxyProtocol?: 'v2';
  /** Filled from `deadlines` where the upstream says nothing. */
  readonly timeouts: { readonly connectMs: number; readonly responseMs: number };
  /** Of each target. */
  readonly maxConnections?: number;
}

export interface UpstreamTarget {
  readonly address: Address;
  /** As records and metrics call it: `127.0.0.1:8080`, `unix:/run/app.sock`. */
  readonly name: string;
}

/** `spiffe`: our own SVID is shown, and the server's must be this one. `roots`: a server certificate for its host name. */
export type UpstreamTls =
  | { readonly kind: 'spiffe'; readonly id: SpiffePattern }
  | {
      readonly kind: 'roots';
      /** PEM, in place of the public roots. */
      readonly caFile?: string;
      /** The name that TLS asks for and the certificate must have; undefined = the target's host. */
      readonly serverName?: string;
    };

export interface HealthCheckConfig {
  /** Undefined: a connection that opens is enough. */
  readonly path?: string;
  readonly everyMs: number;
  readonly timeoutMs: number;
  /** So many good answers in a row bring a target back, so many bad ones take it out. */
  readonly healthy: number;
  readonly unhealthy: number;
}

/** An engine beside the policy, asked by OPA's data API. */
export interface ExternalDecisionConfig {
  readonly url: DecisionUrl;
  /** A unix socket to connect to in place of the URL's host. */
  readonly socketPath?: string;
  /** PEM, in place of the public roots. */
  readonly caFile?: string;
  readonly allowPlaintext: boolean;
  readonly timeoutMs: number;
  /** Its yes counts also where no rule matches. It never beats a deny. */
  readonly mayAllow: boolean;
  /** Names of routes; undefined = all. */
  readonly routes?: readonly string[];
  /** Lower case. */
  readonly headers: readonly string[];
  readonly maxConcurrent: number;
  readonly circuit: { readonly failures: number; readonly openMs: number };
  readonly cacheEntries: number;
}

export interface ForwardSettings {
  readonly xfcc: XfccMode;
  readonly spiffeId: boolean;
  readonly clientCert: boolean;
  readonly headers: readonly { readonly name: string; readonly template: string }[];
  readonly assertion?: AssertionConfig;
}

/** `x-identity-assertion`, signed by us. */
export interface AssertionConfig {
  /** Private JWK, or a set of them: the first signs, all are published. */
  readonly keyFile: string;
  readonly lifetimeMs: number;
  /** For how long a key that is gone from the file is still published. */
  readonly overlapMs: number;
  /** Of routes that name none; undefined = those get no assertion. */
  readonly audience?: string;
  /** Where the public keys are kept as a JWK Set as well. */
  readonly jwksFile?: string;
}

export interface AuditConfig {
  /** `-` is stdout, `unix:/path` a socket that a reader listens on, anything else an absolute path. */
  readonly file: string;
  /** What the last byte of an answer waits for: nothing, the kernel, or the disk that has its record. */
  readonly durability: 'buffered' | 'written' | 'synced';
  readonly onFailure: 'deny' | 'allow';
  /** A copy of the records goes there too. */
  readonly otlp?: OtlpConfig;
  readonly seal?: SealConfig;
  readonly signals: SignalSettings;
  readonly recorded: RecordedValues;
}

/** What is recorded because it is worth a look; `false` is off. */
export interface SignalSettings {
  /** Networks that one key is in use from at once. */
  readonly sharedAddresses: number | false;
  /** Bits by which private IPv4 addresses count as one network. */
  readonly privatePrefix: number;
  /** Of one key. */
  readonly sharedIds: boolean;
  /** Of one ID. */
  readonly liveCertificates: number | false;
  /** What was so within this time lasts still. */
  readonly overMs: number;
  /** Share of a certificate's life, from 0 to 1. */
  readonly nearExpiry: number | false;
  readonly staticSecrets: boolean;
  readonly secretHeaders: readonly string[];
  readonly secretQuery: readonly string[];
  /** A JWT that lives longer is a static secret. */
  readonly tokenLifetimeMs: number;
  readonly firstSeen: boolean;
}

export interface SealConfig {
  /** Private JWK. */
  readonly keyFile: string;
  readonly everyMs: number;
}

/** What records hold of a request, besides what the policy reads. */
export interface RecordedValues {
  readonly headers: readonly string[];
  readonly query: readonly string[];
  /** Stand in place of paths; undefined = paths are recorded as they are. */
  readonly pathTemplates?: readonly PathTemplate[];
}

export interface ProbeConfig {
  /** Path on the health listener. */
  readonly path: string;
  readonly upstream: string;
  /** Path asked of the upstream. */
  readonly target: string;
  readonly timeoutMs: number;
}

export interface Limits {
  readonly connections: number;
  /** Open at once on one listener by one verified SPIFFE ID. */
  readonly connectionsPerPrincipal: number;
  /** Open at once on one listener by clients without a certificate, of all together. */
  readonly connectionsWithoutCertificate: number;
  /** Verified tokens that are remembered. */
  readonly tokens: number;
  /** Most actors between the subject and us. */
  readonly delegationDepth: number;
  readonly headerBytes: number;
  readonly headerCount: number;
  /** Infinity = unlimited. */
  readonly bodyBytes: number;
  /** 0 = no limit. */
  readonly requestsPerConnection: number;
  /** Open at once on one HTTP/2 connection. */
  readonly streams: number;
  /** Of one verified SPIFFE ID, on all listeners together. */
  readonly requestsPerPrincipal?: RequestRate;
  readonly concurrentPerPrincipal?: number;
  /** RateLimit headers on answers of the upstream too. */
  readonly rateLimitHeaders: boolean;
}

/** `burst` at once after a pause; in the long run `count` in `perMs` milliseconds. */
export interface RequestRate {
  readonly count: number;
  readonly perMs: number;
  readonly burst: number;
}

/** The words that the general limits have as well replace those on this route. */
export interface RouteLimits {
  /** Of all callers together. */
  readonly requests?: RequestRate;
  readonly requestsPerPrincipal?: RequestRate;
  readonly concurrent?: number;
  readonly concurrentPerPrincipal?: number;
}

/** All finite and within what a Node timer can hold (2^31-1 ms). */
export interface Deadlines {
  readonly handshakeMs: number;
  readonly headMs: number;
  readonly bodyMs: number;
  readonly idleMs: number;
  readonly connectionAgeMs: number;
  readonly upstreamConnectMs: number;
  readonly upstreamFirstByteMs: number;
  readonly tunnelIdleMs: number;
  /** Age at which a tunnel (WebSocket, TCP) is ended. */
  readonly tunnelAgeMs: number;
  /** How long a request in flight may still run after its caller's access ended; 0 = cut at once. */
  readonly accessEndMs: number;
}

export type RouteDeadlines = Pick<
  Deadlines,
  'bodyMs' | 'upstreamConnectMs' | 'upstreamFirstByteMs' | 'tunnelIdleMs' | 'tunnelAgeMs' | 'accessEndMs'
>;
