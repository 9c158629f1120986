import { fieldsOf, parseRecordLine, parseRecordTime, type RecordLine, textOf } from '../audit/record-line.js';
import { err, ok, type Result } from '../reasons.js';
import { readRecordLines } from './record-reader.js';
import { readSnapshot } from './snapshot-text.js';

/** One identity by the newest credential that was seen of it. */
export interface SeenIdentity {
  readonly id: string;
  /** SHA-256 of the authority that verified it. */
  readonly authority: string;
  readonly lastSeenMs: number;
  /** Records of it, or open connections in a snapshot. */
  readonly times: number;
  readonly notAfter: string | undefined;
}

export interface Seen {
  readonly identities: ReadonlyMap<string, SeenIdentity>;
  /** By authority: identities that a snapshot counts and does not name. */
  readonly unnamed: ReadonlyMap<string, number>;
}

interface Draft extends SeenIdentity {
  readonly issuedMs: number;
}

/** Who was let in with which authority, from record files and a snapshot of the running sidecar (a file, an URL, or unix:/path). */
export async function readSeen(
  trustDomain: string,
  auditFiles: readonly string[],
  snapshot: string | undefined,
  cwd: string,
): Promise<Result<Seen, string>> {
  const identities = new Map<string, Draft>();
  const unnamed = new Map<string, number>();
  for (const file of auditFiles) {
    const read = await readRecords(file, trustDomain, identities);
    if (!read.ok) return read;
  }
  if (snapshot !== undefined) {
    const text = await readSnapshot(snapshot, cwd);
    if (!text.ok) return text;
    const taken = takeSnapshot(text.value, trustDomain, identities, unnamed);
    if (!taken.ok) return err(`${snapshot}: ${taken.error}`);
  }
  return ok({ identities, unnamed });
}

function take(identities: Map<string, Draft>, draft: Draft): void {
  const known = identities.get(draft.id);
  const times = (known?.times ?? 0) + draft.times;
  const lastSeenMs = Math.max(known?.lastSeenMs ?? 0, draft.lastSeenMs);
  // The credential issued last says who will verify the next: an old one may be shown after it, by a replica not restarted.
  const newest = known === undefined || draft.issuedMs >= known.issuedMs ? draft : known;
  identities.set(draft.id, { ...newest, times, lastSeenMs });
}

async function readRecords(
  file: string,
  trustDomain: string,
  identities: Map<string, Draft>,
): Promise<Result<void, string>> {
  let broken: number | undefined;
  const read = await readRecordLines({ file }, ({ number, text, state }) => {
    if (state !== 'too_long' && !text.includes('"principal"')) return;
    const record = parseRecordLine(text);
    if (record === undefined) broken ??= number;
    else takeRecord(record, trustDomain, identities);
  });
  if (!read.ok) return read;
  // It could be anybody's: to leave it out would be to say that it is nobody's.
  return broken === undefined ? ok(undefined) : err(`${file}:${broken} is not a record`);
}

function takeRecord(
  { timeMs, fields }: RecordLine,
  trustDomain: string,
  identities: Map<string, Draft>,
): void {
  const principal = fieldsOf(fields.principal);
  if (principal.kind !== 'workload' || principal.trustDomain !== trustDomain) return;
  // Whom we refused for its credential is locked out already.
  if (/^svid_/.test(String(fieldsOf(fields.decision).reason ?? fields.reason))) return;
  const { id, authority, notBefore, notAfter } = principal;
  if (typeof id !== 'string' || typeof authority !== 'string') return;
  take(identities, {
    id,
    authority,
    lastSeenMs: timeMs,
    issuedMs: parseRecordTime(notBefore) ?? 0,
    notAfter: textOf(notAfter),
    times: 1,
  });
}

interface SnapshotText {
  readonly trust?: readonly {
    readonly trustDomain: string;
    readonly authorities: readonly {
      readonly sha256: string;
      readonly dependents?: {
        readonly identities: number;
        readonly shown: readonly {
          readonly id: string;
          readonly connections: number;
          readonly lastSeen: string;
          readonly issued: string;
          readonly notAfter: string;
        }[];
      };
    }[];
  }[];
}

function takeSnapshot(
  text: string,
  trustDomain: string,
  identities: Map<string, Draft>,
  unnamed: Map<string, number>,
): Result<void, string> {
  const snapshot = parseSnapshot(text);
  const domain = snapshot?.trust?.find((entry) => entry.trustDomain === trustDomain);
  if (domain === undefined) return err(`is no snapshot with the trust domain ${trustDomain}`);
  for (const { sha256: authority, dependents } of domain.authorities) {
    if (dependents === undefined) return err('is of a version that does not say who depends on an authority');
    for (const { id, connections, lastSeen, issued, notAfter } of dependents.shown) {
      const lastSeenMs = parseRecordTime(lastSeen) ?? 0;
      const times = { lastSeenMs, issuedMs: parseRecordTime(issued) ?? 0, times: connections };
      take(identities, { id, authority, notAfter, ...times });
    }
    unnamed.set(authority, dependents.identities - dependents.shown.length);
  }
  return ok(undefined);
}

function parseSnapshot(text: string): SnapshotText | undefined {
  try {
    return JSON.parse(text) as SnapshotText;
  } catch {
    return undefined;
  }
}
