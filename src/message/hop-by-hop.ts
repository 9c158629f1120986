import { isAll, TOKEN, trimOws } from './char-class.js';

export interface ConnectionOptions {
  readonly upgrade: boolean;
  /** Lower-case names that this hop alone may see (RFC 9110 7.6.1); undefined when there are none, as nearly always. */
  readonly named: ReadonlySet<string> | undefined;
}

export const NO_CONNECTION_OPTIONS: ConnectionOptions = { upgrade: false, named: undefined };
const UPGRADE_ONLY: ConnectionOptions = { upgrade: true, named: undefined };

/** Reads all Connection lines; undefined when one holds what is not a token. */
export function parseConnection(lines: readonly string[]): ConnectionOptions | undefined {
  const first = lines[0];
  if (lines.length === 1 && first !== undefined) {
    const common = COMMON.get(first);
    if (common !== undefined) return common;
  }
  let upgrade = false;
  const named = new Set<string>();
  for (const line of lines) {
    for (const item of line.split(',')) {
      const option = trimOws(item).toLowerCase();
      if (option === '') continue;
      if (!isAll(option, TOKEN)) return undefined;
      if (option === 'upgrade') upgrade = true;
      else if (option !== 'close' && option !== 'keep-alive') named.add(option);
    }
  }
  return { upgrade, named: named.size === 0 ? undefined : named };
}

/** The values nearly every client sends, without splitting. */
const COMMON: ReadonlyMap<string, ConnectionOptions> = new Map([
  ['keep-alive', NO_CONNECTION_OPTIONS],
  ['Keep-Alive', NO_CONNECTION_OPTIONS],
  ['close', NO_CONNECTION_OPTIONS],
  ['Upgrade', UPGRADE_ONLY],
  ['upgrade', UPGRADE_ONLY],
]);
