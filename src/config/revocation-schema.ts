import { z } from 'zod';
import { namespaceOf, type PrincipalId, parsePrincipalId } from '../identity/principal-id.js';
import { ok, type Result } from '../reasons.js';
import { hex, parsed, principalId, text, timestamp } from './schema-values.js';

const SELECTORS = ['id', 'idPrefix', 'serial', 'sha256', 'keySha256'] as const;

/** All of a trust domain, or of another namespace (`ci:`), may be meant. */
function parsePrefix(text: string): Result<Pick<PrincipalId, 'uri'>, string> {
  return namespaceOf(text) === text ? ok({ uri: text }) : parsePrincipalId(text);
}

const shape = z.strictObject({
  id: principalId('This workload, or this principal of tokens (`ci:octo/app`).').optional(),
  idPrefix: parsed(
    parsePrefix,
    z.string().describe('This ID and all below it, by whole segments.'),
  ).optional(),
  serial: hex('This serial number of `issuer`; quoted hexadecimal.').optional(),
  issuer: text('Issuer of `serial`, as the records write it.', 2048).optional(),
  sha256: hex(
    'Certificate with this SHA-256 fingerprint, or token with this SHA-256 of its text.',
    32,
  ).optional(),
  keySha256: hex('Any certificate for this public key (SHA-256 of its SPKI).', 32).optional(),
  reason: text('Why; it stands in the records.'),
  author: text('Who says so; it stands in the records.', 200).optional(),
  at: timestamp('In force from; left out = at once.').optional(),
  issuedBefore: timestamp(
    'Only credentials issued before this: lets a reissued workload back in.',
  ).optional(),
  until: timestamp('In force until; left out = for good.').optional(),
});

type Shape = Readonly<Partial<Record<(typeof SELECTORS)[number] | 'issuer' | 'at' | 'until', unknown>>>;

/** What no single key can show. */
function checkEntry(value: Shape, context: z.RefinementCtx): void {
  const given = SELECTORS.filter((key) => value[key] !== undefined);
  const complain = (message: string, path: string[] = []): void => {
    context.addIssue({ code: 'custom', message, path });
  };
  if (given.length === 0) complain(`must say what is revoked: one of ${SELECTORS.join(', ')}`);
  if (given.length > 1)
    complain(`must name one thing, not ${given.join(' and ')}: write an entry for each`, [given[1] ?? '']);
  // Serial numbers are unique only within an issuer (RFC 5280 4.1.2.2).
  if (value.serial !== undefined && value.issuer === undefined) complain('needs the `issuer`', ['serial']);
  if (value.serial === undefined && value.issuer !== undefined)
    complain('goes with `serial` only', ['issuer']);
  if (typeof value.until === 'number' && typeof value.at === 'number' && value.until <= value.at)
    complain('must be later than `at`', ['until']);
}

/** One request to revoke in an emergency: the same entries, and it must say who asks. */
export const revocationRequestSchema = z
  .array(shape.required({ author: true }).superRefine(checkEntry))
  .min(1, 'must hold at least one entry');

/** Why an entry is withdrawn, and who says so. */
export const withdrawalSchema = z.strictObject({
  author: text('Who says so.', 200),
  reason: text('Why.'),
});

export const revocationSchema = z
  .strictObject({
    version: z.literal(1).describe('Version of this file format.'),
    revoked: z.array(shape.superRefine(checkEntry)).describe('What is revoked.'),
  })
  .meta({ title: 'Countersign revocations' });

export type RawRevocations = z.output<typeof revocationSchema>;
