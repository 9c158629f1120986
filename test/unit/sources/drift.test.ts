import t from 'tap';
import { DriftWatch } from '../../../src/sources/drift.js';
import type { Source } from '../../../src/sources/source.js';

const source = (name: string, fields: Partial<Source> = {}): Source =>
  ({ name, files: ['f'], hasValue: true, lastError: undefined, ...fields }) as Source;

t.test(
  'a file that was refused is told of after a minute, once, and again after it was mended',
  async (t) => {
    const watch = new DriftWatch();
    const broken = [source('policy', { lastError: 'no' }), source('trust')];
    t.same(watch.look(broken, undefined, 0), []);
    t.same(watch.look(broken, undefined, 59_999), []);
    t.same([...watch.drifted], []);
    t.same(watch.look(broken, undefined, 60_000), [['policy', 'no']]);
    t.same(watch.look(broken, undefined, 200_000), []);
    t.same([...watch.drifted], ['policy']);
    t.same(watch.look([source('policy')], undefined, 201_000), []);
    t.same([...watch.drifted], []);
    t.same(watch.look(broken, undefined, 202_000), []);
    t.same(watch.look(broken, undefined, 262_000), [['policy', 'no']]);
  },
);

t.test('what needs a restart is drift of the configuration', async (t) => {
  const watch = new DriftWatch();
  watch.look([], 'workers needs a restart', 0);
  t.same(watch.look([], 'workers needs a restart', 60_000), [['config', 'workers needs a restart']]);
});

t.test('what never was in force, or has no file, does not drift', async (t) => {
  const watch = new DriftWatch();
  const sources = [
    source('a', { hasValue: false, lastError: 'no' }),
    source('b', { files: [], lastError: 'no' }),
  ];
  watch.look(sources, undefined, 0);
  t.same(watch.look(sources, undefined, 60_000), []);
});
