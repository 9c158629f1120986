import { checkTogether, type GrantList, grantListOf } from '../config/grants.js';
import { obstaclesIn, whyUnusable } from '../config/grants-check.js';
import { DAY_MS, type ExceptionInput, keyOfException } from '../policy/exception.js';
import { type Policy, withGrants } from '../policy/policy.js';
import { err, ok, type Result } from '../reasons.js';
import type { FileSource } from './file-source.js';
import { GrantFile } from './grant-file.js';
import type { Source } from './source.js';

/** Other processes may write the same file at the same time: each looks again until its own word is in it. */
const MAX_ROUNDS = 5;
const RETRY_MS = 5000;
/** A dead grant stays to be seen for so long; then the next writing leaves it out. Its evidence is in the records. */
const KEPT_DEAD_MS = DAY_MS;

/** What it needs of whoever joins snapshots. */
export interface GrantHost {
  /** Looks at the source now, and puts in force what it finds. Resolves when that is done. */
  look(source: Source): Promise<unknown>;
  /** Puts in force what the source's owner says now. */
  rejoin(source: Source): void;
}

/** Why nothing was granted: 409 what was asked for cannot be, 500 it cannot be written down. */
export interface GrantRefusal {
  readonly status: 409 | 500;
  readonly detail: string;
}

/** A grant that stands in the file and cannot be in force beside the policy, and why. */
export interface UnusableGrant {
  readonly grant: ExceptionInput;
  readonly problem: string;
}

interface Joined {
  readonly base: Policy;
  readonly revision: string;
  readonly policy: Policy;
  readonly unusable: readonly UnusableGrant[];
}

/**
 * Just-in-time grants: in force when they stand in their file, on the disk, and are read back from there; out of force
 * the moment they are withdrawn, whether or not the file can be written. People may write the file as well.
 */
export class GrantStore {
  readonly file: GrantFile;
  /** Ids that are withdrawn and may still stand in the file. */
  readonly #withheld: Set<string>;
  #joined: Joined | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param from Another file's: what was withdrawn there must not come back by this one. */
  constructor(file: string, maxLengthMs: number, nowMs: () => number, from?: GrantStore) {
    this.#withheld = new Set(from === undefined ? [] : from.#withheld);
    this.file = new GrantFile(file, maxLengthMs, nowMs);
  }

  get source(): FileSource<GrantList> {
    return this.file.source;
  }

  /** What stands in the file and is not withdrawn. */
  get grants(): readonly ExceptionInput[] {
    const kept = this.file.grants;
    return this.#withheld.size === 0 ? kept : kept.filter(({ id }) => !this.#withheld.has(id));
  }

  /** Of the last joining. */
  get unusable(): readonly UnusableGrant[] {
    return this.#joined?.unusable ?? [];
  }

  /** `base` with these grants; the same object while neither says anything new. */
  joinedWith(base: Policy): Policy {
    const { grants } = this;
    const { revision } = grantListOf(grants);
    const known = this.#joined;
    if (known !== undefined && known.base === base && known.revision === revision) return known.policy;
    const obstacles = obstaclesIn(base);
    const unusable: UnusableGrant[] = [];
    const usable = grants.filter((grant) => {
      const problem = whyUnusable(grant, obstacles);
      if (problem !== undefined) unusable.push({ grant, problem: problem.message });
      return problem === undefined;
    });
    const policy = usable.length === 0 ? base : withGrants(base, usable);
    this.#joined = { base, revision, policy, unusable };
    return policy;
  }

