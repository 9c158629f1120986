import type { Address } from '../config/config.js';
import type { GrantRequest, GrantWithdrawal } from '../config/grants.js';
import type { parseRevocationRequest, Withdrawal } from '../config/revocations.js';

/** At once from this process; later where several have to be asked. */
export type MaybeLater<T> = T | Promise<T>;

/** What the admin and health listeners need of the process; `app` hands it in. */
export interface AdminView {
  isReady(): MaybeLater<{ readonly ready: boolean; readonly why: string }>;
  /** Prometheus text exposition. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  snapshot(): MaybeLater<object>;
  connections(limit: number): MaybeLater<object>;
  /** JWK set (RFC 7517) of what verifies our signatures. */
  keys(): MaybeLater<{ readonly keys: readonly object[] }>;
  reload(): Promise<object>;
  drain(): void;
  readonly revocations: RevocationPort;
  readonly exceptions: ExceptionPort;
}

/** What came of an order: to revoke, to grant, to withdraw. */
export interface OrderAnswer {
  readonly status: 200 | 400 | 404 | 409 | 500 | 501 | 503;
  /** Why it is not 200. */
  readonly detail?: string;
  /** What is in force now. */
  readonly view?: object;
}

export interface RevocationPort {
  list(): MaybeLater<object>;
  add(entries: NonNullable<ReturnType<typeof parseRevocationRequest>['value']>): Promise<OrderAnswer>;
  withdraw(key: string, withdrawal: Withdrawal): Promise<OrderAnswer>;
}

export interface ExceptionPort {
  list(): MaybeLater<object>;
  grant(asked: readonly GrantRequest[]): Promise<OrderAnswer>;
  withdraw(id: string, withdrawal: GrantWithdrawal): Promise<OrderAnswer>;
}

/** A probe of the app behind, for a kubelet that has no client certificate. */
export interface AppProbe {
  readonly path: string;
  readonly address: Address;
  readonly authority: string;
  readonly target: string;
  readonly timeoutMs: number;
}
