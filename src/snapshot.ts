import type { Config, ListenerConfig, RouteConfig } from './config/config.js';
import type { AssertionPlan } from './identity/assertion-claims.js';
import type { Certificate } from './identity/certificate.js';
import type { RevocationList, RevocationPolicy } from './identity/revocation.js';
import type { SpiffeId } from './identity/spiffe-id.js';
import type { TokenTrust } from './identity/token-trust.js';
import type { TrustBundleSet } from './identity/trust-bundle.js';
import type { ForwardPlan } from './message/forward-policy.js';
import type { PathTemplates } from './policy/path-template.js';
import type { Policy } from './policy/policy.js';
import type { RouteTable } from './policy/route-table.js';

/** The sidecar's own X509-SVID as TLS needs it: PEM chain (leaf first) and its private key. */
export interface OwnSvid {
  readonly id: SpiffeId;
  readonly leaf: Certificate;
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A server certificate for names that clients ask for by SNI. */
export interface ServerCertificate {
  /** Lower case; `*.` stands for one label. */
  readonly names: readonly string[];
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** One listener as the present configuration has it. */
export interface ListenerView {
  readonly config: ListenerConfig;
  readonly routes: RouteTable<RouteConfig>;
}

/** What records hold of a request: what the policy reads, and what the configuration names. */
export interface Recording {
  readonly headers: readonly string[];
  readonly query: readonly string[];
  /** Of tokens. */
  readonly claims: readonly string[];
  /** Undefined = paths as they are. */
  readonly templates: PathTemplates | undefined;
}

/** All that a request is judged under: built whole, swapped as one reference, never changed. */
export interface Snapshot {
  /** Counts up by one with every swap in this process. */
  readonly sequence: number;
  readonly config: Config;
  readonly listeners: ReadonlyMap<string, ListenerView>;
  readonly own: OwnSvid;
  /** Whoever issued it has taken it back: it must not be shown to anybody (Workload API 5.2.1). */
  readonly isOwnWithdrawn: boolean;
  readonly bundles: TrustBundleSet;
  /** By trust domain. */
  readonly revocationPolicies: ReadonlyMap<string, RevocationPolicy>;
  readonly revocations: RevocationList;
  readonly policy: Policy;
  readonly recording: Recording;
  readonly forwardPlan: ForwardPlan;
  /** Of listeners with `direction: outbound`. */
  readonly outboundPlan: ForwardPlan;
  /** SPIFFE IDs whose forwarded headers and request ids count. */
  readonly gateways: ReadonlySet<string>;
  /** Digest over every bundle, CRL and the revocation list: the same on every replica that has the same files. */
  readonly trustRevision: string;
  /** Whose tokens count, and by which keys. */
  readonly tokens: TokenTrust;
  /** By listener: what clients see that know no SPIFFE. */
  readonly serverCertificates: ReadonlyMap<string, ServerCertificate>;
  /** By route: the whole value of the header that is put in. Never to be shown or logged. */
  readonly injected: ReadonlyMap<string, string>;
  /** How `x-identity-assertion` is made; undefined = nobody gets one. */
  readonly assertions: AssertionPlan | undefined;
}
