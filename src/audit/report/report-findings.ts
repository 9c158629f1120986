import { accessFindings, callerFindings, credentialFindings } from './report-findings-callers.js';
import type { Finding, Report, Severity } from './report-model.js';
import type { ReportTally } from './report-tally.js';
import { countText, durationText, listText, numberText } from './report-wording.js';

type Parts = Omit<Report, 'findings'>;

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
function evidenceFindings({ evidence, reading }: Parts): Finding[] {
  const { gaps, undeclared, seals } = evidence;
  const lost = gaps.reduce((all, { records = 0 }) => all + records, 0);
  const found: Finding[] = [];
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

function revocationFindings({ revocations }: Parts, { events }: ReportTally): Finding[] {
  const open = revocations.changes.filter(
    ({ event, tookMs }) => event === 'revocation.changed' && tookMs === undefined,
  );
  const slow = revocations.changes.filter(({ tookMs = 0 }) => tookMs > SLOW_REVOCATION_MS);
  const refused = events.counts.get('revocation.refused')?.records ?? 0;
  const found: Finding[] = [];
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

function policyFindings({ leastPrivilege, shadow }: Parts, { events, access }: ReportTally): Finding[] {
  const found: Finding[] = [];
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

function readingFindings({ reading }: Parts): Finding[] {
  const { brokenLines, brokenAt, isCapped } = reading;
  const found: Finding[] = [];
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
