import fc from 'fast-check';
import t from 'tap';
import { IsoTime } from '../../../src/listener/iso-time.js';

t.test('a time reads as Date has it, whatever was asked before', (t) => {
  const time = new IsoTime();
  const near = fc.integer({ min: 1_795_000_000_000, max: 1_795_000_003_000 });
  const any = fc.integer({ min: -8_640_000_000_000_000, max: 8_640_000_000_000_000 });
  fc.assert(
    fc.property(
      fc.oneof(
        near,
        any,
        near.map((ms) => ms + 0.75),
      ),
      (ms) => {
        return time.format(ms) === new Date(ms).toISOString();
      },
    ),
    {
      numRuns: 2000,
      seed: 20261122,
      examples: [[0], [999], [1000], [-1], [253_402_300_799_999], [253_402_300_800_000]],
    },
  );
  t.throws(() => time.format(Number.NaN), RangeError);
  t.end();
});
