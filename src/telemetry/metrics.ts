import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { ListenerMetrics } from '../listener/ports.js';
import type { Reason } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';

/** What only the live process can tell at the moment of a scrape. */
export interface LiveGauges {
  connections(): ReadonlyMap<string, number>;
  /** Live connections by trust domain and authority fingerprint. */
  authoritiesInUse(): readonly { trustDomain: string; authority: string; count: number }[];
}

interface RequestLabels extends Record<string, string> {
  readonly listener: string;
  readonly route: string;
  readonly trust_domain: string;
  readonly effect: string;
  readonly code: string;
}

/** Every metric of PRODUCT §10 that exists so far. Labels come from configuration or closed lists, never from a request. */
export class Metrics implements ListenerMetrics {
  readonly registry = new Registry();
  live: LiveGauges = { connections: () => new Map(), authoritiesInUse: () => [] };

  /** Requests since the last scrape: prom-client hashes labels at every increment, so it is told once a scrape. */
  readonly #tallies = new Map<string, { readonly labels: RequestLabels; count: number }>();
  readonly #refusals = this.#counter('refusals_total', 'Refusals and failures by reason.', [
    'listener',
    'reason',
  ]);
  readonly #handshakes = this.#counter('handshakes_total', 'TLS handshakes.', [
    'listener',
    'result',
    'reason',
  ]);
  readonly #terminated = this.#counter(
    'connections_terminated_total',
    'Open connections ended because access ended.',
    ['reason'],
  );
  readonly #reloads = this.#counter('reloads_total', 'Reloads of a source.', ['source', 'result']);
  readonly #records = this.#counter('audit_records_total', 'Audit records.', ['result']);
  readonly #duration = new Histogram({
    name: 'countersign_request_duration_seconds',
    help: 'Time from the request head to the last byte of its answer.',
    labelNames: ['listener', 'route'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [this.registry],
  });
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

  constructor() {
    collectDefaultMetrics({ register: this.registry });
    const { live, registry } = { live: () => this.live, registry: this.registry };
    const tallies = this.#tallies;
    new Counter({
      name: 'countersign_requests_total',
      help: 'Requests by outcome.',
      labelNames: ['listener', 'route', 'trust_domain', 'effect', 'code'],
      registers: [registry],
      collect() {
        for (const tally of tallies.values()) {
          this.inc(tally.labels, tally.count);
          tally.count = 0;
        }
      },
    });
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
  }

  observeRequest(
    listener: string,
    route: string,
    trustDomain: string,
    effect: string,
    code: number,
    seconds: number,
  ): void {
    const key = `${listener}\n${route}\n${trustDomain}\n${effect}\n${code}`;
    const tally = this.#tallies.get(key);
    if (tally !== undefined) tally.count++;
    else {
      const labels = { listener, route, trust_domain: trustDomain, effect, code: codeLabel(code) };
      this.#tallies.set(key, { labels, count: 1 });
    }
    this.#duration.observe({ listener, route }, seconds);
  }

  countRefusal(listener: string, reason: Reason): void {
    this.#refusals.inc({ listener, reason });
  }

  countHandshake(listener: string, result: 'accepted' | 'refused', reason: string): void {
    this.#handshakes.inc({ listener, result, reason });
  }

  countTerminated(reason: Reason): void {
    this.#terminated.inc({ reason });
  }

  observeRevocation(ms: number): void {
    this.#revocation.observe(Math.max(0, ms) / 1000);
  }

  countReload(source: string, result: 'adopted' | 'refused', nowMs: number): void {
    this.#reloads.inc({ source, result });
    if (result === 'adopted') this.#lastReload.set({ source }, nowMs / 1000);
  }

  countRecords(result: 'written' | 'dropped', records: number): void {
    this.#records.inc({ result }, records);
  }

  setOwnRevoked(isRevoked: boolean): void {
    this.#svidRevoked.set(isRevoked ? 1 : 0);
  }

  /** After a swap: the gauges that describe what is in force. */
  describe(snapshot: Snapshot): void {
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

/** The label of a status: an upstream may answer with any of 500 numbers, and it is not to choose how many series there are. */
const codeLabel = (code: number): string => {
  if (code === 0) return 'none';
  return KNOWN_CODES.has(code) ? String(code) : `${Math.floor(code / 100)}xx`;
};

const KNOWN_CODES = new Set([
  101, 200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 410, 412,
  413, 414, 415, 416, 417, 421, 422, 429, 431, 500, 501, 502, 503, 504, 505, 508,
]);
