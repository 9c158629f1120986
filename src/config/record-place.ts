import type { Config } from './config.js';
import type { Problem } from './problem.js';
import type { KeyPath } from './yaml-text.js';

/** A reader behind a socket has a kernel's buffer before it, and no disk that could be waited for. */
export function checkRecordPlace(
  { audit: { file, durability } }: Config,
  at: (path: KeyPath, message: string) => Problem,
): Problem[] {
  if (durability !== 'synced' || !file.startsWith('unix:')) return [];
  const message = '`synced` needs a regular file; a reader behind a unix socket can be `written` to';
  return [at(['audit', 'durability'], message)];
}
