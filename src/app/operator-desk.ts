import { randomBytes } from 'node:crypto';
import type { AdminView, ExceptionPort, RevocationPort } from '../admin/ports.js';
import type { ExternalEngine } from '../external/external-engine.js';
import { jwksOf } from '../identity/signing-key.js';
import type { CredentialIndex } from '../listener/credential.js';
import type { DelegationIndex } from '../listener/delegation-index.js';
import type { Listener } from '../listener/listener.js';
import type { Diagnostics } from '../listener/ports.js';
import type { Signals } from '../listener/signals.js';
import type { TokenIndex } from '../listener/token-index.js';
import type { SnapshotKeeper } from '../sources/snapshot-keeper.js';
import type { Metrics } from '../telemetry/metrics.js';
import type { Upstreams } from '../upstream/upstreams.js';
import type { Question } from '../workers/protocol.js';
import { authoritiesInUse } from './dependents.js';
import type { ExceptionWatch } from './exception-watch.js';
import { describeExceptions, GrantDesk } from './grants.js';
import type { OwnSvidWatch } from './own-svid.js';
import { describeEntry, RevocationDesk } from './revocations.js';
import { mergeAuditViews, type Seals } from './seals.js';
import { describeSignals } from './signal-view.js';
import { describeUpstreams } from './upstream-view.js';
import { describeConnections, describeLongLived, describeSnapshot } from './view.js';

export type RunState = 'starting' | 'waiting' | 'running' | 'draining' | 'closed';

/** What the desk needs of the running process. */
export interface RunningParts {
  readonly state: RunState;
  readonly keeper: SnapshotKeeper;
  readonly metrics: Metrics;
  readonly credentials: CredentialIndex;
  readonly listeners: readonly Listener[];
  readonly ownSvid: OwnSvidWatch;
  readonly exceptionWatch: ExceptionWatch;
  readonly external: ExternalEngine;
  readonly upstreams: Upstreams;
  readonly tokens: TokenIndex;
  readonly delegations: DelegationIndex;
  readonly diagnostics: Diagnostics;
  readonly canRecord: boolean;
  /** undefined where nothing is sealed. */
  readonly seals: Seals | undefined;
  /** undefined before there is a place for records. */
  readonly signals: Signals | undefined;
  nowMs(): number;
  /** Open connections that the last change ended, once all are found. */
  judged(): Promise<number>;
  reload(): Promise<void>;
  drain(): void;
  withdrawn(detail: string): void;
}

/** What operators see and do, by the admin and health listeners of this process or through its supervisor. */
export class OperatorDesk {
  readonly view: AdminView;

  constructor(readonly parts: RunningParts) {
    this.view = this.#makeView();
  }

  answer(question: Question, argument: unknown): unknown {
    const { view } = this;
    switch (question) {
      case 'isReady':
        return view.isReady();
      case 'snapshot':
        return view.snapshot();
      case 'keys':
        return view.keys();
      case 'connections':
        return view.connections(Number(argument));
      case 'metricValues':
        return this.parts.metrics.registry.getMetricsAsJSON();
      case 'reload':
        return view.reload();
      case 'revocations':
        return view.revocations.list();
      case 'revoke':
        return view.revocations.add(argument as Parameters<RevocationPort['add']>[0]);
      case 'withdraw':
        return view.revocations.withdraw(...(argument as Parameters<RevocationPort['withdraw']>));
      case 'exceptions':
        return view.exceptions.list();
      case 'grant':
        return view.exceptions.grant(argument as Parameters<ExceptionPort['grant']>[0]);
      case 'lookAtGrants':
        return this.#lookAtGrants();
      case 'withdrawGrant':
        return view.exceptions.withdraw(...(argument as Parameters<ExceptionPort['withdraw']>));
    }
  }

