import t from 'tap';
import { Http2Liveness } from '../../../src/upstream/http2-liveness.js';

t.test('a connection that is silent is asked, and is dead when it does not answer', (t) => {
  const liveness = new Http2Liveness(0);
  t.equal(liveness.isSilent(29_999), false);
  t.equal(liveness.isSilent(30_000), true);
  t.equal(liveness.mayAsk(30_000), true);
  liveness.asked(30_000);
  t.equal(liveness.mayAsk(30_001), false);
  t.equal(liveness.isDead(39_999), false);
  t.equal(liveness.isDead(40_000), true);
  t.end();
});

t.test('one that answers and says nothing else is not asked again for five minutes', (t) => {
  const liveness = new Http2Liveness(0);
  liveness.asked(30_000);
  liveness.answered(17, 30_010);
  liveness.observe(17, 31_000);
  t.equal(liveness.isDead(600_000), false);
  t.equal(liveness.isSilent(60_010), true);
  t.equal(liveness.mayAsk(60_010), false);
  t.equal(liveness.mayAsk(340_000), true);
  liveness.observe(100, 70_000);
  t.equal(liveness.isSilent(99_999), false);
  t.equal(liveness.mayAsk(100_000), true);
  t.end();
});

t.test('an answer may stand behind other things for a minute', (t) => {
  const liveness = new Http2Liveness(0);
  liveness.asked(30_000);
  liveness.observe(1000, 39_000);
  t.equal(liveness.isDead(45_000), false);
  liveness.observe(2000, 89_000);
  t.equal(liveness.isDead(89_999), false);
  t.equal(liveness.isDead(90_000), true);
  t.end();
});
