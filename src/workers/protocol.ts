/** What the supervisor and a worker say to each other over the process's own channel. Plain data, never a function. */

/** Told to a worker at its birth, in its environment. */
export interface WorkerSetup {
  /** From 1; a replacement takes over the number of the one that is gone. */
  readonly index: number;
  readonly workers: number;
  /** Records go to the supervisor through standard output: several writers would tear lines on anything but a regular file. */
  readonly relaysRecords: boolean;
  /** The word for this start of it, which its records carry: given, so that it is known of a worker that is lost. */
  readonly boot: string;
}

export type FromWorker =
  | { readonly kind: 'ready'; readonly addresses: readonly (readonly [string, string])[] }
  | { readonly kind: 'refused'; readonly problems: readonly string[] }
  /** Every second: one that stays silent cannot end connections either, and is replaced. */
  | { readonly kind: 'alive'; readonly metrics: readonly MetricValues[] | undefined }
  /** A source that has to be asked gave something new. */
  | { readonly kind: 'found'; readonly source: string }
  | { readonly kind: 'answer'; readonly ask: number; readonly value: unknown };

export type ToWorker =
  | { readonly kind: 'ask'; readonly ask: number; readonly question: Question; readonly argument: unknown }
  /** Another worker has found something new there. */
  | { readonly kind: 'poll'; readonly source: string }
  | { readonly kind: 'records'; readonly available: boolean }
  /** So many of its lines were dealt with since it began: written as the durability asks, or it was told before that they cannot be. */
  | { readonly kind: 'recorded'; readonly lines: number }
  | { readonly kind: 'drain' }
  | { readonly kind: 'close' };

export type Question =
  | 'isReady'
  | 'snapshot'
  | 'keys'
  | 'connections'
  | 'metricValues'
  | 'reload'
  | 'revocations'
  | 'revoke'
  | 'withdraw'
  | 'exceptions'
  | 'grant'
  | 'lookAtGrants'
  | 'withdrawGrant';

/** One metric with all its series, as prom-client gives and takes it. */
export type MetricValues = Readonly<Record<string, unknown>> & { readonly name: string };

const SETUP = 'COUNTERSIGN_WORKER';

export const setupInEnv = (setup: WorkerSetup): Record<string, string> => ({
  [SETUP]: JSON.stringify(setup),
});

export function setupFromEnv(env: Readonly<Record<string, string | undefined>>): WorkerSetup {
  return JSON.parse(env[SETUP] ?? '') as WorkerSetup;
}
