import type { Diagnostics } from '../listener/ports.js';
import type { MetricValues, Question, WorkerSetup } from '../workers/protocol.js';

export interface AppOptions {
  readonly configFile: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly diagnostics: Diagnostics;
  /** Unix milliseconds; the system clock unless a test sets another. */
  readonly nowMs?: () => number;
  /** This process is one of several, and its supervisor has the admin and health listeners. */
  readonly worker?: WorkerSetup;
}

export interface App {
  /** By listener name; `admin` and `health` too where they are configured. */
  readonly addresses: ReadonlyMap<string, string>;
  reload(): Promise<void>;
  /** Drains as configured, then closes. Resolves when everything is down and every record is written. */
  drain(): Promise<void>;
  /** Ends at once. */
  close(): Promise<void>;
  /** Everything listens; later than the start where our SVID has to come from elsewhere. Rejects where it cannot. */
  readonly ready: Promise<void>;
  readonly closed: Promise<void>;
  /** What a supervisor asks. */
  answer(question: Question, argument: unknown): unknown;
  metricValues(): Promise<readonly MetricValues[]>;
  /** For the very end of the process. */
  writeRecordsNow(): void;
  /** Looks at a source again: another worker has found something new there. */
  poll(source: string): void;
  /** Called when a source that has to be asked gave something new. */
  foundNews: (source: string) => void;
  /** Sources that have to be asked, by name. */
  readonly remoteSources: readonly string[];
  /** Told by the supervisor where it does the writing. */
  recordsAvailable(available: boolean): void;
  /** @param lines that the supervisor has dealt with. */
  recordsTaken(lines: number): void;
}
