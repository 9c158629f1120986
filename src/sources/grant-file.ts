import { constants } from 'node:fs';
import { access, lstat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ExceptionLimit } from '../config/exception-schema.js';
import { formatGrants, type GrantList, grantListOf, parseGrants } from '../config/grants.js';
import { formatProblems } from '../config/problem.js';
import type { ExceptionInput } from '../policy/exception.js';
import { err, ok, type Result } from '../reasons.js';
import { FileSource } from './file-source.js';
import { codeOf, replaceSynced } from './synced-file.js';

/** The file of grants: written whole by us and by people, read and watched like any other. */
export class GrantFile {
  readonly source: FileSource<GrantList>;
  /** Once there was a file, its absence is a loss and not an empty list. */
  #hasSeenFile = false;
  /** What this process wrote last, and how it reads. */
  #written: { readonly bytes: Buffer; readonly list: GrantList } | undefined;

  constructor(
    readonly path: string,
    readonly maxLengthMs: number,
    readonly nowMs: () => number,
  ) {
    this.source = new FileSource<GrantList>({
      name: 'grants',
      files: () => [],
      alsoFiles: () => [path],
      parse: (contents) => this.#parse(contents.get(path)),
    });
  }

  get limit(): ExceptionLimit {
    return { nowMs: this.nowMs(), maxLengthMs: this.maxLengthMs };
  }

  /** As it was last read and found good. */
  get grants(): readonly ExceptionInput[] {
    return this.source.value?.grants ?? [];
  }

  /** A file that somebody broke holds what they meant: it is theirs to mend. One that is gone is made again. */
  async whyNotOurs(): Promise<string | undefined> {
    const { lastError } = this.source;
    if (lastError === undefined) return undefined;
    return (await this.#isMissing()) ? undefined : lastError;
  }

  /** Puts these in place of what stands there, on the disk. In force they are once they are read back. */
  async replace(grants: readonly ExceptionInput[]): Promise<Result<void, string>> {
    const text = formatGrants(grants);
    const { list, problems } = parseGrants(text, this.path, this.limit);
    if (list?.revision !== grantListOf(grants).revision)
      return err(problems[0]?.message ?? 'what would be written does not read back as what is granted');
    this.#written = { bytes: Buffer.from(text), list };
    return replaceSynced(this.path, text);
  }

  #isMissing(): Promise<boolean> {
    return lstat(this.path).then(
      () => false,
      (cause: unknown) => codeOf(cause) === 'ENOENT',
    );
  }

  async #parse(bytes: Buffer | undefined): Promise<Result<GrantList, string>> {
    if (bytes === undefined) return this.#parseMissing();
    if (this.#written?.bytes.equals(bytes)) {
      this.#hasSeenFile = true;
      return ok(this.#written.list);
    }
    const { list, problems } = parseGrants(bytes, this.path, this.limit);
    if (list === undefined) return err(formatProblems(problems));
    this.#hasSeenFile = true;
    return ok(list);
  }

  /** Nothing was granted yet, or it cannot be read: each of what it held dies at its own time, and not before. */
  async #parseMissing(): Promise<Result<GrantList, string>> {
    if (this.#hasSeenFile) return err(`${this.path}: is gone; what it held stays in force until it expires`);
    if (!(await this.#isMissing())) return err(`${this.path}: cannot be read`);
    try {
      await access(dirname(this.path), constants.R_OK | constants.X_OK);
      return ok(grantListOf([]));
    } catch (cause) {
      return err(`${dirname(this.path)}: cannot be read (${codeOf(cause)})`);
    }
  }
}
