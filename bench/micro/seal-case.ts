import { Sealer } from '../../src/telemetry/sealer.js';
import type { MicroCase } from './harness.js';

const LINE_BYTES = 1100;
/** As many as one write takes under load: 64 KiB. */
const LINES = 60;

/** Covering records of real size for a seal, as the writer does, a batch at a time; the signature itself comes every 4096. */
export function sealCase(): MicroCase {
  const stream = { id: 'bench', boot: '0123456789abcdef', worker: 0 };
  const key = (): never => {
    throw new Error('nothing is signed here');
  };
  const line = `{"stream":${JSON.stringify(stream)},"seq":1,"time":"t","pad":"${'x'.repeat(LINE_BYTES - 100)}"}\n`;
  const lines = Array.from({ length: LINES }, () => line);
  const bytes = Buffer.from(lines.join(''));
  let sealer = new Sealer(stream, { everyMs: 10_000, key, nowMs: Date.now });
  return {
    name: `cover ${LINES} audit records of 1.1 KB for a seal`,
    run: () => {
      if (sealer.isDue) sealer = new Sealer(stream, { everyMs: 10_000, key, nowMs: Date.now });
      sealer.cover(lines, bytes);
    },
  };
}
