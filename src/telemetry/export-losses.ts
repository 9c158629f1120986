import type { ExportLoss, ExportLossCause } from '../audit/record.js';
import type { StreamName } from '../audit/seal-line.js';
import type { ExportLine } from './otlp-encoder.js';

/** Beyond this many ranges of one stream the last one is widened: what is told stays true, if less exact. */
const MAX_RANGES = 64;

interface Range {
  readonly why: ExportLossCause;
  from: number;
  to: number;
  records: number;
}

interface StreamLosses {
  readonly stream: StreamName;
  readonly ranges: Range[];
  seals: number;
}

/** What was given up since it was last told, by stream. */
export class ExportLosses {
  readonly #streams = new Map<string, StreamLosses>();
  /** Something is lost that is worth a record of its own: more than what told of earlier losses. */
  isWorthTelling = false;

  /** @param records how many of these lines, where the collector did not say which; all of them without. */
  add(lines: readonly ExportLine[], why: ExportLossCause, records = lines.length): void {
    const isWhole = records >= lines.length;
    let left = records;
    for (const { fields } of lines) {
      if (fields.stream === undefined) continue;
      const losses = this.#of(fields.stream);
      if (fields.seq === undefined) {
        if (isWhole) losses.seals++;
      } else {
        widen(losses.ranges, fields.seq, why, left > 0);
        left--;
      }
      // Else a collector that takes nothing would make an idle proxy tell of its own telling, for ever.
      if (fields.event !== 'audit.export_lost' && fields.event !== 'audit.seal') this.isWorthTelling = true;
    }
  }

  /** Forgets what it gives. */
  take(): ExportLoss[] {
    const all = [...this.#streams.values()].flatMap(({ stream: { boot, worker }, ranges, seals }) => {
      const sealsOf = (i: number) => (i === 0 && seals > 0 ? { seals } : {});
      return ranges.map((range, i): ExportLoss => ({ boot, worker, ...range, ...sealsOf(i) }));
    });
    this.#streams.clear();
    this.isWorthTelling = false;
    return all;
  }

  #of(stream: StreamName): StreamLosses {
    const key = `${stream.boot} ${stream.worker}`;
    const known = this.#streams.get(key) ?? { stream, ranges: [], seals: 0 };
    this.#streams.set(key, known);
    return known;
  }
}

function widen(ranges: Range[], seq: number, why: ExportLossCause, isCounted: boolean): void {
  const last = ranges.at(-1);
  const count = isCounted ? 1 : 0;
  if (last !== undefined && ((last.why === why && seq === last.to + 1) || ranges.length >= MAX_RANGES)) {
    last.from = Math.min(last.from, seq);
    last.to = Math.max(last.to, seq);
    last.records += count;
  } else ranges.push({ why, from: seq, to: seq, records: count });
}
