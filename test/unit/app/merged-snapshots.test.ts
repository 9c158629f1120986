import t from 'tap';
import { mergeSnapshots } from '../../../src/app/view.js';

t.test('what each worker remembers of tokens and assertions is shown in sum', (t) => {
  const of = (verified: number) => ({
    memory: { tokens: { verified, refused: 1, oneTime: 0 }, assertions: { verified, refused: 0 } },
  });
  const merged = mergeSnapshots([
    { index: 1, pid: 10, value: of(2) },
    { index: 2, pid: 11, value: of(3) },
  ]);
  t.match(merged, {
    memory: { tokens: { verified: 5, refused: 2, oneTime: 0 }, assertions: { verified: 5, refused: 0 } },
  });
  t.end();
});
