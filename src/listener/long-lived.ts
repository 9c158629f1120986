import type { Connection } from './connection.js';
import { longLivedRecord } from './connection-record.js';
import type { ListenerContext } from './context.js';

/** Says once of a credential that is let in that it lives longer than the configuration calls usual. */
export function flagLongLived(
  { snapshots, records, clock, name }: ListenerContext,
  { credential, id }: Connection,
): void {
  const limitMs = snapshots.current?.config.identityOptions.flagSvidLifetimeMs;
  if (limitMs === undefined || credential?.svid === undefined) return;
  const { leaf } = credential.svid;
  const isLong = leaf.notAfterMs - leaf.notBeforeMs > limitMs;
  if (isLong && !credential.isLongLived)
    records.write(longLivedRecord(name, id, credential, snapshots.current, clock.nowMs()));
  credential.isLongLived = isLong;
}
