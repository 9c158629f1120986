import type { Finding, Report } from './report-model.js';
import { countText, durationText, listText, numberText, shareText, timeText } from './report-wording.js';

type Parts = Omit<Report, 'findings'>;

/** A caller that is refused this often, and most of the time, is broken or trying. */
const MANY_REFUSALS = 20;
/** Longer lives than this are what short-lived credentials are to replace. */
const LONG_LIFE_MS = 30 * 24 * 3_600_000;

export function credentialFindings({ credentials }: Parts): Finding[] {
  const found: Finding[] = [];
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

export function callerFindings({ secrets, injected, identities, refusals, totals }: Parts): Finding[] {
  const found: Finding[] = [];
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
  if (injected.length > 0)
    found.push({
      id: 'injected_secrets',
      severity: 'low',
      title: 'Services still want a secret',
      detail: `It was put in for ${countText(injected.length, 'route')}: ${listText(injected.map(({ route, header }) => `${route} (${header})`))}.`,
      action: 'Callers have none any more; let the service take x-spiffe-id or x-identity-assertion instead.',
      section: 'secrets',
    });
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

export function accessFindings({ exceptions, paths, reading }: Parts): Finding[] {
  const found: Finding[] = [];
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
