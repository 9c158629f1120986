import type { LifecycleRecord } from '../audit/record.js';
import { isNarrower } from '../listener/affected.js';
import { enforcedRecord } from '../listener/connection-record.js';
import { Contraction } from '../listener/contraction.js';
import type { CredentialIndex } from '../listener/credential.js';
import type { Listener } from '../listener/listener.js';
import type { Diagnostics, RecordSink } from '../listener/ports.js';
import type { ExceptionInput } from '../policy/exception.js';
import type { Snapshot } from '../snapshot.js';
import { ASSERTION_KEY } from '../sources/assertion-key-source.js';
import { SEAL_KEY } from '../sources/seal-key-source.js';
import type { SnapshotKeeper } from '../sources/snapshot-keeper.js';
import type { Metrics } from '../telemetry/metrics.js';
import { describeChanges, usesBefore } from './changes.js';

/** What the desk needs of the running process. */
export interface ChangingParts {
  readonly keeper: SnapshotKeeper;
  readonly metrics: Metrics;
  readonly credentials: CredentialIndex;
  readonly listeners: readonly Listener[];
  /** Of what is open to upstreams, what was opened to a server that is not acceptable any more ends. */
  judgeServers(cause: Contraction): void;
  readonly diagnostics: Diagnostics;
  /** undefined before there is a place for them. */
  readonly records: RecordSink | undefined;
  nowMs(): number;
}

/** What follows from a change of what decides: access ends, and it is recorded, counted and said. */
export class ChangeDesk {
  #contraction: Contraction | undefined;

  constructor(readonly parts: ChangingParts) {}

  adopted(source: string, next: Snapshot, before: Snapshot, causeMs: number): void {
    const { credentials, diagnostics, metrics, nowMs } = this.parts;
    const uses = usesBefore(next, before, credentials);
    this.contract(source, next, before, causeMs);
    const changes = describeChanges(next, before, uses);
    // What went out of date was lost, not loaded.
    if (!this.parts.keeper.isOutdated(source)) metrics.countReload(source, 'adopted', nowMs());
    metrics.describe(next);
    for (const { event, detail, connections } of changes.records)
      this.record(event, source, next, detail, connections);
    if (source === SEAL_KEY)
      this.record('seal.key_rotated', source, next, `key ${this.parts.keeper.sealKey?.value?.kid}`);
    if (source === ASSERTION_KEY)
      this.record('assertion.key_rotated', source, next, `key ${next.assertions?.signer.publicKey.kid}`);
    for (const shrunk of changes.shrunk) diagnostics.warn(shrunk, 'a trust bundle has shrunk');
    if (next.policy !== before.policy)
      for (const { grant, problem } of this.parts.keeper.grants?.unusable ?? [])
        diagnostics.warn({ grant: grant.id, problem }, 'a grant is not in force');
    diagnostics.info({ source, policy: next.policy.revision, trust: next.trustRevision }, 'adopted');
  }

  /** What the change takes away ends now, on every listener, and is measured until the last of it is gone. */
  contract(source: string, next: Snapshot, before: Snapshot, causeMs: number): void {
    const { keeper, metrics, nowMs, listeners } = this.parts;
    const contraction = new Contraction(source, causeMs, nowMs, (enforcement) => {
      if (enforcement.connections === 0 && !isNarrower(next, before)) return;
      metrics.observeRevocation(enforcement.latencyMs);
      this.parts.records?.write(enforcedRecord(enforcement, keeper.current, nowMs()));
    });
    this.#contraction = contraction;
    contraction.hold();
    for (const listener of listeners) listener.adopt(next, before, contraction);
    this.parts.judgeServers(contraction);
    contraction.release();
  }

  /** Periodic: what only the clock changes about servers. Callers have their sweep in each listener. */
  sweepServers(): void {
    const { keeper, metrics, nowMs } = this.parts;
    const contraction = new Contraction('clock', nowMs(), nowMs, (enforcement) => {
      if (enforcement.connections === 0) return;
      metrics.observeRevocation(enforcement.latencyMs);
      this.parts.records?.write(enforcedRecord(enforcement, keeper.current, nowMs()));
    });
    this.parts.judgeServers(contraction);
  }

  /** Open connections that the last change ended, once all are found. */
  async judged(): Promise<number> {
    return (await this.#contraction?.judged) ?? 0;
  }

  refused(source: string, error: string, current: Snapshot | undefined): void {
    const { diagnostics, keeper, metrics, nowMs } = this.parts;
    metrics.countReload(source, 'refused', nowMs());
    const isFirst = keeper.status.some(({ name, awaited }) => name === source && awaited);
    const stands = isFirst ? 'nothing good has come yet' : 'the last good version stays in force';
    diagnostics.error({ source, problem: error }, `refused; ${stands}`);
    this.record(refusalOf(source), source, current, error);
  }

  /** Something in the life of an exception. */
  recordException(
    event: LifecycleRecord['event'],
    { id, owner, expiresMs, origin }: ExceptionInput,
    detail: string,
    snapshot: Snapshot | undefined,
  ): void {
    this.parts.records?.write({
      time: new Date(this.parts.nowMs()).toISOString(),
      event,
      source: origin === 'grant' ? 'grants' : 'config',
      policyRevision: snapshot?.policy.revision,
      trustRevision: snapshot?.trustRevision,
      detail,
      exception: { id, owner, expires: new Date(expiresMs).toISOString() },
    });
  }

  record(
    event: LifecycleRecord['event'],
    source: string | undefined,
    snapshot: Snapshot | undefined,
    detail?: string,
    connections?: number,
  ): void {
    this.parts.records?.write({
      time: new Date(this.parts.nowMs()).toISOString(),
      event,
      source,
      policyRevision: snapshot?.policy.revision,
      trustRevision: snapshot?.trustRevision,
      detail,
      ...(connections === undefined ? {} : { connections }),
    });
  }
}

function refusalOf(source: string): LifecycleRecord['event'] {
  if (source === 'config' || source === 'grants') return 'policy.refused';
  if (source === SEAL_KEY) return 'seal.key_refused';
  if (source === ASSERTION_KEY) return 'assertion.key_refused';
  return source === 'revocations' || source === 'emergency-revocations'
    ? 'revocation.refused'
    : 'trust.refused';
}
