import type { ExceptionPort, OrderAnswer } from '../admin/ports.js';
import type { Config } from '../config/config.js';
import { checkExpiry } from '../config/exception-schema.js';
import {
  checkTogether,
  type GrantRequest,
  type GrantWithdrawal,
  grantOf,
  writtenException,
} from '../config/grants.js';
import { checkGrants, type GrantProblem } from '../config/grants-check.js';
import { formatPath } from '../config/yaml-text.js';
import { type ExceptionInput, type ExceptionState, stateOf } from '../policy/exception.js';
import type { Policy } from '../policy/policy.js';
import type { GrantHost, GrantStore } from '../sources/grant-store.js';

/** What the desk needs of the running process. */
export interface GrantDeskHost extends GrantHost {
  readonly config: Config | undefined;
  /** In force, grants included. */
  readonly policy: Policy | undefined;
  /** The policy file's own. */
  readonly ownPolicy: Policy | undefined;
  readonly grants: GrantStore | undefined;
  nowMs(): number;
  newId(): string;
  uses(): ReadonlyMap<string, number>;
  /** Open connections that the last change ended, once all are found. */
  ended(): Promise<number>;
  /** About to go out of force: for the record of it. */
  withdrawing(id: string, withdrawal: GrantWithdrawal): void;
  notKept(error: string): void;
}

const NOT_CONFIGURED = 'no file to keep grants in: put `exceptions: { file: FILE }` into the configuration';

/** Takes grants from the admin listener: written down first, in force second; the other way round when they end. */
export class GrantDesk implements ExceptionPort {
  constructor(readonly host: GrantDeskHost) {}

  list(): object {
    const { policy, grants, nowMs, uses } = this.host;
    const counts = uses();
    const now = nowMs();
    const inForce: readonly ExceptionInput[] = policy?.exceptions ?? [];
    return {
      policyRevision: policy?.revision,
      keptIn: grants?.file.path,
      exceptions: [
        ...inForce.map((exception) => ({
          ...writtenException(exception),
          source: exception.origin === 'grant' ? 'grants' : 'policy',
          state: stateOf(exception, now),
          uses: counts.get(exception.id) ?? 0,
        })),
        ...(grants?.unusable ?? []).map(({ grant, problem }) => ({
          ...writtenException(grant),
          source: 'grants',
          state: 'unusable',
          problem,
          uses: 0,
        })),
      ],
    };
  }

  async grant(asked: readonly GrantRequest[]): Promise<OrderAnswer> {
    const { host } = this;
    const { grants: store, config, ownPolicy } = host;
    if (store === undefined) return { status: 501, detail: NOT_CONFIGURED };
    if (config === undefined || ownPolicy === undefined)
      return { status: 503, detail: 'nothing is in force yet' };
    const nowMs = host.nowMs();
    const wanted = asked.map((one) => grantOf(one, host.newId, nowMs));
    const problems = [
      ...checkTogether(wanted),
      ...checkGrants(wanted, { config, policy: ownPolicy }),
      ...this.#checkEnds(asked, wanted, store),
    ];
    if (problems.length > 0) return refusedFor(problems);
    const added = await store.add(wanted, host);
    if (!added.ok)
      return { status: added.error.status, detail: `NOTHING WAS GRANTED: ${added.error.detail}` };
    const granted = wanted.map(({ id }) => id);
    return { status: 200, view: { granted, added: added.value.length, ...this.list() } };
  }

  async withdraw(id: string, withdrawal: GrantWithdrawal): Promise<OrderAnswer> {
    const { host } = this;
    const { grants: store, ownPolicy } = host;
    const own: readonly ExceptionInput[] = ownPolicy?.exceptions ?? [];
    if (own.some((exception) => exception.id === id))
      return { status: 409, detail: `it stands in ${host.config?.policyFile}: take it out there` };
    if (store === undefined) return { status: 501, detail: NOT_CONFIGURED };
    let ended = Promise.resolve(0);
    const withdrawn = await store.withdraw(id, {
      look: (source) => host.look(source),
      rejoin: (source) => {
        host.withdrawing(id, withdrawal);
        host.rejoin(source);
        ended = host.ended(); // of this change; what is read back from the file is another
      },
    });
    if (withdrawn === undefined)
      return { status: 404, detail: 'there is no such grant: GET /exceptions lists them' };
    const connections = await ended;
    const view = { withdrawn: writtenException(withdrawn.grant), connections, ...this.list() };
    if (withdrawn.isKept === undefined) return { status: 200, view };
    host.notKept(withdrawn.isKept);
    const detail = `OUT OF FORCE, BUT STILL IN THE FILE: a restart would bring it back; it is tried again every few seconds. ${withdrawn.isKept}`;
    return { status: 500, detail, view };
  }

  #checkEnds(
    asked: readonly GrantRequest[],
    wanted: readonly ExceptionInput[],
    { file: { limit } }: GrantStore,
  ): GrantProblem[] {
    return wanted.flatMap(({ expiresMs }, i) => {
      const path = ['exceptions', i, asked[i]?.for === undefined ? 'expires' : 'for'];
      if (expiresMs <= limit.nowMs) return { path, message: 'is over already: this would grant nothing' };
      const end = checkExpiry(expiresMs, limit);
      return end.ok ? [] : { path, message: end.error };
    });
  }
}

function refusedFor(problems: readonly GrantProblem[]): OrderAnswer {
  const all = problems.map(({ path, message }) => ({ path: formatPath(path), message }));
  const [first] = all;
  return { status: 400, detail: `${first?.path} ${first?.message}`, view: { problems: all } };
}

/** How many there are in each state, and which ends next; for /snapshot and the metric. */
export function countStates(
  exceptions: readonly ExceptionInput[],
  nowMs: number,
): Record<ExceptionState, number> {
  const counts = { pending: 0, active: 0, expiring: 0, expired: 0 };
  for (const exception of exceptions) counts[stateOf(exception, nowMs)]++;
  return counts;
}

export function describeExceptions(exceptions: readonly ExceptionInput[], nowMs: number): object {
  const left = exceptions.filter(({ expiresMs }) => expiresMs > nowMs);
  const next = left.reduce<ExceptionInput | undefined>(
    (first, one) => (first === undefined || one.expiresMs < first.expiresMs ? one : first),
    undefined,
  );
  return {
    ...countStates(exceptions, nowMs),
    ...(next === undefined
      ? {}
      : { next: { id: next.id, owner: next.owner, expires: new Date(next.expiresMs).toISOString() } }),
  };
}

interface Listed {
  readonly exceptions: readonly { readonly id: string; readonly uses: number }[];
}

/** Each worker counts its own uses. */
export function mergeExceptions(lists: readonly object[]): object {
  const [first] = lists;
  if (first === undefined) return {};
  const uses = new Map<string, number>();
  for (const list of lists as readonly Listed[])
    for (const one of list.exceptions) uses.set(one.id, (uses.get(one.id) ?? 0) + one.uses);
  const { exceptions } = first as Listed;
  return { ...first, exceptions: exceptions.map((one) => ({ ...one, uses: uses.get(one.id) })) };
}
