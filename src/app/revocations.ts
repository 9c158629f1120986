import type { OrderAnswer, RevocationPort } from '../admin/ports.js';
import { describeSelector, keyOfRevocation, type Withdrawal, writtenEntry } from '../config/revocations.js';
import type { RevocationEntry } from '../identity/revocation.js';
import type { Snapshot } from '../snapshot.js';
import type { EmergencyHost, EmergencyRevocations } from '../sources/emergency-revocations.js';

/** What the desk needs of the running process. */
export interface RevocationHost extends EmergencyHost {
  readonly current: Snapshot | undefined;
  readonly emergency: EmergencyRevocations | undefined;
  nowMs(): number;
  /** Open connections that the last change ended, once all are found. */
  ended(): Promise<number>;
  withdrawn(entry: RevocationEntry, withdrawal: Withdrawal): void;
  notKept(error: string): void;
}

const NOT_CONFIGURED =
  'no file to keep revocations in: put `emergencyRevocations: FILE` into the configuration';

/** Takes revocations from the admin listener: enforces first, keeps second, and says which of the two it did. */
export class RevocationDesk implements RevocationPort {
  constructor(readonly host: RevocationHost) {}

  list(): object {
    return describeRevocations(this.host.current, this.host.emergency, this.host.nowMs());
  }

  async add(entries: readonly RevocationEntry[]): Promise<OrderAnswer> {
    const { host } = this;
    const { emergency } = host;
    if (emergency === undefined) return { status: 501, detail: NOT_CONFIGURED };
    const nowMs = host.nowMs();
    const ended = entries.findIndex(({ until }) => until !== undefined && until <= nowMs);
    if (ended >= 0)
      return { status: 400, detail: `[${ended}].until: is over already: this would revoke nothing` };
    const held = emergency.hold(entries);
    if (!held.ok) return { status: 409, detail: held.error };
    let connections = 0;
    if (held.value.length > 0) {
      host.rejoin(emergency.source);
      connections = await host.ended();
    }
    const kept = await emergency.keep(host);
    const view = { added: held.value.length, connections, ...this.list() };
    if (kept.ok) return { status: 200, view };
    host.notKept(kept.error);
    const detail = `IN FORCE, BUT NOT KEPT: a restart would forget it; it is tried again every few seconds. ${kept.error}`;
    return { status: 500, detail, view };
  }

  async withdraw(key: string, withdrawal: Withdrawal): Promise<OrderAnswer> {
    const { host } = this;
    const { emergency, current } = host;
    if (emergency === undefined) return { status: 501, detail: NOT_CONFIGURED };
    const taken = await emergency.withdraw(key, host);
    if (!taken.ok) return { status: 500, detail: `STILL IN FORCE: ${taken.error}` };
    if (taken.value !== undefined) {
      host.withdrawn(taken.value, withdrawal);
      return { status: 200, view: { withdrawn: writtenEntry(taken.value), ...this.list() } };
    }
    const elsewhere = current?.revocations.entries.some((entry) => keyOfRevocation(entry) === key);
    return elsewhere
      ? { status: 409, detail: `it stands in ${current?.config.revocationsFile}: take it out there` }
      : { status: 404, detail: 'there is no such entry: GET /revocations lists them with their keys' };
  }
}

/** Everything that the operator's file and the admin listener revoke, with the key that DELETE takes. */
function describeRevocations(
  snapshot: Snapshot | undefined,
  emergency: EmergencyRevocations | undefined,
  nowMs: number,
): object {
  const own = new Set(emergency?.list.entries.map(keyOfRevocation));
  const kept = emergency?.keptKeys;
  return {
    trustRevision: snapshot?.trustRevision,
    policyRevision: snapshot?.policy.revision,
    keptIn: emergency?.file,
    revocations: (snapshot?.revocations.entries ?? []).map((entry) => {
      const key = keyOfRevocation(entry);
      const isOurs = own.has(key);
      return {
        key,
        source: isOurs ? 'emergency-revocations' : 'revocations',
        ...(isOurs && kept?.has(key) !== true ? { kept: false } : {}),
        state: stateOf(entry, nowMs),
        ...writtenEntry(entry),
      };
    }),
  };
}

const stateOf = ({ at, until }: RevocationEntry, nowMs: number): string => {
  if (at !== undefined && nowMs < at) return 'not_yet';
  return until !== undefined && nowMs >= until ? 'over' : 'in_force';
};

const MAX_SHOWN = 20;

/** What a new list says that the old one did not, and the other way round; for the record of the change. */
export function describeRevocationChange(
  next: readonly RevocationEntry[],
  before: readonly RevocationEntry[],
): string | undefined {
  const [now, then] = [byKey(next), byKey(before)];
  const lines = [
    ...[...now].filter(([key]) => !then.has(key)).map(([, entry]) => `added ${describeEntry(entry)}`),
    ...[...then].filter(([key]) => !now.has(key)).map(([, entry]) => `removed ${describeEntry(entry)}`),
  ];
  const rest = lines.length - MAX_SHOWN;
  return [...lines.slice(0, MAX_SHOWN), ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ') || undefined;
}

export const describeEntry = (entry: RevocationEntry): string => {
  const by = entry.author === undefined ? '' : ` by ${entry.author}`;
  return `${describeSelector(entry)} (${entry.reason})${by}`;
};

const byKey = (entries: readonly RevocationEntry[]): Map<string, RevocationEntry> =>
  new Map(entries.map((entry) => [JSON.stringify(entry), entry]));
