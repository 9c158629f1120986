import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { SecretKind } from '../audit/record.js';
import type { ListenerMetrics, TokenMetrics } from '../listener/ports.js';
import type { Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';
import { ExternalMetrics } from './external-metrics.js';
import { PrincipalMetrics } from './principal-metrics.js';
import { RequestMetrics } from './request-metrics.js';
import { ServerMetrics } from './server-metrics.js';
import { type UpstreamGauges, UpstreamMetrics } from './upstream-metrics.js';

/** What only the live process can tell at the moment of a scrape. */
export interface LiveGauges {
  connections(): ReadonlyMap<string, number>;
  /** Sources whose files have said something else than what is in force for more than a minute. */
  drifted(): readonly string[];
  /** Live connections by trust domain and authority fingerprint. */
  authoritiesInUse(): readonly { trustDomain: string; authority: string; count: number }[];
  /** Exceptions by state. */
  exceptions(): Readonly<Record<string, number>>;
  /** Shared credentials by kind. */
  sharedCredentials(): Readonly<Record<string, number>>;
  /** By name. */
  upstreams(): ReadonlyMap<string, UpstreamGauges>;
}

/** Every metric of PRODUCT §10 that exists so far. Labels come from configuration or closed lists, never from a request. */
export class Metrics implements ListenerMetrics, TokenMetrics {
  readonly registry = new Registry();
  live: LiveGauges = {
    connections: () => new Map(),
    drifted: () => [],
    authoritiesInUse: () => [],
    exceptions: () => ({}),
    sharedCredentials: () => ({}),
    upstreams: () => new Map(),
  };

  readonly #requests = new RequestMetrics(this.registry);
  readonly #external = new ExternalMetrics(this.registry);
  readonly #upstreams = new UpstreamMetrics(this.registry, () => this.live.upstreams());
  readonly #principals = new PrincipalMetrics(this.registry);
  readonly servers = new ServerMetrics(this.registry);
  readonly #refusals = this.#counter('refusals_total', 'Refusals and failures by reason.', [
    'listener',
    'reason',
  ]);
  readonly #shadow = this.#counter(
    'shadow_decisions_total',
    'Decisions beside which another policy was tried out: what was decided, and what that one would have.',
    ['listener', 'effect', 'shadow'],
  );
  readonly #conditionErrors = this.#counter(
    'condition_errors_total',
    'Conditions that could not be evaluated: no match in an allow, a match in a deny.',
    ['listener'],
  );
  readonly #handshakes = this.#counter('handshakes_total', 'TLS handshakes.', [
    'listener',
    'result',
    'reason',
  ]);
  readonly #unregistered = this.#counter(
    'unregistered_requests_total',
    'Requests of verified identities that the registry does not know.',
    ['listener'],
  );
  readonly #delegated = this.#counter(
    'delegated_requests_total',
    'Requests on behalf of another, by what says so: a token, an assertion, or the header of a trusted proxy.',
    ['listener', 'by', 'effect'],
  );
  readonly #staticSecrets = this.#counter(
    'static_secrets_total',
    'Static secrets that came with requests of verified identities.',
    ['route', 'kind'],
  );
  readonly #injected = this.#counter(
    'injected_credential_requests_total',
    'Requests that went to their service with a credential put in for it.',
    ['route'],
  );
  readonly #assertions = this.#counter('assertions_signed_total', 'Assertions that were signed.', []);
  readonly #verifications = this.#counter(
    'token_verifications_total',
    'Tokens and assertions that were verified, by what came of it.',
    ['kind', 'result'],
  );
  readonly #terminated = this.#counter(
    'connections_terminated_total',
    'Open connections ended because access ended.',
    ['reason'],
  );
  readonly #reloads = this.#counter('reloads_total', 'Reloads of a source.', ['source', 'result']);
  readonly #records = this.#counter('audit_records_total', 'Audit records.', ['result']);
  readonly #unconfirmed = this.#counter(
    'audit_unconfirmed_answers_total',
    'Answers whose record was not kept as `audit.durability` asks: reset, or sent all the same.',
    ['result'],
  );
  readonly #revocation = new Histogram({
    name: 'countersign_revocation_seconds',
    help: 'From seeing what ended access (a revocation, an authority gone, a policy) to the last connection gone.',
    buckets: [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  });
  readonly #lastReload = this.#gauge(
    'last_reload_success_timestamp_seconds',
    'When a source was last adopted (Unix time).',
    ['source'],
  );
  readonly #info = this.#gauge('snapshot_info', 'Revisions in force; the value is always 1.', [
    'policy',
    'trust',
  ]);
  readonly #svidNotAfter = this.#gauge(
    'svid_not_after_timestamp_seconds',
    'End of the own SVID (Unix time).',
    [],
  );
  readonly #svidRevoked = this.#gauge('svid_revoked', '1 where the own SVID is revoked, else 0.', []);
  readonly #authorityNotAfter = this.#gauge(
    'authority_not_after_timestamp_seconds',
    'End of each trusted authority (Unix time).',
    ['trust_domain', 'authority'],
  );
  readonly #crlNextUpdate = this.#gauge(
    'crl_next_update_timestamp_seconds',
    'When each CRL expires (Unix time).',
    ['trust_domain', 'crl'],
  );

  readonly #exceptionUses = new Map<string, number>();

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const { live, registry } = { live: () => this.live, registry: this.registry };
    new Gauge({
      name: 'countersign_connections',
      help: 'Open connections.',
      labelNames: ['listener'],
      registers: [registry],
      collect() {
        this.reset();
        for (const [listener, count] of live().connections()) this.set({ listener }, count);
      },
    });
    new Gauge({
      name: 'countersign_source_drifted',
      help: '1 where the files of a source have said something else than what is in force for more than a minute.',
      labelNames: ['source'],
      registers: [registry],
      aggregator: 'max',
      collect() {
        this.reset();
        for (const source of live().drifted()) this.set({ source }, 1);
      },
    });
    new Gauge({
      name: 'countersign_authority_in_use',
      help: 'Open connections that an authority verified.',
      labelNames: ['trust_domain', 'authority'],
      registers: [registry],
      collect() {
        this.reset();
        for (const { trustDomain, authority, count } of live().authoritiesInUse()) {
          this.set({ trust_domain: trustDomain, authority: authority.slice(0, 16) }, count);
        }
      },
    });
    new Gauge({
      name: 'countersign_exceptions',
      help: 'Exceptions of the policy, grants included, by state.',
      labelNames: ['state'],
      registers: [registry],
      aggregator: 'max',
      collect() {
        for (const [state, count] of Object.entries(live().exceptions())) this.set({ state }, count);
      },
    });
    new Gauge({
      name: 'countersign_shared_credentials',
      help: 'Keys in use from several networks or under several IDs, and IDs with unusually many certificates.',
      labelNames: ['kind'],
      registers: [registry],
      collect() {
        for (const [kind, count] of Object.entries(live().sharedCredentials())) this.set({ kind }, count);
      },
    });
  }

  /** By id, since this process started: requests that an exception let in. Of those in force alone. */
  get exceptionUses(): ReadonlyMap<string, number> {
    return this.#exceptionUses;
  }

  countException(id: string): void {
    this.#exceptionUses.set(id, (this.#exceptionUses.get(id) ?? 0) + 1);
  }

  observeRequest(
    listener: string,
    route: string,
    trustDomain: string,
    effect: string,
    code: number,
    seconds: number,
  ): void {
    this.#requests.observe(listener, route, trustDomain, effect, code, seconds);
  }

  countRefusal(listener: string, reason: Reason): void {
    this.#refusals.inc({ listener, reason });
  }

  countHandshake(listener: string, result: 'accepted' | 'refused', reason: string): void {
    this.#handshakes.inc({ listener, result, reason });
  }

  countShadow(listener: string, effect: string, shadow: string): void {
    this.#shadow.inc({ listener, effect, shadow });
  }

  countConditionErrors(listener: string, errors: number): void {
    this.#conditionErrors.inc({ listener }, errors);
  }

  countUnregistered(listener: string): void {
    this.#unregistered.inc({ listener });
  }

  countDelegated(listener: string, by: string, effect: string): void {
    this.#delegated.inc({ listener, by, effect });
  }

  countInjected(route: string): void {
    this.#injected.inc({ route });
  }

  countAssertion(): void {
    this.#assertions.inc();
  }

  countVerification(...[kind, result]: Parameters<TokenMetrics['countVerification']>): void {
    this.#verifications.inc({ kind, result });
  }

  countStaticSecret(route: string, kind: SecretKind): void {
    this.#staticSecrets.inc({ route, kind });
  }

  countPrincipal(principal: string, destination: string, effect: string, most: number): void {
    this.#principals.count(principal, destination, effect, most);
  }

  countTerminated(reason: Reason): void {
    this.#terminated.inc({ reason });
  }

  observeRevocation(ms: number): void {
    this.#revocation.observe(Math.max(0, ms) / 1000);
  }

  countEjection(upstream: string): void {
    this.#upstreams.countEjection(upstream);
  }

  countRetry(upstream: string): void {
    this.#upstreams.countRetry(upstream);
  }

  countExternal(result: string): void {
    this.#external.count(result);
  }

  observeExternal(seconds: number): void {
    this.#external.observe(seconds);
  }

  countReload(source: string, result: 'adopted' | 'refused', nowMs: number): void {
    this.#reloads.inc({ source, result });
    if (result === 'adopted') this.#lastReload.set({ source }, nowMs / 1000);
  }

  countRecords(result: 'written' | 'dropped', records: number): void {
    this.#records.inc({ result }, records);
  }

  countUnconfirmed(result: 'reset' | 'sent'): void {
    this.#unconfirmed.inc({ result });
  }

  setOwnRevoked(isRevoked: boolean): void {
    this.#svidRevoked.set(isRevoked ? 1 : 0);
  }

  /** After a swap: the gauges that describe what is in force. */
  describe(snapshot: Snapshot): void {
    const ids = new Set(snapshot.policy.exceptions.map(({ id }) => id));
    for (const id of this.#exceptionUses.keys()) if (!ids.has(id)) this.#exceptionUses.delete(id);
    this.#info.reset();
    this.#info.set({ policy: snapshot.policy.revision, trust: snapshot.trustRevision }, 1);
    this.#svidNotAfter.set(snapshot.own.leaf.notAfterMs / 1000);
    this.#authorityNotAfter.reset();
    for (const bundle of snapshot.bundles.values()) {
      for (const { sha256, notAfterMs } of bundle.authorities) {
        this.#authorityNotAfter.set(
          { trust_domain: bundle.trustDomain, authority: sha256.slice(0, 16) },
          notAfterMs / 1000,
        );
      }
    }
    this.#crlNextUpdate.reset();
    for (const [domain, { crls }] of snapshot.revocationPolicies) {
      for (const [i, crl] of crls.entries()) {
        // The number that its source has: of several lists some may decide nothing and be left out here.
        const number = String(crl.origin?.number ?? i + 1);
        this.#crlNextUpdate.set({ trust_domain: domain, crl: number }, crl.nextUpdateMs / 1000);
      }
    }
  }

  #counter<L extends string>(name: string, help: string, labelNames: L[]): Counter<L> {
    return new Counter({ name: `countersign_${name}`, help, labelNames, registers: [this.registry] });
  }

  /** Over several workers the highest counts: they describe what all of them have. */
  #gauge<L extends string>(name: string, help: string, labelNames: L[]): Gauge<L> {
    const registers = [this.registry];
    return new Gauge({ name: `countersign_${name}`, help, labelNames, registers, aggregator: 'max' });
  }
}
