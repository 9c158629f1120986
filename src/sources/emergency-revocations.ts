import { constants } from 'node:fs';
import { access, lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatProblems } from '../config/problem.js';
import {
  formatRevocations,
  joinRevocations,
  keyOfRevocation,
  parseRevocations,
  revocationListOf,
} from '../config/revocations.js';
import type { RevocationEntry, RevocationList } from '../identity/revocation.js';
import { err, ok, type Result } from '../reasons.js';
import { FileSource } from './file-source.js';
import { codeOf, replaceSynced } from './synced-file.js';

/** What POST /revocations may hold: it is for emergencies, and every change of it is read and written whole. */
const MAX_EMERGENCY_ENTRIES = 1000;
/** Other processes may write the same file at the same time: each looks again until its own entries are in it. */
const MAX_ROUNDS = 5;
const RETRY_MS = 5000;

/** What it needs of whoever joins snapshots. */
export interface EmergencyHost {
  /** Looks at the source now, and puts in force what it finds. Resolves when that is done. */
  look(source: FileSource<unknown>): Promise<unknown>;
  /** Puts in force what the source's owner says now. */
  rejoin(source: FileSource<unknown>): void;
}

/**
 * Revocations that came through the admin listener: in force when they are said, then kept in a file, so that a restart
 * does not forget them. The file is watched like any other: replicas that share it share what stands in it.
 */
export class EmergencyRevocations {
  readonly source: FileSource<RevocationList>;
  /** In force and not in the file yet. */
  #unkept: readonly RevocationEntry[];
  /** Once there was a file, its absence is a loss and not an empty list. */
  #hasSeenFile = false;
  #list: RevocationList | undefined;
  #joined: readonly [base: RevocationList, own: RevocationList, both: RevocationList] | undefined;
  #turn: Promise<unknown> = Promise.resolve();
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param from Another file's: what it could not keep is not lost with it. */
  constructor(
    readonly file: string,
    from?: EmergencyRevocations,
  ) {
    this.#unkept = from === undefined ? [] : from.#unkept;
    this.source = new FileSource<RevocationList>({
      name: 'emergency-revocations',
      files: () => [],
      alsoFiles: () => [file],
      hasShrunk: (next, current) => next.entries.length < current.entries.length,
      parse: (contents) => this.#parse(contents.get(file)),
    });
  }

  /** Everything of it that is in force, kept or not. */
  get list(): RevocationList {
    const entries = joinRevocations(this.source.value?.entries ?? [], this.#unkept);
    const now = revocationListOf(entries);
    if (this.#list?.revision === now.revision) return this.#list;
    this.#list = now;
    return now;
  }

  /** `base` and this together; the same object while neither says anything new. */
  joinedWith(base: RevocationList): RevocationList {
    const own = this.list;
    if (own.entries.length === 0) return base;
    const known = this.#joined;
    if (known !== undefined && known[0] === base && known[1] === own) return known[2];
    const both = revocationListOf(joinRevocations(base.entries, own.entries));
    this.#joined = [base, own, both];
    return both;
  }

  /** Keys of what stands in the file. */
  get keptKeys(): ReadonlySet<string> {
    return new Set(this.source.value?.entries.map(keyOfRevocation));
  }

  /** Takes entries over into `list`, at once; `keep` comes after. @returns those that are new, or why none was taken. */
  hold(entries: readonly RevocationEntry[]): Result<readonly RevocationEntry[], string> {
    const { entries: known } = this.list;
    const all = joinRevocations(known, entries);
    if (all.length > MAX_EMERGENCY_ENTRIES)
      return err(
        `at most ${MAX_EMERGENCY_ENTRIES} are kept here, and there are ${known.length}: move some to the file under \`revocations\``,
      );
    const fresh = all.slice(known.length);
    this.#unkept = [...this.#unkept, ...fresh];
    return ok(fresh);
  }

  /** Writes what is not in the file yet. An error says why it is in force without being kept; it is tried again by itself. */
  keep(host: EmergencyHost): Promise<Result<void, string>> {
    return this.#inTurn(async () => {
      const kept = await this.#keep(host);
      if (!kept.ok) this.#keepLater(host);
      return kept;
    });
  }

