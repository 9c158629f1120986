import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { bundlesInFolder, type FolderNames } from '../identity/bundle-file-names.js';
import { err, ok, type Result } from '../reasons.js';

/** More than this is the wrong folder. */
const MAX_ENTRIES = 10_000;

/**
 * Lists a folder's bundles by trust domain; nothing is opened. Subfolders count for nothing. A link that leads nowhere counts by its
 * name: while a Kubernetes volume is swapped it is not gone, and whoever reads it finds out. Errors: text with the folder's path.
 */
export async function listBundleFolder(path: string): Promise<Result<FolderNames, string>> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    if (entries.length > MAX_ENTRIES) return err(`${path}: holds more than ${MAX_ENTRIES} entries`);
    const names: string[] = [];
    for (const entry of entries) {
      const isFolder = entry.isSymbolicLink()
        ? await leadsToFolder(join(path, entry.name))
        : entry.isDirectory();
      if (!isFolder) names.push(entry.name);
    }
    return ok(bundlesInFolder(names));
  } catch (cause) {
    return err(`${path}: cannot be listed (${String((cause as { code?: unknown }).code ?? cause)})`);
  }
}

async function leadsToFolder(path: string): Promise<boolean> {
  const info = await stat(path).catch(() => undefined);
  return info?.isDirectory() ?? false;
}