  /** Writes them down, then puts them in force. @returns those that are new, or why none was granted. */
  add(
    grants: readonly ExceptionInput[],
    host: GrantHost,
  ): Promise<Result<readonly ExceptionInput[], GrantRefusal>> {
    return this.#inTurn(async () => {
      const fresh = await this.#fresh(grants, host);
      if (!fresh.ok || fresh.value.length === 0) return fresh;
      const added = await this.#write(fresh.value, host);
      if (added.ok) return fresh;
      await this.#undo(fresh.value, host);
      return err({ status: 500, detail: added.error });
    });
  }

  /**
   * Out of force at once; then out of the file. `isKept` says why it still stands there.
   * @returns undefined where there is no grant of this id.
   */
  async withdraw(
    id: string,
    host: GrantHost,
  ): Promise<{ readonly grant: ExceptionInput; readonly isKept: string | undefined } | undefined> {
    if (this.#find(id) === undefined) await this.#inTurn(() => host.look(this.source)); // it may just have come
    const grant = this.#find(id);
    if (grant === undefined) return undefined;
    if (!this.#withheld.has(id)) {
      this.#withheld.add(id);
      host.rejoin(this.source);
    }
    const cleaned = await this.#inTurn(() => this.#clean(host));
    return { grant, isKept: cleaned.ok ? undefined : cleaned.error };
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
  }

  #find(id: string): ExceptionInput | undefined {
    return this.file.grants.find((grant) => grant.id === id);
  }

  /** Those that do not stand there word for word. */
  async #fresh(
    grants: readonly ExceptionInput[],
    host: GrantHost,
  ): Promise<Result<readonly ExceptionInput[], GrantRefusal>> {
    await host.look(this.source);
    const foreign = await this.file.whyNotOurs();
    if (foreign !== undefined) return err({ status: 500, detail: foreign });
    const { nowMs } = this.file.limit;
    const living = this.grants.filter(({ expiresMs }) => nowMs < expiresMs); // the id of a dead one is free
    const known = new Map(living.map((grant) => [grant.id, keyOfException(grant)]));
    const fresh = grants.filter((grant) => known.get(grant.id) !== keyOfException(grant));
    const taken = fresh.find(({ id }) => known.has(id));
    if (taken !== undefined)
      return err({
        status: 409,
        detail: `"${taken.id}" is the id of a grant that says something else: withdraw it first`,
      });
    const ids = new Set(fresh.map(({ id }) => id));
    const [problem] = checkTogether([...this.#lasting().filter(({ id }) => !ids.has(id)), ...fresh]);
    return problem === undefined
      ? ok(fresh)
      : err({ status: 409, detail: `${this.file.path}: ${problem.message}` });
  }

  async #write(fresh: readonly ExceptionInput[], host: GrantHost): Promise<Result<void, string>> {
    const keys = fresh.map(keyOfException);
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const ids = new Set(fresh.map(({ id }) => id));
      const others = this.#lasting().filter(({ id }) => !ids.has(id));
      const written = await this.file.replace([...others, ...fresh]);
      if (!written.ok) return written;
      await host.look(this.source);
      const kept = new Set(this.file.grants.map(keyOfException));
      if (keys.every((key) => kept.has(key))) {
        // Not before: until it is read, another that was withdrawn under its id may stand there.
        const wasWithheld = fresh.some(({ id }) => this.#withheld.has(id));
        for (const { id } of fresh) this.#withheld.delete(id);
        if (wasWithheld) host.rejoin(this.source);
        return ok(undefined);
      }
      const foreign = await this.file.whyNotOurs();
      if (foreign !== undefined) return err(foreign);
    }
    return err(`${this.file.path}: something else keeps writing there`);
  }

  /** What could not be put on the disk for certain may stand there all the same: nobody was told that it is granted. */
  async #undo(fresh: readonly ExceptionInput[], host: GrantHost): Promise<void> {
    for (const { id } of fresh) this.#withheld.add(id);
    host.rejoin(this.source);
    await this.#clean(host);
  }

  /** Takes out of the file what is withdrawn. An error says why it still stands there; it is tried again by itself. */
  async #clean(host: GrantHost): Promise<Result<void, string>> {
    clearTimeout(this.#retry);
    const cleaned = await this.#cleanNow(host);
    if (!cleaned.ok && !this.#isClosed)
      this.#retry = setTimeout(() => void this.#inTurn(() => this.#clean(host)), RETRY_MS).unref();
    return cleaned;
  }

  async #cleanNow(host: GrantHost): Promise<Result<void, string>> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await host.look(this.source);
      const foreign = await this.file.whyNotOurs();
      if (foreign !== undefined) return err(foreign);
      // A file that is gone holds nothing, but its last good stays: it has to be made again without them.
      if (!this.file.grants.some(({ id }) => this.#withheld.has(id))) {
        this.#withheld.clear();
        return ok(undefined);
      }
      const written = await this.file.replace(this.#lasting());
      if (!written.ok) return written;
    }
    return err(`${this.file.path}: something else keeps writing there`);
  }

  /** What a new version of the file keeps of the present one. */
  #lasting(): ExceptionInput[] {
    const { nowMs } = this.file.limit;
    return this.grants.filter(({ expiresMs }) => nowMs - expiresMs < KEPT_DEAD_MS);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }
}
