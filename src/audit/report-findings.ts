import type { Finding, Report, Severity } from './report-model.js';
import type { ReportTally } from './report-tally.js';
import { countText, durationText, listText, numberText, shareText, timeText } from './report-wording.js';

type Parts = Omit<Report, 'findings'>;
type Draft = Omit<Finding, 'severity'> & { readonly severity: Severity };

/** What needs attention, the gravest first. */
export function findingsOf(report: Parts, tally: ReportTally): Finding[] {
  const found = [
    ...evidenceFindings(report),
    ...credentialFindings(report),
    ...callerFindings(report),
    ...accessFindings(report),
    ...revocationFindings(report, tally),
    ...policyFindings(report, tally),
    ...readingFindings(report),
  ];
  return found.sort((a, b) => RANK[a.severity] - RANK[b.severity]);
}

const RANK: Readonly<Record<Severity, number>> = { high: 0, medium: 1, low: 2 };

/** Connections that a change took longer than this to end are worth a look. */
const SLOW_REVOCATION_MS = 5000;
/** A caller that is refused this often, and most of the time, is broken or trying. */
const MANY_REFUSALS = 20;
/** Longer lives than this are what short-lived credentials are to replace. */
const LONG_LIFE_MS = 30 * 24 * 3_600_000;

function evidenceFindings({ evidence, reading }: Parts): Draft[] {
  const { gaps, undeclared, seals } = evidence;
  const lost = gaps.reduce((all, { records = 0 }) => all + records, 0);
  const found: Draft[] = [];
  if (gaps.length > 0 || undeclared > 0) {
    const declared =
      gaps.length === 0
        ? []
        : [
            `${countText(gaps.length, 'audit.gap record')} (${numberText(lost)} records lost by their own count)`,
          ];
    const silent =
      undeclared === 0
        ? []
        : [
            `${countText(undeclared, 'record')} missing within the streams that were read, and no audit.gap says why`,
          ];
    found.push({
      id: 'records_missing',
      severity: 'high',
      title: 'Records are missing',
      detail: `${[...declared, ...silent].join('; ')}.`,
      action:
        'Give all files of the period, rotated ones too. What is still missing was lost: see the table for when and why, and the disk or the collector of that host.',
      section: 'evidence',
    });
  }
  if (seals === 0 && reading.records > 0)
    found.push({
      id: 'not_sealed',
      severity: 'low',
      title: 'Nothing in these files is sealed',
      detail: 'Without seals nobody can prove that no record was changed or taken out.',
      action: 'Set audit.seal, and prove the files with countersign audit verify.',
      section: 'evidence',
    });
  return found;
}

function credentialFindings({ credentials }: Parts): Draft[] {
  const found: Draft[] = [];
  const keys = credentials.keysOfSeveral;
  if (keys.length > 0)
    found.push({
      id: 'key_of_several_ids',
      severity: 'high',
      title: `${countText(keys.length, 'key')} used under several SPIFFE IDs`,
      detail: `Whoever holds the key is all of them: ${listText(keys[0]!.identities)}${keys.length > 1 ? '; and more' : ''}.`,
      action:
        'Give each workload a key of its own, and revoke this one by its hash (keySha256 in the revocations file).',
      section: 'credentials',
    });
  const shared = credentials.shared.filter(({ kind }) => kind !== 'ids');
  if (shared.length > 0)
    found.push({
      id: 'credential_shared',
      severity: 'medium',
      title: `Credentials of ${countText(new Set(shared.map(({ identity }) => identity)).size, 'identity', 'identities')} look shared`,
      detail: `Used from several addresses at once, or too many at a time: ${listText([...new Set(shared.map(({ identity }) => identity))])}.`,
      action:
        'Find where the key was copied to. A NAT or a proxy in front can look like this too: then raise the threshold.',
      section: 'credentials',
    });
  const long = credentials.longest.filter(({ lifetimeMs }) => lifetimeMs > LONG_LIFE_MS);
  if (long.length > 0)
    found.push({
      id: 'credential_long_lived',
      severity: 'medium',
      title: `${countText(long.length, 'credential')} ${long.length === 1 ? 'lives' : 'live'} longer than 30 days`,
      detail: `The longest is of ${long[0]!.identity}: ${durationText(long[0]!.lifetimeMs)}.`,
      action: 'Issue short-lived SVIDs; identity.maxSvidLifetime refuses longer ones.',
      section: 'credentials',
    });
  const near = credentials.nearExpiry;
  if (near.length > 0)
    found.push({
      id: 'credential_near_expiry',
      severity: 'medium',
      title: `${countText(near.length, 'credential')} should have been renewed`,
      detail: `Connections were opened with little of its life left: ${listText([...new Set(near.map(({ identity }) => identity))])}.`,
      action: 'Look whether renewal works there: SPIRE renews at half of the lifetime.',
      section: 'credentials',
    });
  return found;
}

