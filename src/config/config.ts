import type { SpiffeId, TrustDomain } from '../identity/spiffe-id.js';
import type { XfccMode } from '../message/forward-policy.js';
import type { PathPattern } from '../policy/pattern.js';

/** Where to listen. `host` is a literal IP address or a name, IPv6 without brackets. */
export type Address =
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

/** The configuration in force: every file path absolute, every unit in the name, every default filled in. */
export interface Config {
  readonly file: string;
  readonly identity: { readonly certificateFile: string; readonly keyFile: string };
  readonly identityOptions: {
    readonly clockSkewMs: number;
    readonly maxSvidLifetimeMs?: number;
    /** Credentials that live longer are let in and recorded. */
    readonly flagSvidLifetimeMs?: number;
  };
  readonly trust: readonly TrustConfig[];
  readonly revocationsFile?: string;
  /** Written by POST /revocations; need not be there yet. */
  readonly emergencyRevocationsFile?: string;
  readonly listeners: readonly ListenerConfig[];
  readonly upstreams: ReadonlyMap<string, UpstreamConfig>;
  readonly policyFile: string;
  readonly trustedPeers: { readonly gateways: readonly SpiffeId[] };
  readonly forward: ForwardSettings;
  readonly audit: AuditConfig;
  readonly admin?: { readonly address: Address; readonly allowRemote: boolean };
  readonly health?: { readonly address: Address; readonly probes: readonly ProbeConfig[] };
  readonly limits: Limits;
  readonly deadlines: Deadlines;
  readonly drain: { readonly delayMs: number; readonly deadlineMs: number };
}

export interface TrustConfig {
  readonly trustDomain: TrustDomain;
  readonly bundleFile: string;
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
  readonly protocol: 'http';
  readonly direction: 'inbound';
  readonly routes: readonly RouteConfig[];
}

export interface RouteConfig {
  readonly name: string;
  /** Exact and lower-case; undefined = any host. */
  readonly host: string | undefined;
  readonly path: PathPattern;
  readonly pathText: string;
  readonly upstream: string;
  readonly upgrade: readonly 'websocket'[];
  readonly accept: 'mtls';
  readonly encodedSlash: boolean;
  /** Replaces limits.bodyBytes on this route; Infinity = unlimited. */
  readonly bodyBytes?: number;
  /** Replace the global ones on this route; these beat the upstream's timeouts too. */
  readonly deadlines?: Partial<RouteDeadlines>;
}

export interface UpstreamConfig {
  readonly name: string;
  /** `host` without brackets, for connecting; `authority` as an URL writes it, always with the port. */
  readonly url: {
    readonly protocol: 'http:';
    readonly host: string;
    readonly port: number;
    readonly authority: string;
  };
  /** Filled from `deadlines` where the upstream says nothing. */
  readonly timeouts: { readonly connectMs: number; readonly responseMs: number };
  readonly maxConnections?: number;
}

export interface ForwardSettings {
  readonly xfcc: XfccMode;
  readonly spiffeId: boolean;
  readonly clientCert: boolean;
  readonly headers: readonly { readonly name: string; readonly template: string }[];
}

export interface AuditConfig {
  /** `-` is stdout, anything else an absolute path. */
  readonly file: string;
  readonly durability: 'buffered';
  readonly onFailure: 'deny' | 'allow';
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
  readonly headerBytes: number;
  readonly headerCount: number;
  /** Infinity = unlimited. */
  readonly bodyBytes: number;
  /** 0 = no limit. */
  readonly requestsPerConnection: number;
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
  /** How long a request in flight may still run after its caller's access ended; 0 = cut at once. */
  readonly accessEndMs: number;
}

export type RouteDeadlines = Pick<
  Deadlines,
  'bodyMs' | 'upstreamConnectMs' | 'upstreamFirstByteMs' | 'tunnelIdleMs' | 'accessEndMs'
>;
