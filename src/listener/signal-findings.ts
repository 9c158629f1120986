import type { PrincipalFields, SharedFields } from '../audit/record.js';

/** Something that was found of credentials, from when it was told until it has been over for a while. */
export interface Finding {
  readonly principal: PrincipalFields | undefined;
  readonly sinceMs: number;
  /** When it was so last. */
  lastMs: number;
  /** As it was found last. */
  shared: SharedFields;
  /** Whether it is so now. */
  readonly holds: (nowMs: number) => boolean;
}

/** So many at once; beyond that the oldest is forgotten, and told once more where it is found again. */
const CAPACITY = 10_000;

/** What has been told and lasts: nothing is told twice while it does. */
export class Findings {
  readonly #findings = new Map<string, Finding>();
  #forgotten = 0;

  constructor(readonly capacity = CAPACITY) {}

  /** How many were forgotten while they lasted. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** True where it is to be told: it is new, or was over for `overMs`. */
  note(
    subject: string,
    finding: Omit<Finding, 'sinceMs' | 'lastMs'>,
    nowMs: number,
    overMs: number,
  ): boolean {
    const key = `${finding.shared.kind} ${subject}`;
    const known = this.#findings.get(key);
    if (known !== undefined && !isOver(known, nowMs, overMs)) {
      known.lastMs = nowMs;
      known.shared = finding.shared;
      return false;
    }
    this.#findings.delete(key);
    this.#findings.set(key, { ...finding, sinceMs: nowMs, lastMs: nowMs });
    if (this.#findings.size > this.capacity) this.#forgetOldest(nowMs, overMs);
    return true;
  }

  /** Something of it may just have ended: it was so until now. */
  touch(kind: SharedFields['kind'], subject: string, nowMs: number): void {
    const known = this.#findings.size === 0 ? undefined : this.#findings.get(`${kind} ${subject}`);
    if (known?.holds(nowMs)) known.lastMs = nowMs;
  }

  /** All that last. */
  current(nowMs: number, overMs: number): readonly Finding[] {
    for (const [key, finding] of this.#findings)
      if (isOver(finding, nowMs, overMs)) this.#findings.delete(key);
    return [...this.#findings.values()];
  }

  #forgetOldest(nowMs: number, overMs: number): void {
    for (const [key, finding] of this.#findings) {
      if (!isOver(finding, nowMs, overMs)) this.#forgotten++;
      this.#findings.delete(key);
      return;
    }
  }
}

function isOver(finding: Finding, nowMs: number, overMs: number): boolean {
  if (nowMs - finding.lastMs < overMs) return false;
  if (!finding.holds(nowMs)) return true;
  finding.lastMs = nowMs;
  return false;
}
