import t from 'tap';
import { EventBudget } from '../../../src/listener/event-budget.js';
import { LongWatch } from '../../../src/listener/long-watch.js';

const NEVER = Number.POSITIVE_INFINITY;

t.test('a stream is over when nothing moves for its idle time, counted from the last octet', (t) => {
  const watch = new LongWatch(1000, 500, 10_000, NEVER);
  t.equal(watch.expired(1499, 0), undefined);
  t.equal(watch.expired(1500, 0), 'stream');
  t.equal(watch.expired(1600, 1), undefined, 'it has moved');
  t.equal(watch.expired(2099, 1), undefined);
  t.equal(watch.expired(2100, 1), 'stream');
  t.end();
});

t.test('it is over at its age, however it moves, and at its call’s own deadline', (t) => {
  const watch = new LongWatch(0, 500, 1000, 700);
  t.equal(watch.expired(400, 1), undefined);
  t.equal(watch.expired(699, 2), undefined);
  t.equal(watch.expired(700, 3), 'call');
  t.equal(watch.expired(1000, 4), 'stream');
  t.end();
});

t.test('a budget gives its burst at once, and then no more than its rate', (t) => {
  const budget = new EventBudget(3, 0);
  t.same([budget.spend(), budget.spend(), budget.spend()], [true, true, true]);
  t.equal(budget.spend(), false);
  t.equal(new EventBudget(10, 0).spend(11), false, 'an amount above all of it');
  t.end();
});
