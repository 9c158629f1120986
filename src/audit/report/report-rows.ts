/** What the sections of the report say, row by row. */

export interface Percentiles {
  readonly p50: number | undefined;
  readonly p95: number | undefined;
  readonly p99: number | undefined;
}

export interface IdentityRow {
  readonly id: string;
  readonly owner: string | undefined;
  /** By the registry, where there is one. */
  readonly registered: boolean | undefined;
  readonly requests: number;
  readonly refused: number;
  readonly destinations: number;
  readonly credentials: number;
  /** What it showed: `certificate`, `jwt-svid`, `oidc`. */
  readonly kinds: readonly string[];
  readonly firstSeen: string;
  readonly lastSeen: string;
}

/** One identity to one destination. */
export interface PathRow {
  readonly identity: string;
  /** Empty: none was found. */
  readonly destination: string;
  readonly allowed: number;
  readonly refused: number;
  readonly rules: readonly { readonly rule: string; readonly requests: number }[];
  readonly reasons: readonly { readonly reason: string; readonly requests: number }[];
  readonly firstSeen: string;
  /** Of those allowed; empty: it was never let in. */
  readonly firstAllowed: string;
  readonly lastSeen: string;
}

export interface DestinationRow {
  readonly name: string;
  readonly identities: number;
  readonly allowed: number;
  readonly refused: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly durationMs: Percentiles;
}

export interface RuleRow {
  readonly rule: string;
  readonly allowed: number;
  readonly refused: number;
  readonly identities: number;
  readonly destinations: number;
  readonly firstUsed: string;
  readonly lastUsed: string;
}

export interface LeastPrivilege {
  /** Without a configuration nobody knows which rules there are. */
  readonly isKnown: boolean;
  readonly policyRevision: string | undefined;
  readonly neverUsed: readonly {
    readonly rule: string;
    readonly owner: string | undefined;
    readonly effect: string;
  }[];
  /** Of rules that were used: what of them was not. */
  readonly tooWide: readonly {
    readonly rule: string;
    readonly owner: string | undefined;
    readonly destinations: readonly string[];
    readonly principals: readonly string[];
  }[];
}

export interface ExceptionRow {
  readonly id: string;
  readonly owner: string;
  readonly expires: string;
  /** `in force`, `soon` (to expire within a week), `expired`, `withdrawn`, or `not told` by these records. */
  readonly state: string;
  readonly requests: number;
  readonly identities: number;
  readonly destinations: number;
  readonly lastUsed: string;
}

export interface Credentials {
  readonly known: number;
  readonly lifetimes: readonly {
    readonly upToMs: number | undefined;
    readonly credentials: number;
    readonly requests: number;
  }[];
  readonly medianMs: number | undefined;
  /** Of each identity the one that lives longest. */
  readonly longest: readonly CredentialRow[];
  /** Told by `credential.near_expiry`: a connection was opened with it when it should have been renewed. */
  readonly nearExpiry: readonly NearExpiryRow[];
  /** One key under several SPIFFE IDs. */
  readonly keysOfSeveral: readonly { readonly keySha256: string; readonly identities: readonly string[] }[];
  /** Told by `credential.shared` as it happened. */
  readonly shared: readonly SharedRow[];
}

export interface CredentialRow {
  readonly identity: string;
  readonly serial: string;
  readonly sha256: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly lifetimeMs: number;
  readonly requests: number;
  readonly lastUsed: string;
  readonly addresses: readonly string[];
}

export interface NearExpiryRow {
  readonly identity: string;
  readonly serial: string;
  readonly notAfter: string;
  readonly seen: string;
}

export interface SharedRow {
  readonly identity: string;
  readonly kind: string;
  readonly detail: string;
  readonly times: number;
  readonly last: string;
}

export interface SecretRow {
  readonly identity: string;
  readonly route: string;
  readonly kind: string;
  readonly requests: number;
  readonly lastSeen: string;
}

/** Requests that came with a token of this entry of `tokens`. */
export interface TokenRow {
  readonly entry: string;
  readonly issuer: string;
  readonly identities: number;
  readonly requests: number;
  /** With a token that was good with the caller's certificate alone. */
  readonly bound: number;
  readonly lastSeen: string;
}

/** Calls of one caller on behalf of one subject. */
export interface DelegationRow {
  readonly caller: string;
  readonly subject: string;
  /** What said so: `token`, `assertion`, `xfcc`. */
  readonly by: string;
  readonly requests: number;
  readonly refused: number;
  /** Actors of the longest chain, the caller included. */
  readonly depth: number;
  readonly lastSeen: string;
}

/** A secret that was put in for a service. */
export interface InjectedRow {
  readonly route: string;
  readonly destination: string;
  readonly header: string;
  readonly requests: number;
  readonly lastSeen: string;
}

export interface Refusals {
  readonly byReason: readonly {
    readonly reason: string;
    readonly requests: number;
    readonly connections: number;
  }[];
  readonly byIdentity: readonly {
    readonly identity: string;
    readonly reason: string;
    readonly destination: string;
    readonly requests: number;
    readonly lastSeen: string;
  }[];
  /** Names in certificates that nothing verified: anybody can put them there. */
  readonly claims: readonly {
    readonly claim: string;
    readonly reason: string;
    readonly times: number;
    readonly lastSeen: string;
  }[];
}

export interface Revocations {
  readonly changes: readonly {
    readonly time: string;
    readonly stream: string;
    readonly event: string;
    readonly detail: string;
    /** Until the last connection that it ended was gone; undefined: no record says so. */
    readonly tookMs: number | undefined;
    readonly connections: number | undefined;
  }[];
  readonly ended: readonly {
    readonly reason: string;
    readonly connections: number;
    readonly latencyMs: Percentiles;
    readonly maxMs: number;
  }[];
}

export interface AuthorityRow {
  readonly authority: string;
  readonly issuers: readonly string[];
  readonly identities: number;
  readonly credentials: number;
  readonly requests: number;
  readonly lastUsed: string;
}

export interface RevisionRow {
  readonly revision: string;
  readonly requests: number;
  readonly firstSeen: string;
  readonly lastSeen: string;
}

export interface ShadowRow {
  readonly rule: string;
  readonly toAllow: number;
  readonly toDeny: number;
}

export interface Evidence {
  readonly streams: readonly {
    readonly stream: string;
    readonly records: number;
    readonly seals: number;
    readonly from: number;
    readonly to: number;
    /** Numbers between them that no record has. */
    readonly missing: number;
    /** Of those, which no `audit.gap` of the stream tells of. */
    readonly undeclared: number;
    readonly first: string;
    readonly last: string;
  }[];
  readonly seals: number;
  readonly undeclared: number;
  readonly corrected: number;
  readonly gaps: readonly {
    readonly time: string;
    readonly stream: string;
    readonly why: string;
    readonly records: number | undefined;
    readonly detail: string;
  }[];
}

export interface TimelineRow {
  readonly time: string;
  readonly event: string;
  readonly stream: string;
  readonly about: string;
  readonly detail: string;
}
