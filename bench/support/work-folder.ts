import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder of one run; gone when the run is over. */
export class WorkFolder {
  readonly path = mkdtempSync(join(tmpdir(), 'countersign-bench-'));
  /** Logs and records have a folder of their own, as in any deployment: the one with the configuration is watched. */
  readonly logs = join(this.path, 'logs');

  constructor() {
    mkdirSync(this.logs);
    process.once('exit', () => this.remove()); // it holds keys, if throwaway ones
  }

  /** Writes a file and returns its path. */
  write(name: string, content: string | Uint8Array): string {
    const path = join(this.path, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  /** Puts a file in place by rename. @returns when, as `performance.now()` just before the rename. */
  replace(name: string, content: string | Uint8Array): number {
    const next = this.write(`${name}.next`, content);
    const atMs = performance.now();
    renameSync(next, join(this.path, name));
    return atMs;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  log(name: string): string {
    return join(this.logs, name);
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
