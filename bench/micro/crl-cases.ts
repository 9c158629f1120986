import { mintRoot } from '../../src/dev/pki.js';
import { type Crl, parseCrl } from '../../src/identity/crl.js';
import { longCrl, longCrlSerial } from '../../test/support/long-crl.js';
import { must } from '../support/bench-rules.js';
import type { MicroCase } from './harness.js';

const SERIALS = 4096;

/** Looking a serial up in long lists: one that is on it, and one that is not. Serials all over the list, so that no cache helps. */
export async function crlCases(): Promise<MicroCase[]> {
  const root = await mintRoot('example.org');
  return [100_000, 1_000_000].flatMap((entries) => {
    const crl = must(parseCrl(longCrl(root, { entries }).der));
    const size = entries.toLocaleString('en');
    const listed = serials((i) => longCrlSerial(Math.floor((i * entries) / SERIALS)));
    const others = serials((i) => longCrlSerial(entries + i));
    if (!listed.every(crl.has) || others.some(crl.has)) throw new Error('the list is not what it should be');
    return [
      { name: `look up a serial, listed among ${size}`, run: lookUp(crl, listed) },
      { name: `look up a serial, not among ${size}`, run: lookUp(crl, others) },
    ];
  });
}

const serials = (serial: (i: number) => string): string[] =>
  Array.from({ length: SERIALS }, (_, i) => serial(i));

function lookUp(crl: Crl, wanted: readonly string[]): () => boolean {
  let next = 0;
  return () => crl.has(wanted[next++ % SERIALS]!);
}
