import { writeFileSync } from 'node:fs';
import { LoopWatch } from '../trust/event-loop.js';

/**
 * Loaded into the program under test: watches its event loop from its own inside. At each SIGUSR2 it writes what it saw since
 * the last one to the file that LOOP_WATCH names.
 */
const file = process.env.LOOP_WATCH;
if (file !== undefined) {
  let watch = new LoopWatch();
  process.on('SIGUSR2', () => {
    writeFileSync(file, JSON.stringify(watch.stop()));
    watch = new LoopWatch();
  });
}
