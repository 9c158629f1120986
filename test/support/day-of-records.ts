import { formatAccessFields, formatConnectionFields } from '../../src/audit/access-line.js';
import type { AccessRecord, PrincipalFields } from '../../src/audit/record.js';

/** A day of traffic of one fleet, alike for each seed: what a report of it must show is in there by construction. */
export interface DayOptions {
  readonly seed?: number;
  readonly identities?: number;
  readonly destinations?: number;
  /** About how many. */
  readonly requests?: number;
}

const START_MS = Date.parse('2026-11-21T00:00:00.000Z');
const DAY_MS = 24 * 3_600_000;
const HOUR_MS = 3_600_000;
const LIFETIME_MS = HOUR_MS;

export const DAY_START = new Date(START_MS).toISOString();

/** Draws that are alike for each seed (mulberry32). */
export function drawsOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const TEAMS = [
  'payments',
  'search',
  'logistics',
  'identity',
  'billing',
  'catalog',
  'mobile',
  'data',
  'platform',
];
const SERVICES = [
  'api',
  'web',
  'worker',
  'batch',
  'sync',
  'gateway',
  'indexer',
  'cron',
  'notifier',
  'importer',
  'admin',
];
const STORES = [
  'ledger',
  'orders',
  'invoices',
  'customers',
  'inventory',
  'shipments',
  'prices',
  'sessions',
  'reports',
  'search',
  'mail',
  'media',
  'quotas',
  'rates',
  'refunds',
];

interface Workload {
  readonly id: string;
  readonly owner: string | undefined;
  readonly number: number;
  readonly address: string;
  /** Numbers of the destinations that it may reach. */
  readonly reaches: readonly number[];
  readonly weight: number;
}

const hex = (draw: () => number, digits: number): string => {
  let text = '';
  while (text.length < digits)
    text += Math.floor(draw() * 0x1_0000_0000)
      .toString(16)
      .padStart(8, '0');
  return text.slice(0, digits);
};

const iso = (ms: number): string => new Date(ms).toISOString();

export const destinationName = (n: number): string =>
  STORES[n] ?? `${STORES[n % STORES.length]}-${Math.floor(n / STORES.length) + 1}`;

/** One process of the fleet; its records are numbered as they are written. */
class Stream {
  seq = 0;
  readonly id: string;

  constructor(
    readonly host: string,
    readonly boot: string,
  ) {
    this.id = `{"stream":${JSON.stringify({ id: host, boot, worker: 0 })}`;
  }

  /** As RecordLog has pino write them. */
  tell(record: Record<string, unknown>): string {
    const told = JSON.stringify({ seq: ++this.seq, ...record });
    return `${this.id},${told.slice(1)}\n`;
  }

  access(connection: string, record: AccessRecord): string {
    return this.id + connection + formatAccessFields(++this.seq, record);
  }
}

/** The lines of the day, in order of time, each with its newline. */
export function* dayOfRecords(options: DayOptions = {}): Generator<string> {
  const day = new Day({ seed: 1, identities: 100, destinations: 30, requests: 20_000, ...options });
  yield* day.lines();
}

class Day {
  readonly #draw: () => number;
  readonly #streams: readonly Stream[];
  readonly #workloads: readonly Workload[];
  readonly #policies: readonly string[];
  readonly #trust: readonly string[];
  readonly #authorities: readonly string[];
  /** By workload and hour: who it is then, and its connection's text. */
  readonly #principals = new Map<string, { principal: PrincipalFields; text: string }>();
  #ids = 0;

  constructor(readonly options: Required<DayOptions>) {
    const draw = drawsOf(options.seed);
    this.#draw = draw;
    this.#streams = ['edge-1', 'edge-2', 'edge-3'].map((host) => new Stream(host, hex(draw, 16)));
    this.#policies = [hex(draw, 16), hex(draw, 16)];
    this.#trust = [hex(draw, 16), hex(draw, 16), hex(draw, 16)];
    this.#authorities = [hex(draw, 64), hex(draw, 64), hex(draw, 64)];
    this.#workloads = Array.from({ length: options.identities }, (_, number) => this.#workload(number));
  }