function callerFindings({ secrets, identities, refusals, totals }: Parts): Draft[] {
  const found: Draft[] = [];
  if (secrets.length > 0) {
    const callers = new Set(secrets.map(({ identity }) => identity)).size;
    const requests = secrets.reduce((all, row) => all + row.requests, 0);
    found.push({
      id: 'static_secrets',
      severity: 'high',
      title: 'Static secrets still arrive',
      detail: `${countText(requests, 'time')} from ${countText(callers, 'caller')}: ${listText([...new Set(secrets.map(({ kind }) => kind))], 6)}.`,
      action:
        'The caller has an identity here already: take the secret out of it, then stop accepting it in the service.',
      section: 'secrets',
    });
  }
  const unknown = identities.filter(({ registered }) => registered === false);
  if (unknown.length > 0)
    found.push({
      id: 'unregistered',
      severity: 'medium',
      title: `${countText(unknown.length, 'identity', 'identities')} that nobody owns`,
      detail: `Not in the registry: ${listText(unknown.map(({ id }) => id))}.`,
      action:
        'Register an owner for each, or take away their access; registry unregistered: deny refuses them.',
      section: 'identities',
    });
  if (refusals.claims.length > 0)
    found.push({
      id: 'unverified',
      severity: 'medium',
      title: 'Certificates that could not be verified',
      detail: `${countText(totals.refusedConnections, 'connection')} refused before any request; claimed names: ${listText([...new Set(refusals.claims.map(({ claim }) => claim))])}.`,
      action:
        'A forgotten trust bundle, an expired certificate, or somebody who tries: the table of claims has reasons and times.',
      section: 'refusals',
    });
  const refused = identities.filter(
    ({ refused, requests }) => refused >= MANY_REFUSALS && refused * 2 > requests,
  );
  if (refused.length > 0)
    found.push({
      id: 'refused_again_and_again',
      severity: 'medium',
      title: `${countText(refused.length, 'identity is', 'identities are')} mostly refused`,
      detail: `${listText(refused.map(({ id, refused: times, requests }) => `${id} (${shareText(times, requests)} of ${numberText(requests)})`))}.`,
      action: 'A wrong configuration of the caller, a missing rule, or probing: ask its owner.',
      section: 'refusals',
    });
  return found;
}

function accessFindings({ exceptions, paths, reading }: Parts): Draft[] {
  const found: Draft[] = [];
  const soon = exceptions.filter(({ state }) => state === 'soon');
  if (soon.length > 0)
    found.push({
      id: 'exceptions_soon',
      severity: soon.some(({ requests }) => requests > 0) ? 'medium' : 'low',
      title: `${countText(soon.length, 'exception expires', 'exceptions expire')} within a week`,
      detail: soon
        .map(
          ({ id, owner, expires, requests }) =>
            `${id} of ${owner} at ${timeText(expires)} (${countText(requests, 'request')})`,
        )
        .join('; '),
      action: 'What still uses it will be refused then: give it a rule, or let it end.',
      section: 'exceptions',
    });
  const idle = exceptions.filter(
    ({ requests, state }) => requests === 0 && (state === 'in force' || state === 'soon'),
  );
  if (idle.length > 0)
    found.push({
      id: 'exceptions_unused',
      severity: 'low',
      title: `${countText(idle.length, 'exception is', 'exceptions are')} in force and unused`,
      detail: listText(
        idle.map(({ id, owner }) => `${id} (${owner})`),
        5,
      ),
      action: 'Withdraw what is not needed.',
      section: 'exceptions',
    });
  const from = lastQuarter(reading.first, reading.last);
  const fresh =
    from === undefined
      ? []
      : paths.filter(({ firstAllowed, identity }) => identity !== '' && firstAllowed >= from);
  if (fresh.length > 0)
    found.push({
      id: 'first_seen',
      severity: 'low',
      title: `${countText(fresh.length, 'path')} used for the first time since ${timeText(from ?? '')}`,
      detail: listText(fresh.map(({ identity, destination }) => `${identity} to ${destination}`)),
      action: 'Compare with what was released: a new path without a release is worth a question.',
      section: 'first-seen',
    });
  return found;
}

