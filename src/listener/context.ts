import type { Assertions } from './assertions.js';
import type { BorrowingExchange } from './borrowed.js';
import type { CredentialIndex } from './credential.js';
import type { DelegationIndex } from './delegation-index.js';
import type { Ids } from './ids.js';
import type {
  Clock,
  Diagnostics,
  ExternalDecisions,
  ListenerMetrics,
  RecordSink,
  SnapshotHolder,
  UpstreamPort,
} from './ports.js';
import type { RequestLimits } from './request-limits.js';
import type { Signals } from './signals.js';
import type { TokenIndex } from './token-index.js';
import type { UnregisteredLog } from './unregistered.js';

/** What every exchange of one listener works with. */
export interface ListenerContext {
  readonly name: string;
  readonly snapshots: SnapshotHolder;
  readonly credentials: CredentialIndex;
  /** One for all listeners. */
  readonly tokens: TokenIndex;
  /** One for all listeners. */
  readonly delegations: DelegationIndex;
  /** One for all listeners. */
  readonly assertions: Assertions;
  readonly upstream: UpstreamPort;
  readonly external: ExternalDecisions;
  readonly records: RecordSink;
  readonly metrics: ListenerMetrics;
  readonly diagnostics: Diagnostics;
  readonly clock: Clock;
  readonly ids: Ids;
  readonly unregistered: UnregisteredLog;
  /** One for all listeners. */
  readonly signals: Signals;
  /** One for all listeners: a caller does not get more by calling at several. */
  readonly limits: RequestLimits;
  /** What is under way and rests on more than its connection's credential. */
  readonly borrowed: Set<BorrowingExchange>;
  /** Set while draining: every answer carries `Connection: close`. */
  draining: boolean;
}
