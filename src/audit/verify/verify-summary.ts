import type { StreamName } from '../seal-line.js';
import type { Findings, Place } from './verify-findings.js';
import type { StreamEnd } from './verify-heads.js';
import type { StreamVerifier } from './verify-stream.js';

/** Lines after the newest seal of a stream: nothing proves them. */
export interface OpenTail {
  readonly records: number;
  /** 0 without records. */
  readonly from: number;
  readonly to: number;
  readonly place: Place | undefined;
  /** A line that was not written to its end. */
  readonly isTorn: boolean;
}

/** What is covered of one stream. */
export interface StreamSummary {
  readonly name: StreamName;
  /** Good ones, and the number of the first and the last. */
  readonly seals: number;
  readonly firstSeal: number;
  readonly lastSeal: number;
  /** Records that are proven by its own seals, and those that a later stream took over. */
  readonly proven: number;
  readonly adopted: number;
  /** Records of batches whose seal does not prove them. */
  readonly unproven: number;
  /** Said to be lost, by a record that is covered. */
  readonly lost: number;
  /** Sequence numbers and times of what is covered; 0 and '' where nothing is. */
  readonly from: number;
  readonly to: number;
  readonly timeFrom: string;
  readonly timeTo: string;
  /** Its last seal says that nothing follows. */
  readonly isLast: boolean;
  readonly open: OpenTail | undefined;
}

export function summaryOf(stream: StreamVerifier): StreamSummary {
  const { name, seals, firstSeal, sealed, proven, adopted, unproven, lost } = stream;
  const { from, to, timeFrom, timeTo, isLast } = stream;
  const counts = { seals, firstSeal, lastSeal: sealed?.number ?? 0, proven, adopted, unproven, lost };
  return { name, ...counts, from, to, timeFrom, timeTo, isLast, open: openTailOf(stream) };
}

function openTailOf({ batch, torn }: StreamVerifier): OpenTail | undefined {
  if (batch.records === 0 && torn.length === 0) return undefined;
  return {
    records: batch.records,
    from: batch.firstSeq,
    to: batch.lastSeq,
    place: batch.firstPlace ?? torn[0]?.place,
    isTorn: torn.length > 0,
  };
}

/** Up to where a stream came, by its good seals. */
export function endOf(
  streams: readonly StreamVerifier[],
  boot: string,
  worker: number,
): StreamEnd | undefined {
  const found = streams.filter(
    ({ name, seals }) => name.boot === boot && name.worker === worker && seals > 0,
  );
  const sealed = found[0]?.sealed;
  return sealed === undefined ? undefined : { ...sealed, first: found[0]!.firstSeal };
}

/** A line whose stream was altered is alone in a stream of its own, and missing where it belongs. */
export function suspect(streams: readonly StreamSummary[], findings: Findings, lastMissing: Place): void {
  for (const { name, seals, adopted, open } of streams) {
    if (seals > 0 || adopted > 0 || open?.place === undefined || open.place >= lastMissing) continue;
    if (open.from === 1 && open.records > 1) continue;
    findings.fail(
      'unknown_stream',
      open.place,
      name,
      'of a stream that nothing else here is of: its name is altered, or it is inserted',
    );
  }
}
