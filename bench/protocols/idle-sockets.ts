import { Crowd } from '../contraction/crowd.js';
import { pause } from '../support/bench-site.js';
import { round } from '../support/statistics.js';
import { jobOfMany, type StreamShape, withStreams } from './stream-shapes.js';

export interface IdleResult {
  readonly name: string;
  readonly streams: number;
  readonly beforeMiB: number;
  readonly afterMiB: number;
  /** Resident memory of the process for each of them. */
  readonly kibEach: number;
}

const WARM_UP = 300;
/** Buffers of handshakes are given back, records are out. */
const SETTLE_MS = 4000;

/** Resident memory that idle streams take in the proxy: after some were there and went, with all of them, and the difference. */
export async function measureIdle(
  nodePath: string,
  shape: StreamShape,
  streams: number,
): Promise<IdleResult> {
  return withStreams(nodePath, shape, undefined, async (site) => {
    const { program } = site.countersign;
    const warm = new Crowd();
    const crowd = new Crowd();
    try {
      const job = await jobOfMany(shape, site, streams);
      await warm.open(await jobOfMany(shape, site, WARM_UP));
      warm.stop();
      await pause(SETTLE_MS);
      const before = program.residentKiB();
      await crowd.open(job);
      await pause(SETTLE_MS);
      const after = program.residentKiB();
      const ended = await crowd.ended();
      if (ended.length > 0) throw new Error(`${ended.length} of ${streams} ended by themselves`);
      return {
        name: shape.name,
        streams,
        beforeMiB: round(before / 1024, 1),
        afterMiB: round(after / 1024, 1),
        kibEach: round((after - before) / streams, 1),
      };
    } finally {
      warm.stop();
      crowd.stop();
    }
  });
}
