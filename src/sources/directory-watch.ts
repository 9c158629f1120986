import { type FSWatcher, watch } from 'node:fs';
import { readlink, stat } from 'node:fs/promises';
import { basename, dirname, join, parse, resolve, sep } from 'node:path';

/** Symlinks on the way to one file; as Linux has it (ELOOP). */
const MAX_LINKS = 40;
/** As a file name: every name in the folder matters. */
const WHOLE = '*';

interface Watched {
  readonly watcher: FSWatcher;
  /** Device and inode that the watch hangs on: a folder that was made anew under its name is another one. */
  readonly inode: string;
}

/**
 * Tells that something happened around a set of files. It watches folders, never files: a watch on a file dies with its
 * inode at the first rename (kubernetes#111947). Every folder that a symlink passes through is watched, so that a swap of
 * `..data` is seen. Watches are a hint for speed; the poll of the keeper is what can be relied on.
 */
export class DirectoryWatch {
  readonly #watched = new Map<string, Watched>();
  /** Folder to the names in it that matter: the record file may well lie beside them, and is written all the time. */
  #names: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  #files: readonly string[] = [];
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(readonly onEvent: () => void) {}

  /** Watches exactly the folders these files depend on now. Call again when links or folders may have changed. */
  follow(files: readonly string[]): Promise<void> {
    this.#files = files;
    this.#running ??= this.#follow().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  close(): void {
    this.#closed = true;
    for (const folder of [...this.#watched.keys()]) this.#drop(folder);
  }

  async #follow(): Promise<void> {
    const names = new Map<string, Set<string>>();
    const linkAt = rememberedLinks();
    for (const file of new Set(this.#files)) {
      for (const place of await placesOf(file, linkAt)) {
        const folder = dirname(place);
        const known = names.get(folder);
        if (known === undefined) names.set(folder, new Set([basename(place)]));
        else known.add(basename(place));
      }
    }
    const wanted = new Map<string, string>();
    for (const folder of names.keys()) wanted.set(folder, await inodeOf(folder));
    if (this.#closed) return;
    this.#names = names;
    for (const [folder, { inode }] of this.#watched) if (wanted.get(folder) !== inode) this.#drop(folder);
    for (const [folder, inode] of wanted) {
      if (inode !== '' && !this.#watched.has(folder)) this.#open(folder, inode);
    }
  }

  #open(folder: string, inode: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, (_event, name) => {
        const names = this.#names.get(folder);
        if (name === null || names?.has(name) || names?.has(WHOLE)) this.onEvent();
      });
      watcher.on('error', () => {
        if (this.#watched.get(folder)?.watcher === watcher) this.#drop(folder);
        this.onEvent();
      });
      this.#watched.set(folder, { watcher, inode });
    } catch {
      // The folder is gone or no watch is to be had: the poll finds what happens there.
    }
  }

  #drop(folder: string): void {
    this.#watched.get(folder)?.watcher.close();
    this.#watched.delete(folder);
  }
}

async function inodeOf(folder: string): Promise<string> {
  const info = await stat(folder, { bigint: true }).catch(() => undefined);
  return info === undefined ? '' : `${info.dev}:${info.ino}`;
}

/** What the link at a path says; undefined where there is none. */
type LinkReader = (path: string) => Promise<string | undefined>;

/** Looks at each path once: a thousand files of one folder share the way to it. Good for one round, for links change. */
function rememberedLinks(): LinkReader {
  const known = new Map<string, Promise<string | undefined>>();
  return (path) => {
    const link = known.get(path) ?? readlink(path).catch(() => undefined);
    known.set(path, link);
    return link;
  };
}

/** Every path whose change of name can change what the file means: each link on the way, and the file at the end. */
async function placesOf(file: string, linkAt: LinkReader): Promise<string[]> {
  const places: string[] = [];
  let path = resolve(file);
  for (let links = 0; links < MAX_LINKS; links++) {
    const link = await firstLink(path, linkAt);
    if (link === undefined) break;
    places.push(link.at);
    path = link.leadsTo;
  }
  return [...places, path];
}

/** The first component of the path that is a link, and the whole path once it is followed. */
async function firstLink(
  path: string,
  linkAt: LinkReader,
): Promise<{ at: string; leadsTo: string } | undefined> {
  const { root } = parse(path);
  const parts = path.slice(root.length).split(sep);
  let at = root;
  for (const [i, part] of parts.entries()) {
    const target = await linkAt(join(at, part));
    if (target !== undefined)
      return { at: join(at, part), leadsTo: resolve(at, target, ...parts.slice(i + 1)) };
    at = join(at, part);
  }
  return undefined;
}
