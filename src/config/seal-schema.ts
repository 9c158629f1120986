import { z } from 'zod';
import type { SealConfig } from './config.js';
import type { Places } from './places.js';
import { duration, place } from './schema-values.js';

export const seal = z
  .strictObject({
    key: place('Private JWK that signs: Ed25519, or P-256 for ES256. `countersign pki seal-key` makes one.'),
    every: duration('How long a record may wait for its seal.', { minMs: 1000, maxMs: 3_600_000 }).prefault(
      '10s',
    ),
  })
  .describe('Signed seals over the records: `countersign audit verify` proves that none was altered.');

export function toSeal(raw: z.output<typeof seal>, places: Places): SealConfig {
  return { keyFile: places.file(['audit', 'seal', 'key'], raw.key), everyMs: raw.every };
}
