/** At once from this process; later where several have to be asked. */
export type MaybeLater<T> = T | Promise<T>;

/** What the admin and health listeners need of the process; `app.ts` hands it in. */
export interface AdminView {
  isReady(): MaybeLater<{ readonly ready: boolean; readonly why: string }>;
  /** Prometheus text exposition. */
  metrics(): Promise<{ readonly contentType: string; readonly text: string }>;
  snapshot(): MaybeLater<object>;
  connections(limit: number): MaybeLater<object>;
  reload(): Promise<object>;
  drain(): void;
}

/** A probe of the app behind, for a kubelet that has no client certificate. */
export interface AppProbe {
  readonly path: string;
  readonly host: string;
  readonly port: number;
  readonly authority: string;
  readonly target: string;
  readonly timeoutMs: number;
}