const HOUR_MS = 3_600_000;

/** Where the last quarter of a period begins; of a short one everything is new. */
function lastQuarter(first: string, last: string): string | undefined {
  const [from, to] = [Date.parse(first), Date.parse(last)];
  return to - from > HOUR_MS ? new Date(to - (to - from) / 4).toISOString() : undefined;
}

function revocationFindings({ revocations }: Parts, { events }: ReportTally): Draft[] {
  const open = revocations.changes.filter(
    ({ event, tookMs }) => event === 'revocation.changed' && tookMs === undefined,
  );
  const slow = revocations.changes.filter(({ tookMs = 0 }) => tookMs > SLOW_REVOCATION_MS);
  const refused = events.counts.get('revocation.refused')?.records ?? 0;
  const found: Draft[] = [];
  if (open.length > 0 || slow.length > 0)
    found.push({
      id: 'revocations',
      severity: open.length > 0 ? 'high' : 'medium',
      title: open.length > 0 ? 'A revocation without a record that it bit' : 'A revocation was slow to bite',
      detail: `${numberText(open.length)} without revocation.enforced, ${numberText(slow.length)} slower than ${durationText(SLOW_REVOCATION_MS)}.`,
      action:
        'Give all files of that stream; then look at /connections of the sidecar for what was left open.',
      section: 'revocations',
    });
  if (refused > 0)
    found.push({
      id: 'revocation_refused',
      severity: 'high',
      title: 'A revocation list was refused',
      detail: `${countText(refused, 'record')} of revocation.refused: the last good list stayed in force.`,
      action: 'Read its detail in the timeline, and correct the file.',
      section: 'timeline',
    });
  return found;
}

function policyFindings({ leastPrivilege, shadow }: Parts, { events, access }: ReportTally): Draft[] {
  const found: Draft[] = [];
  const { neverUsed, tooWide } = leastPrivilege;
  if (neverUsed.length + tooWide.length > 0)
    found.push({
      id: 'unused_grants',
      severity: 'low',
      title: 'The policy grants more than is used',
      detail: `${countText(neverUsed.length, 'rule')} never used, ${countText(tooWide.length, 'rule')} wider than their use.`,
      action: 'Narrow them, and see with countersign replay that nothing that is used is lost.',
      section: 'rules',
    });
  const errors = access.conditionErrors.values();
  if (errors.length > 0)
    found.push({
      id: 'condition_errors',
      severity: 'medium',
      title: 'Conditions could not be evaluated',
      detail: listText(
        errors.map(({ rule, requests }) => `${rule} (${countText(requests, 'time')})`),
        5,
      ),
      action: 'An error is no match in an allow and a match in a deny: correct the condition.',
      section: 'rules',
    });
  const refused = ['policy.refused', 'trust.refused'].flatMap((event) => events.told(event));
  if (refused.length > 0)
    found.push({
      id: 'sources_refused',
      severity: 'medium',
      title: 'A policy or trust source was refused',
      detail: `${countText(refused.length, 'time')}; the last good version stayed in force.`,
      action: 'Read the detail in the timeline; countersign check names the line.',
      section: 'timeline',
    });
  if (shadow.length > 0)
    found.push({
      id: 'shadow',
      severity: 'low',
      title: 'What is tried out would decide otherwise',
      detail: listText(
        shadow.map(
          ({ rule, toAllow, toDeny }) =>
            `${rule}: ${numberText(toDeny)} to deny, ${numberText(toAllow)} to allow`,
        ),
      ),
      action: 'Look at these requests before it is put in force.',
      section: 'rules',
    });
  return found;
}

function readingFindings({ reading }: Parts): Draft[] {
  const { brokenLines, brokenAt, isCapped } = reading;
  const found: Draft[] = [];
  if (brokenLines > 0)
    found.push({
      id: 'broken_lines',
      severity: 'medium',
      title: `${countText(brokenLines, 'line is', 'lines are')} no record`,
      detail: `They are in no number here: ${listText(brokenAt)}.`,
      action: 'See whether they are torn or altered: countersign audit verify tells them apart.',
      section: 'evidence',
    });
  if (isCapped)
    found.push({
      id: 'capped',
      severity: 'low',
      title: 'More names than are told apart',
      detail: 'What found no place is counted as (other), or left out of lists; sums are right.',
      action: 'Make a report of less: --identity, --destination, --since and --until.',
      section: 'evidence',
    });
  return found;
}