  #isReady(): { ready: boolean; why: string } {
    const awaited = this.parts.keeper.status
      .filter((source) => source.awaited && !source.optional)
      .map(({ name }) => name);
    if (this.parts.state === 'waiting') return { ready: false, why: `waiting for ${awaited.join(', ')}` };
    if (this.parts.state !== 'running') return { ready: false, why: this.parts.state };
    if (awaited.length > 0) return { ready: false, why: `${awaited.join(', ')} has not come yet` };
    if (this.parts.keeper.current?.isOwnWithdrawn) return { ready: false, why: 'the own SVID was withdrawn' };
    const own = this.parts.keeper.current?.own;
    if (own === undefined) return { ready: false, why: 'nothing is loaded' };
    if (this.parts.nowMs() > own.leaf.notAfterMs) return { ready: false, why: 'the own SVID has expired' };
    if (this.parts.ownSvid.isRevoked) return { ready: false, why: 'the own SVID is revoked' };
    if (!this.parts.canRecord) return { ready: false, why: 'records cannot be written' };
    const failing = this.parts.keeper.status.filter((source) => source.lastError ?? source.stale);
    const why = failing.map(
      ({ name, stale }) => `${name} ${stale === undefined ? 'is refused' : 'is stale'}`,
    );
    return { ready: true, why: why.join(', ') };
  }

  #makeView(): AdminView {
    return {
      isReady: () => this.#isReady(),
      metrics: async () => ({
        contentType: this.parts.metrics.registry.contentType,
        text: await this.parts.metrics.registry.metrics(),
      }),
      snapshot: () => this.#describeSnapshot(),
      connections: (limit) => describeConnections(this.parts.listeners, limit),
      keys: () =>
        jwksOf([...(this.parts.seals?.keys ?? []), ...(this.parts.keeper.assertionKey?.published ?? [])]),
      reload: async () => {
        await this.parts.reload();
        return this.#describeSnapshot();
      },
      drain: () => this.parts.drain(),
      revocations: this.#revocationDesk(),
      exceptions: this.#grantDesk(),
    };
  }

  /** Another process has written there. */
  async #lookAtGrants(): Promise<true> {
    const { keeper } = this.parts;
    if (keeper.grants !== undefined) await keeper.look(keeper.grants.source);
    return true;
  }

  #grantDesk(): GrantDesk {
    const { keeper, metrics, diagnostics, nowMs, judged, exceptionWatch } = this.parts;
    return new GrantDesk({
      get config() {
        return keeper.config;
      },
      get policy() {
        return keeper.current?.policy;
      },
      get ownPolicy() {
        return keeper.current === undefined ? undefined : keeper.ownPolicy;
      },
      get grants() {
        return keeper.grants;
      },
      nowMs,
      newId: () => `GR-${randomBytes(5).toString('hex')}`,
      look: (source) => keeper.look(source),
      rejoin: (source) => keeper.rejoin(source),
      uses: () => metrics.exceptionUses,
      ended: judged,
      withdrawing: (id, withdrawal) => exceptionWatch.withdrawing(id, withdrawal),
      notKept: (error) =>
        diagnostics.error({ problem: error }, 'a grant is withdrawn and still stands in its file'),
    });
  }

  #revocationDesk(): RevocationDesk {
    const { keeper, diagnostics, nowMs, judged, withdrawn } = this.parts;
    return new RevocationDesk({
      get current() {
        return keeper.current;
      },
      get emergency() {
        return keeper.emergency;
      },
      nowMs,
      look: (source) => keeper.look(source),
      rejoin: (source) => keeper.rejoin(source),
      ended: judged,
      withdrawn: (entry, { author, reason }) =>
        withdrawn(`withdrew ${describeEntry(entry)}: ${reason}, by ${author}`),
      notKept: (error) =>
        diagnostics.error({ problem: error }, 'an emergency revocation is in force and not kept'),
    });
  }

  #describeSnapshot(): object {
    const { current, restartNeeded, status } = this.parts.keeper;
    return {
      state: this.parts.state,
      ...(current === undefined
        ? {}
        : describeSnapshot(current, authoritiesInUse(this.parts.credentials), this.parts.ownSvid.problem)),
      /** Known certificates: those of live connections, and the last ones seen. */
      credentials: this.parts.credentials.size,
      exceptions: describeExceptions(current?.policy.exceptions ?? [], this.parts.nowMs()),
      longLived: describeLongLived(this.parts.credentials),
      ...(this.parts.signals === undefined ? {} : { signals: describeSignals(this.parts.signals) }),
      /** Tokens and assertions that need no verifying, or count once. */
      memory: { tokens: this.parts.tokens.memory, assertions: this.parts.delegations.memory },
      external: this.parts.external.status,
      upstreams: describeUpstreams(this.parts.upstreams.status),
      audit: this.parts.seals?.describe() ?? mergeAuditViews([]),
      restartNeeded,
      sources: status,
    };
  }
}
