/** After so long other events get their turn: ten thousand judgements, or a thousand ends, must not hold up a request. */
const SLICE_MS = 2;
/** Reading the clock costs about as much as a cached judgement. */
const LOOKS_BETWEEN = 16;

/** Visits all items, in turns of the event loop. @param between called where one turn ends and another is to come. */
export function inSlices<T>(
  items: Iterator<T>,
  visit: (item: T) => void,
  between: () => void,
  done: () => void,
): void {
  const untilMs = performance.now() + SLICE_MS;
  let left = LOOKS_BETWEEN;
  for (let { done: isOver, value } = items.next(); isOver !== true; { done: isOver, value } = items.next()) {
    visit(value);
    if (--left > 0) continue;
    left = LOOKS_BETWEEN;
    if (performance.now() < untilMs) continue;
    between();
    setImmediate(() => inSlices(items, visit, between, done));
    return;
  }
  done();
}
