import t from 'tap';
import { AnswerCache } from '../../../src/external/answer-cache.js';
import type { EngineAnswer } from '../../../src/policy/external-answer.js';

const answer = (ttlMs: number): EngineAnswer => ({ effect: 'allow', id: undefined, detail: '', ttlMs });
const at = (tickMs: number, nowMs = tickMs) => ({ tickMs, nowMs });

t.test('an answer holds for as long as it says, from when the question was sent', async (t) => {
  const cache = new AnswerCache(10);
  cache.keep('q', answer(1000), at(0));
  t.equal(cache.find('q', at(400))?.validForMs, 600);
  t.ok(cache.find('q', at(999)));
  t.equal(cache.find('q', at(1000)), undefined);
  t.equal(cache.size, 0);
});

t.test('an answer that gives no time is not kept, nor any where nothing is to be kept', async (t) => {
  const cache = new AnswerCache(10);
  cache.keep('q', answer(0), at(0));
  t.equal(cache.size, 0);
  const none = new AnswerCache(0);
  none.keep('q', answer(1000), at(0));
  t.equal(none.size, 0);
});

t.test('a clock that is set back, or one that stood still, prolongs nothing', async (t) => {
  const cache = new AnswerCache(10);
  cache.keep('q', answer(1000), at(0, 50_000));
  t.equal(cache.find('q', at(1000, 50_100)), undefined, 'the wall clock was set back');
  cache.keep('q', answer(1000), at(0, 50_000));
  t.equal(cache.find('q', at(100, 51_000)), undefined, 'the machine slept');
  cache.keep('q', answer(1000), at(0, 50_000));
  t.equal(cache.find('q', at(100, 49_999)), undefined, 'before it was asked');
});

t.test('beyond its capacity the answer that was used longest ago goes', async (t) => {
  const cache = new AnswerCache(2);
  cache.keep('a', answer(1000), at(0));
  cache.keep('b', answer(1000), at(0));
  cache.find('a', at(1));
  cache.keep('c', answer(1000), at(2));
  t.equal(cache.size, 2);
  t.ok(cache.find('a', at(3)));
  t.equal(cache.find('b', at(3)), undefined);
  cache.clear();
  t.equal(cache.find('a', at(3)), undefined);
});
