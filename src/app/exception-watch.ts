import type { LifecycleRecord } from '../audit/record.js';
import type { GrantWithdrawal } from '../config/grants.js';
import { DAY_MS, type ExceptionInput, HOUR_MS, keyOfException } from '../policy/exception.js';

type ExceptionEvent = Extract<LifecycleRecord['event'], `exception.${string}`>;

/** Where the life of exceptions is told, and by which clock. */
export interface ExceptionEars {
  nowMs(): number;
  record(event: ExceptionEvent, exception: ExceptionInput, detail: string): void;
}

/** The clock may step, and a timer holds 24 days at most: looked at so often at least, which costs a comparison. */
const TICK_MS = 1000;
/** Ids that are gone and whose moments are remembered: no reload tells the same moment twice. */
const MAX_REMEMBERED = 10_000;

interface Moment {
  readonly event: Exclude<ExceptionEvent, 'exception.withdrawn'>;
  readonly atMs: number;
}

/** Tells the life of each exception: begun, a day and an hour before its end, ended, taken back before. Each moment once. */
export class ExceptionWatch {
  #known: ReadonlyMap<string, ExceptionInput> = new Map();
  /** By id: moments that were told, or passed over. */
  readonly #told = new Map<string, Set<string>>();
  readonly #withdrawals = new Map<string, GrantWithdrawal>();
  #isFirst = true;
  #nextMs = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(readonly ears: ExceptionEars) {}

  /** These are in the policy now. At the first call their states are told, whenever they came to be so. */
  adopted(exceptions: readonly ExceptionInput[]): void {
    const nowMs = this.ears.nowMs();
    const now = new Map(exceptions.map((exception) => [exception.id, exception]));
    for (const [id, exception] of this.#known) if (!now.has(id)) this.#gone(exception, nowMs);
    for (const [id, exception] of now) {
      const before = this.#known.get(id);
      const isDead = before !== undefined && nowMs >= before.expiresMs;
      if (isDead && nowMs < exception.expiresMs) this.#told.delete(id); // granted anew: another life
      if ((before === undefined || isDead) && !this.#isFirst) this.#passOver(exception, nowMs);
    }
    this.#known = now;
    this.#isFirst = false;
    this.#withdrawals.clear();
    this.#look(nowMs);
  }

  /** Right before it is taken out: who does so, and why. */
  withdrawing(id: string, withdrawal: GrantWithdrawal): void {
    this.#withdrawals.set(id, withdrawal);
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }

  #gone(exception: ExceptionInput, nowMs: number): void {
    if (nowMs >= exception.expiresMs) return; // its end was told
    this.#told.delete(exception.id);
    const order = this.#withdrawals.get(exception.id);
    const why = order === undefined ? 'its entry is gone' : `${order.reason}, by ${order.by}`;
    this.ears.record('exception.withdrawn', exception, `${describeException(exception)}; withdrawn: ${why}`);
  }

  /** What is granted for hours has no day before its end to warn of. */
  #passOver(exception: ExceptionInput, nowMs: number): void {
    const told = this.#toldOf(exception.id);
    for (const moment of momentsOf(exception))
      if (moment.event === 'exception.expiring' && moment.atMs <= nowMs) told.add(keyOf(moment));
  }

  #look(nowMs: number): void {
    this.#nextMs = Number.POSITIVE_INFINITY;
    for (const exception of this.#known.values()) {
      const told = this.#toldOf(exception.id);
      const untold = momentsOf(exception).filter((moment) => !told.has(keyOf(moment)));
      const due = untold.filter(({ atMs }) => atMs <= nowMs);
      for (const moment of due) told.add(keyOf(moment));
      for (const event of worthTelling(due)) this.ears.record(event, exception, describeException(exception));
      for (const { atMs } of untold) if (atMs > nowMs) this.#nextMs = Math.min(this.#nextMs, atMs);
    }
    this.#wait(nowMs);
  }

  #wait(nowMs: number): void {
    clearTimeout(this.#timer);
    if (this.#isClosed || this.#nextMs === Number.POSITIVE_INFINITY) return;
    const delayMs = Math.min(TICK_MS, Math.max(1, this.#nextMs - nowMs));
    this.#timer = setTimeout(() => this.#tick(), delayMs).unref();
  }

  #tick(): void {
    const nowMs = this.ears.nowMs();
    if (nowMs >= this.#nextMs) this.#look(nowMs);
    else this.#wait(nowMs);
  }

  #toldOf(id: string): Set<string> {
    const known = this.#told.get(id);
    if (known !== undefined) return known;
    for (const old of this.#told.keys()) {
      if (this.#told.size < MAX_REMEMBERED) break;
      if (!this.#known.has(old)) this.#told.delete(old);
    }
    const told = new Set<string>();
    this.#told.set(id, told);
    return told;
  }
}

/** In the order of time. */
const momentsOf = ({ startsMs, expiresMs }: ExceptionInput): readonly Moment[] => [
  { event: 'exception.started', atMs: startsMs ?? Number.NEGATIVE_INFINITY },
  { event: 'exception.expiring', atMs: expiresMs - DAY_MS },
  { event: 'exception.expiring', atMs: expiresMs - HOUR_MS },
  { event: 'exception.expired', atMs: expiresMs },
];

const keyOf = ({ event, atMs }: Moment): string => `${event} ${atMs}`;

/** Of moments that came together (the clock stepped, the process has just started) what still says something. */
function worthTelling(due: readonly Moment[]): ReadonlySet<Moment['event']> {
  const events = new Set(due.map(({ event }) => event));
  return events.has('exception.expired') ? new Set(['exception.expired']) : events;
}

export function describeException(exception: ExceptionInput): string {
  const { id, owner, reason, startsMs, expiresMs, by } = exception;
  const from = startsMs === undefined ? '' : ` from ${new Date(startsMs).toISOString()}`;
  const granted = by === undefined ? '' : `, granted by ${by}`;
  return `${id} of ${owner} (${reason})${from} until ${new Date(expiresMs).toISOString()}${granted}`;
}

const MAX_SHOWN = 20;

/** What a new policy's exceptions say that the old one's did not, and the other way round; for the record of the change. */
export function describeExceptionChange(
  next: readonly ExceptionInput[],
  before: readonly ExceptionInput[],
): string | undefined {
  const then = new Map(before.map((exception) => [exception.id, exception]));
  const now = new Set(next.map(({ id }) => id));
  const lines = next.flatMap((exception) => {
    const old = then.get(exception.id);
    if (old === undefined) return `added exception ${describeException(exception)}`;
    return keyOfException(old) === keyOfException(exception)
      ? []
      : `changed exception ${describeException(exception)}`;
  });
  for (const old of before) if (!now.has(old.id)) lines.push(`removed exception ${describeException(old)}`);
  const rest = lines.length - MAX_SHOWN;
  return [...lines.slice(0, MAX_SHOWN), ...(rest > 0 ? [`and ${rest} more`] : [])].join('; ') || undefined;
}