  #workload(number: number): Workload {
    const team = TEAMS[number % TEAMS.length]!;
    const service = SERVICES[Math.floor(number / TEAMS.length) % SERVICES.length]!;
    const domain = number % 25 === 24 ? 'partner.example' : 'example.org';
    const { destinations } = this.options;
    const home = (number % TEAMS.length) * 3;
    const reaches = [home, home + 1, home + 2, number % 7, 28].map((n) => n % destinations);
    return {
      id: `spiffe://${domain}/ns/${team}/sa/${service}${number >= 99 ? `-${number}` : ''}`,
      owner: number % 33 === 32 ? undefined : `team-${team}`,
      number,
      address: `10.1.${number >> 6}.${(number & 63) + 10}`,
      reaches: [...new Set(reaches)].slice(0, 1 + (number % 5)),
      weight: 1 / (1 + (number % 20)),
    };
  }

  *lines(): Generator<string> {
    const { requests } = this.options;
    const weights = this.#workloads.reduce((sum, { weight }) => sum + weight, 0);
    const events = this.#events();
    let next = events.next();
    for (const stream of this.#streams) yield stream.tell(this.#life('process.started', START_MS, {}));
    for (let n = 0; n < requests; n++) {
      const atMs = START_MS + timeOfDay(n / requests);
      while (next.done !== true && next.value.atMs <= atMs) {
        yield* next.value.lines();
        next = events.next();
      }
      yield* this.#request(this.#choose(this.#draw() * weights), atMs);
    }
    while (next.done !== true) {
      yield* next.value.lines();
      next = events.next();
    }
  }

  #choose(at: number): Workload {
    let left = at;
    for (const workload of this.#workloads) {
      left -= workload.weight;
      if (left <= 0) return workload;
    }
    return this.#workloads.at(-1)!;
  }

  #who(workload: Workload, atMs: number): { principal: PrincipalFields; text: string } {
    // The 51st renews at the end of its life, all others at half of it.
    const isLate = workload.number === 50;
    const turnMs = isLate ? LIFETIME_MS : LIFETIME_MS / 2;
    const hour = Math.floor((atMs - START_MS) / turnMs);
    const key = `${workload.number} ${workload.number % 30 === 7 ? 0 : hour}`;
    const known = this.#principals.get(key);
    if (known !== undefined) return known;
    if (this.#principals.size > 8000) this.#principals.clear();
    const draw = drawsOf(this.options.seed * 1_000_003 + workload.number * 1009 + hour);
    // Every 30th has one certificate of ninety days; the 12th and 13th share a key.
    const isLong = workload.number % 30 === 7;
    const from = isLong ? START_MS - 40 * DAY_MS : START_MS + hour * turnMs - 10_000;
    const sharesKey = workload.number === 12 || workload.number === 13;
    const shared = drawsOf(this.options.seed + 77);
    const authority = atMs > START_MS + 14 * HOUR_MS ? this.#authorities[1]! : this.#authorities[0]!;
    const isPartner = workload.id.startsWith('spiffe://partner');
    const principal: PrincipalFields = {
      id: workload.id,
      kind: 'workload',
      trustDomain: isPartner ? 'partner.example' : 'example.org',
      serial: hex(draw, 32),
      sha256: hex(draw, 64),
      keySha256: sharesKey ? hex(shared, 64) : hex(draw, 64),
      issuer: isPartner ? 'CN=partner issuing CA,O=Partner' : 'CN=example.org intermediate,O=Example',
      authority: isPartner ? this.#authorities[2]! : authority,
      notBefore: iso(from),
      notAfter: iso(from + (isLong ? 90 * DAY_MS : LIFETIME_MS + 10_000)),
      ...(workload.owner === undefined ? {} : { owner: workload.owner }),
      registered: workload.owner !== undefined,
    };
    const tls = {
      version: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      resumed: false,
      serverName: 'edge.internal',
    };
    const made = {
      principal,
      text: formatConnectionFields({ principal, tls, peer: { address: workload.address } }),
    };
    this.#principals.set(key, made);
    return made;
  }

  *#request(workload: Workload, atMs: number): Generator<string> {
    const draw = this.#draw;
    const stream = this.#streams[workload.number % this.#streams.length]!;
    const { text, principal } = this.#who(workload, atMs);
    // The 42nd is revoked at noon; the 61st reaches what it did not before, in the evening.
    const isRevoked = workload.number === 41 && atMs > START_MS + 12 * HOUR_MS;
    const isNew = workload.number === 60 && atMs > START_MS + 20 * HOUR_MS;
    const isStray = draw() < 0.012;
    const reach = workload.reaches[Math.floor(draw() * draw() * workload.reaches.length)]!;
    const target = isStray || isNew ? (reach + 11) % this.options.destinations : reach;
    const destination = destinationName(target);
    const isProbing = workload.number === 77;
    const decision = this.#decide(workload, destination, atMs, {
      isRevoked,
      isStray: (isStray || isProbing) && !isNew,
    });
    const isAllowed = decision.effect === 'allow';
    const isCut = isAllowed && draw() < 0.004;
    const ms = Number((2 + draw() * 6 + (draw() < 0.03 ? draw() * 400 : 0)).toFixed(3));
    const secrets = secretsOf(workload, destination);
    const record: AccessRecord = {
      time: iso(atMs),
      event: 'access',
      id: `${stream.boot}-${(++this.#ids).toString(16).padStart(7, '0')}`,
      phase: undefined,
      principal,
      decision,
      request: {
        listener: 'inbound',
        route: `${destination}-v1`,
        destination,
        method: draw() < 0.8 ? 'GET' : 'POST',
        host: `${destination}.internal`,
        path: `/${destination}/${Math.floor(draw() * 1000)}`,
        protocol: 'http/1.1',
        bytes: 0,
        traceId: hex(draw, 32),
        truncated: undefined,
      },
      response: isAllowed
        ? {
            status: isCut ? 502 : 200,
            bytes: isCut ? 0 : 512,
            outcome: isCut ? 'upstream_failed' : 'complete',
            reason: isCut ? 'upstream_reset' : undefined,
          }
        : { status: 403, bytes: 180, outcome: 'refused', reason: decision.reason as 'no_rule_matched' },
      timing: {
        totalMs: isAllowed ? ms : 0.4,
        upstreamMs: isAllowed ? Number((ms - 0.3).toFixed(3)) : undefined,
      },
      tls: { version: undefined, cipher: undefined, resumed: false, serverName: undefined },
      peer: { address: workload.address },
    };
    yield withSecrets(stream.access(text, record), secrets);
  }

  #decide(
    workload: Workload,
    destination: string,
    atMs: number,
    { isRevoked, isStray }: { isRevoked: boolean; isStray: boolean },
  ): AccessRecord['decision'] {
    const revisions = {
      policyRevision: this.#policies[atMs > START_MS + 9 * HOUR_MS ? 1 : 0],
      trustRevision: this.#trust[atMs > START_MS + 14 * HOUR_MS ? 2 : atMs > START_MS + 12 * HOUR_MS ? 1 : 0],
    };
    const none = { exception: undefined, detail: undefined, ...revisions };
    if (isRevoked) return { effect: 'deny', reason: 'svid_revoked', rule: undefined, ...none };
    if (isStray) return { effect: 'deny', reason: 'no_rule_matched', rule: 'default', ...none };
    const exception = destination === 'reports' ? 'EX-7' : undefined;
    if (exception !== undefined)
      return { effect: 'allow', reason: 'exception_allowed', rule: exception, ...none, exception };
    const team = /ns\/([^/]+)/.exec(workload.id)?.[1] ?? 'none';
    return { effect: 'allow', reason: 'rule_allowed', rule: `${team}-${destination}`, ...none };
  }

  #life(event: string, atMs: number, rest: Record<string, unknown>): Record<string, unknown> {
    const policyRevision = this.#policies[atMs > START_MS + 9 * HOUR_MS ? 1 : 0];
    return { time: iso(atMs), event, policyRevision, trustRevision: this.#trust[0], ...rest };
  }

  *#events(): Generator<{ readonly atMs: number; lines(): readonly string[] }> {
    const [one, two, three] = this.#streams as [Stream, Stream, Stream];
    const at = (hours: number): number => START_MS + Math.round(hours * HOUR_MS);
    const exception = { id: 'EX-7', owner: 'team-data', expires: '2026-11-25T00:00:00.000Z' };
    const idle = { id: 'EX-9', owner: 'team-mobile', expires: '2027-01-31T00:00:00.000Z' };
    const tell = (stream: Stream, hours: number, event: string, rest: Record<string, unknown> = {}) => ({
      atMs: at(hours),
      lines: () => [stream.tell(this.#life(event, at(hours), rest))],
    });
    const who = (number: number, hours: number): PrincipalFields | undefined => {
      const workload = this.#workloads[number];
      return workload === undefined ? undefined : this.#who(workload, at(hours)).principal;
    };
    yield tell(one, 0.01, 'exception.started', { exception });
    yield tell(one, 0.01, 'exception.started', { exception: idle });
    yield tell(two, 2.5, 'credential.long_lived', { source: 'inbound', principal: who(7, 2.5) });
    yield { atMs: at(3.2), lines: () => [this.#gap(three, at(3.2))] };

    yield tell(one, 4, 'credential.shared', {
      principal: who(21, 4),
      shared: { kind: 'addresses', total: 3, networks: 2, addresses: ['10.1.0.31', '10.1.9.9', '10.1.9.10'] },
      detail: 'one key is in use from 3 addresses of 2 networks at once',
    });
    yield tell(three, 5.85, 'credential.near_expiry', {
      source: 'inbound',
      principal: who(50, 5.85),
      detail: '550 seconds of its life are left and it was not renewed',
    });
    yield tell(one, 5.9, 'static_secret.observed', {
      source: 'inbound',
      principal: who(3, 5.9),
      secret: { kind: 'basic', name: 'authorization' },
      request: { listener: 'inbound', route: `${destinationName(9)}-v1`, destination: destinationName(9) },
    });
    yield tell(two, 6, 'policy.refused', {
      source: 'config',
      detail: 'policy.yaml:41:7 rules[3].when: unknown name "nwo"',
    });
    yield tell(two, 9, 'policy.changed', { source: 'config', detail: 'exceptions: added EX-9' });
    for (const [n, stream] of this.#streams.entries()) {
      yield tell(stream, 12, 'revocation.changed', {
        source: 'revocations',
        detail: `added id ${this.#workloads[41 % this.#workloads.length]!.id} (key leaked) by ops`,
      });
      const principal = who(41, 12);
      if (n === 41 % 3)
        yield {
          atMs: at(12),
          lines: () =>
            [12, 9, 31].map((latencyMs) =>
              stream.tell({
                time: iso(at(12) + latencyMs),
                event: 'connection.terminated',
                id: `${stream.boot}-c${latencyMs}`,
                principal,
                reason: 'svid_revoked',
                latencyMs,
                request: { listener: 'inbound' },
                peer: { address: '10.1.0.51' },
              }),
            ),
        };
      const ended = n === 41 % 3 ? { connections: 3, latencyMs: 31 } : { connections: 0, latencyMs: 2 };
      yield tell(stream, 12.0001, 'revocation.enforced', { source: 'revocations', ...ended });
    }
    yield tell(one, 14, 'trust.changed', {
      source: 'bundle:example.org',
      detail: 'example.org +1 -0 authorities',
    });
    yield tell(one, 14, 'authority.in_use', {
      source: 'bundle:example.org',
      detail: 'example.org old: 96 identities depend on it',
      connections: 120,
    });
    for (let n = 0; n < 40; n++)
      yield { atMs: at(16 + n / 100), lines: () => [this.#impostor(three, at(16 + n / 100), n)] };
    yield tell(three, 18, 'identity.unregistered', { source: 'inbound', principal: who(32, 18) });
    yield tell(one, 21, 'svid.rotated', {
      source: 'identity',
      detail: 'serial 61fd864c3b633f91190195fe91caa53e',
    });
  }

  /** Twelve records were numbered and never kept. */
  #gap(stream: Stream, atMs: number): string {
    const gap = { why: 'dropped', from: stream.seq + 1, to: stream.seq + 12, records: 12 };
    stream.seq += 12;
    return stream.tell(this.#life('audit.gap', atMs, { gap, detail: 'the disk was full for 3 s' }));
  }

  #impostor(stream: Stream, atMs: number, n: number): string {
    const draw = drawsOf(this.options.seed + n);
    return stream.tell({
      time: iso(atMs),
      event: 'handshake',
      id: `${stream.boot}-h${n}`,
      principal: {
        id: n % 4 === 0 ? HOSTILE_NAME : 'spiffe://example.org/ns/payments/sa/api',
        kind: 'none',
        trustDomain: 'example.org',
        serial: hex(draw, 16),
        sha256: hex(draw, 64),
        keySha256: hex(draw, 64),
        issuer: 'CN=nobody',
        notBefore: iso(atMs - HOUR_MS),
        notAfter: iso(atMs + HOUR_MS),
      },
      decision: { effect: 'deny', reason: 'chain_untrusted' },
      request: { listener: 'inbound' },
      tls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', resumed: false },
      peer: { address: '203.0.113.9' },
    });
  }
}

/** What somebody may write into a certificate, hoping that it is shown to an auditor. */
export const HOSTILE_NAME =
  'spiffe://example.org/"><script>alert(1)</script>\'&amp;\u202egpj.exe\u0007\u2028</style>';

/** Of a working day: little at night, most around 10 and 15 o'clock. */
const RATES = Array.from({ length: 96 }, (_, n) => {
  const hour = n / 4;
  return 0.12 + Math.exp(-(((hour - 10.3) / 1.9) ** 2)) + 0.9 * Math.exp(-(((hour - 15) / 2.1) ** 2));
});
const ALL_RATES = RATES.reduce((sum, rate) => sum + rate, 0);

/** Milliseconds into the day by which this share of its requests has come. */
function timeOfDay(share: number): number {
  let left = share * ALL_RATES;
  let quarter = 0;
  while (quarter < RATES.length - 1 && left > RATES[quarter]!) left -= RATES[quarter++]!;
  return Math.floor(((quarter + Math.min(1, left / RATES[quarter]!)) * HOUR_MS) / 4);
}

/** Two callers still send what they sent before they had an identity. */
function secretsOf({ number }: Workload, destination: string): readonly string[] {
  if (number === 3 && destination === destinationName(9)) return ['basic'];
  return number % 40 === 5 ? ['api_key'] : [];
}

/** As the formatter writes them after the body's size. */
const withSecrets = (line: string, secrets: readonly string[]): string =>
  secrets.length === 0
    ? line
    : line.replace(/("request":\{[^}]*)\}/, `$1,"secrets":${JSON.stringify(secrets)}}`);
