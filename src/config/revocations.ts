import { createHash } from 'node:crypto';
import { createRevocationList, type RevocationEntry, type RevocationList } from '../identity/revocation.js';
import { checkShape } from './issues.js';
import type { Problem } from './problem.js';
import { type RawRevocations, revocationSchema } from './revocation-schema.js';
import { readYaml } from './yaml-text.js';

/** Reads revoked.yaml whole: a list, or every problem in it. Half a revocation list is never put in force. */
export function parseRevocations(
  text: string | Uint8Array,
  file: string,
): { readonly list?: RevocationList; readonly problems: readonly Problem[] } {
  const { value, problems } = checkShape(revocationSchema, readYaml(text, file));
  if (value === undefined) return { problems };
  const entries = value.revoked.map(toEntry);
  const revision = createHash('sha256').update(JSON.stringify(entries)).digest('hex').slice(0, 16);
  return { list: createRevocationList(entries, revision), problems: [] };
}

type RawEntry = RawRevocations['revoked'][number];

/** The same order of keys each time, and none that is undefined: the revision is taken over this. */
const toEntry = (raw: RawEntry): RevocationEntry => ({
  ...(raw.id === undefined ? {} : { id: raw.id.uri }),
  ...(raw.idPrefix === undefined ? {} : { idPrefix: raw.idPrefix.uri }),
  ...(raw.serial === undefined ? {} : { serial: raw.serial.replace(/^0+(?=.)/, '') }),
  ...(raw.issuer === undefined ? {} : { issuer: raw.issuer }),
  ...(raw.sha256 === undefined ? {} : { sha256: raw.sha256 }),
  ...(raw.keySha256 === undefined ? {} : { keySha256: raw.keySha256 }),
  reason: raw.reason,
  ...(raw.at === undefined ? {} : { at: raw.at }),
  ...(raw.issuedBefore === undefined ? {} : { issuedBefore: raw.issuedBefore }),
  ...(raw.until === undefined ? {} : { until: raw.until }),
});
