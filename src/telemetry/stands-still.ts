/** At the end a target that does not move (a full pipe) gets so long, */
const STILL_MS = 3000;
/** and one that does no longer than this. */
const MAX_MS = 15_000;
const LOOK_MS = 10;

export const pause = (ms: number): Promise<undefined> =>
  new Promise((resolve) => setTimeout(resolve, ms, undefined));

/**
 * Waits for the end of something.
 * @param progressedMs when it moved last (a tick).
 * @returns false once it is over; true where it does not move any more.
 */
export async function standsStill(end: Promise<void>, progressedMs: () => number): Promise<boolean> {
  const fromMs = performance.now();
  const over = end.then(() => true);
  for (;;) {
    if (await Promise.race([over, pause(LOOK_MS)])) return false;
    const nowMs = performance.now();
    const stoodMs = nowMs - Math.max(fromMs, progressedMs());
    if (stoodMs > STILL_MS || nowMs - fromMs > MAX_MS) return true;
  }
}
