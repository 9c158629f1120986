import type {
  AuthorityRow,
  Credentials,
  DelegationRow,
  DestinationRow,
  Evidence,
  ExceptionRow,
  IdentityRow,
  InjectedRow,
  LeastPrivilege,
  PathRow,
  Percentiles,
  Refusals,
  RevisionRow,
  Revocations,
  RuleRow,
  SecretRow,
  ShadowRow,
  TimelineRow,
  TokenRow,
} from './report-rows.js';

export type * from './report-rows.js';

/** The report as data; its JSON form is this, documented in docs/report.md. Times are as records have them, `(other)` stands for names that found no place. */
export const REPORT_VERSION = 1;

export interface Report {
  readonly report: 'countersign-access-report';
  readonly version: typeof REPORT_VERSION;
  readonly reading: Reading;
  readonly totals: Totals;
  readonly findings: readonly Finding[];
  readonly volume: Volume;
  readonly identities: readonly IdentityRow[];
  readonly paths: readonly PathRow[];
  readonly destinations: readonly DestinationRow[];
  readonly rules: readonly RuleRow[];
  readonly leastPrivilege: LeastPrivilege;
  readonly exceptions: readonly ExceptionRow[];
  readonly credentials: Credentials;
  readonly secrets: readonly SecretRow[];
  readonly tokens: readonly TokenRow[];
  readonly delegations: readonly DelegationRow[];
  readonly injected: readonly InjectedRow[];
  readonly refusals: Refusals;
  readonly revocations: Revocations;
  readonly authorities: readonly AuthorityRow[];
  readonly revisions: { readonly policy: readonly RevisionRow[]; readonly trust: readonly RevisionRow[] };
  readonly shadow: readonly ShadowRow[];
  readonly evidence: Evidence;
  readonly timeline: readonly TimelineRow[];
}

/** What was read, and which of it counts. */
export interface Reading {
  readonly generatedAt: string;
  readonly files: readonly string[];
  readonly bytes: number;
  readonly lines: number;
  readonly records: number;
  /** Not within what was asked for. */
  readonly outsideFilter: number;
  readonly brokenLines: number;
  /** FILE:LINE of the first. */
  readonly brokenAt: readonly string[];
  /** Files that end in the middle of a line. */
  readonly cutFiles: readonly string[];
  readonly filter: {
    readonly since: string | undefined;
    readonly until: string | undefined;
    readonly identity: string | undefined;
    readonly destination: string | undefined;
  };
  /** Of what counts; empty where nothing does. All that the report calls soon or past is told from `last`. */
  readonly first: string;
  readonly last: string;
  /** There were more names than are told apart. */
  readonly isCapped: boolean;
}

export interface Totals {
  readonly requests: number;
  readonly allowed: number;
  readonly refused: number;
  /** Of those allowed, not answered whole. */
  readonly failed: number;
  readonly refusedConnections: number;
  readonly identities: number;
  readonly destinations: number;
  readonly paths: number;
  readonly rulesUsed: number;
  readonly durationMs: Percentiles;
}

export type Severity = 'high' | 'medium' | 'low';

export interface Finding {
  readonly id: string;
  readonly severity: Severity;
  readonly title: string;
  readonly detail: string;
  readonly action: string;
  /** Section of the report that shows it. */
  readonly section: string;
}

export interface Volume {
  readonly spanMs: number;
  readonly spans: readonly {
    readonly from: string;
    readonly allowed: number;
    readonly refused: number;
    readonly failed: number;
  }[];
}
