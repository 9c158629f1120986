import type { SharedFields } from '../audit/record.js';
import type { Finding } from '../listener/signal-findings.js';
import type { Signals } from '../listener/signals.js';

/** What /snapshot and the gauge show of signals. Reads, changes nothing. */

const MAX_SHOWN = 20;

export interface SignalsView {
  readonly shared: { readonly total: number; readonly shown: readonly object[] };
  /** What is remembered so that nothing is told twice, and how much was forgotten before its time. */
  readonly memory: object;
}

export function describeSignals(signals: Signals): SignalsView {
  const { shared } = signals;
  return {
    shared: { total: shared.length, shown: shared.slice(-MAX_SHOWN).map(describeFinding) },
    memory: signals.memory,
  };
}

const describeFinding = ({ principal, sinceMs, lastMs, shared }: Finding): object => ({
  ...shared,
  id: principal?.id,
  sha256: principal?.sha256,
  keySha256: principal?.keySha256,
  since: new Date(sinceMs).toISOString(),
  last: new Date(lastMs).toISOString(),
});

/** Each worker has found by itself what its own connections show. */
export function mergeSignals(a: SignalsView, b: SignalsView): SignalsView {
  return {
    shared: {
      total: a.shared.total + b.shared.total,
      shown: [...a.shared.shown, ...b.shared.shown].slice(0, MAX_SHOWN),
    },
    memory: addUp(a.memory, b.memory) as object,
  };
}

/** What each process counts by itself. */
export function addUp(a: unknown, b: unknown): unknown {
  if (typeof a === 'number' && typeof b === 'number') return a + b;
  if (typeof a !== 'object' || a === null || typeof b !== 'object' || b === null) return a ?? b;
  const other = b as Record<string, unknown>;
  return Object.fromEntries(Object.entries(a).map(([name, value]) => [name, addUp(value, other[name])]));
}

/** All kinds are there, also those of which there is none. */
export function countShared(findings: readonly Finding[]): Readonly<Record<SharedFields['kind'], number>> {
  const counts = { addresses: 0, ids: 0, certificates: 0 };
  for (const { shared } of findings) counts[shared.kind]++;
  return counts;
}