  /** Once it is configured: what another file could not keep is kept here. */
  async keepInherited(host: EmergencyHost): Promise<void> {
    if (this.#unkept.length > 0) await this.keep(host);
  }

  /** Takes an entry out of the file, then out of force. @returns it, or undefined where there is none of this key. */
  withdraw(key: string, host: EmergencyHost): Promise<Result<RevocationEntry | undefined, string>> {
    return this.#inTurn(async () => {
      await host.look(this.source as FileSource<unknown>);
      const isOther = (entry: RevocationEntry): boolean => keyOfRevocation(entry) !== key;
      const { entries } = this.list;
      const entry = entries.find((candidate) => !isOther(candidate));
      if (entry === undefined) return ok(undefined);
      const foreign = (await this.#isMissing()) ? undefined : this.#whyNotOurs();
      if (foreign !== undefined) return foreign;
      const written = await this.#write(entries.filter(isOther));
      if (!written.ok) return written;
      this.#unkept = this.#unkept.filter(isOther);
      await host.look(this.source as FileSource<unknown>);
      if (this.keptKeys.has(key)) return err(`${this.file} still holds it: something else writes there too`);
      host.rejoin(this.source as FileSource<unknown>);
      return ok(entry);
    });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
  }

  async #keep(host: EmergencyHost): Promise<Result<void, string>> {
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await host.look(this.source as FileSource<unknown>);
      const kept = this.keptKeys;
      this.#unkept = this.#unkept.filter((entry) => !kept.has(keyOfRevocation(entry)));
      const isMissing = await this.#isMissing();
      const foreign = isMissing ? undefined : this.#whyNotOurs();
      if (foreign !== undefined) return foreign;
      if (this.#unkept.length === 0 && !isMissing) return ok(undefined);
      const written = await this.#write(this.list.entries);
      if (!written.ok) return written;
    }
    return err(`${this.file}: something else keeps writing there`);
  }

  /** A file that somebody broke holds what they meant: it is theirs to mend, not ours to write over. */
  #whyNotOurs(): ReturnType<typeof err<string>> | undefined {
    const { lastError } = this.source;
    return lastError === undefined ? undefined : err(lastError);
  }

  /** One that is gone is made again: nobody's meaning is in it. */
  #isMissing(): Promise<boolean> {
    return lstat(this.file).then(
      () => false,
      (cause: unknown) => codeOf(cause) === 'ENOENT',
    );
  }

  #keepLater(host: EmergencyHost): void {
    clearTimeout(this.#retry);
    if (this.#isClosed) return;
    this.#retry = setTimeout(() => void this.keep(host), RETRY_MS).unref();
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  async #parse(bytes: Buffer | undefined): Promise<Result<RevocationList, string>> {
    if (bytes === undefined) return this.#parseMissing();
    const { list, problems } = parseRevocations(bytes, this.file);
    if (list === undefined || problems.length > 0) return err(formatProblems(problems));
    this.#hasSeenFile = true;
    return ok(list);
  }

  /** Nothing was kept yet, or it cannot be read: to take the second for the first would forget every revocation. */
  async #parseMissing(): Promise<Result<RevocationList, string>> {
    if (this.#hasSeenFile) return err(`${this.file}: is gone; what it held stays in force`);
    try {
      await lstat(this.file);
      return err(`${this.file}: cannot be read`);
    } catch (cause) {
      if (codeOf(cause) !== 'ENOENT') return err(`${this.file}: cannot be read (${codeOf(cause)})`);
    }
    try {
      await access(dirname(this.file), constants.W_OK | constants.X_OK);
      return ok(revocationListOf([]));
    } catch (cause) {
      return err(
        `${dirname(this.file)}: cannot be written (${codeOf(cause)}): a revocation would not be kept`,
      );
    }
  }

  async #write(entries: readonly RevocationEntry[]): Promise<Result<void, string>> {
    const text = formatRevocations(entries);
    const readBack = parseRevocations(text, this.file).list;
    if (readBack?.revision !== revocationListOf(entries).revision)
      return err('what would be written does not read back as what is in force');
    return replaceSynced(this.file, text);
  }
}
