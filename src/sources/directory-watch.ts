import { type FSWatcher, watch } from 'node:fs';
import { readlink } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

const MAX_LINKS = 16;

/**
 * Tells that something happened around a set of files. It watches folders, never files: a watch on a file dies with its
 * inode at the first rename (kubernetes#111947). Every folder that a symlink passes through is watched, so that a swap of
 * `..data` is seen. Watches are a hint for speed; the poll in file-source.ts is what can be relied on.
 */
export class DirectoryWatch {
  readonly #watchers = new Map<string, FSWatcher>();

  constructor(readonly onEvent: () => void) {}

  /** Watches exactly the folders these files depend on now. */
  async follow(files: readonly string[]): Promise<void> {
    const wanted = new Set<string>();
    for (const file of files) for (const folder of await foldersOf(file)) wanted.add(folder);
    for (const [folder, watcher] of this.#watchers) {
      if (wanted.has(folder)) continue;
      watcher.close();
      this.#watchers.delete(folder);
    }
    for (const folder of wanted) if (!this.#watchers.has(folder)) this.#open(folder);
  }

  close(): void {
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #open(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => this.onEvent());
      watcher.on('error', () => {
        watcher.close();
        this.#watchers.delete(folder);
        this.onEvent();
      });
      this.#watchers.set(folder, watcher);
    } catch {
      // The folder is gone or cannot be watched: the poll finds what happens there.
    }
  }
}

/** The folder of the file, and of each file that its symlinks lead over. */
async function foldersOf(file: string): Promise<string[]> {
  const folders: string[] = [];
  let pending = [file];
  for (let hops = 0; pending.length > 0 && hops < MAX_LINKS; hops++) {
    const next: string[] = [];
    for (const path of pending) {
      const folder = dirname(path);
      if (folders.includes(folder)) continue;
      folders.push(folder);
      // The folder itself may be a link (`..data`), and so may the file.
      for (const candidate of [path, folder]) {
        const link = await readlink(candidate).catch(() => undefined);
        if (link !== undefined) next.push(resolve(dirname(candidate), link));
      }
    }
    pending = next;
  }
  return folders;
}
