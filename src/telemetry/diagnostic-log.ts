import { pino } from 'pino';
import type { Diagnostics } from '../listener/ports.js';

/** What people read while operating it: JSON lines on stderr, never mixed with records. */
export function createDiagnosticLog(level = 'info'): Diagnostics {
  return pino(
    { level, base: { name: 'countersign' }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 2, sync: true }),
  );
}
