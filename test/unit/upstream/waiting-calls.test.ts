import t from 'tap';
import { UpstreamCall } from '../../../src/upstream/upstream-call.js';
import { WaitingCalls } from '../../../src/upstream/waiting-calls.js';
import { answerOk } from '../../support/recorder-upstream.js';
import { waitFor } from '../../support/start-proxy.js';
import { Caller, placeOf, requestOf } from './caller.js';

const callOf = (caller: string, target: string): UpstreamCall =>
  new UpstreamCall(caller, requestOf('GET', target), new Caller(t), { reroute: () => false });
const labelOf = (call: UpstreamCall | undefined): string =>
  call === undefined ? '-' : `${call.caller}${call.request.target}`;

function drain(waiting: WaitingCalls): string {
  const order: string[] = [];
  while (waiting.size > 0) order.push(labelOf(waiting.takeNext()));
  return order.join(' ');
}

t.test('callers take turns, and the calls of each go in order', async (t) => {
  const waiting = new WaitingCalls(100);
  for (const target of ['/1', '/2', '/3', '/4']) waiting.add(callOf('noisy', target));
  waiting.add(callOf('a', '/1'));
  waiting.add(callOf('b', '/1'));
  waiting.add(callOf('b', '/2'));
  t.equal(waiting.size, 7);
  t.equal(labelOf(waiting.oldest), 'noisy/1');
  t.equal(drain(waiting), 'noisy/1 a/1 b/1 noisy/2 b/2 noisy/3 noisy/4');
  t.equal(waiting.takeNext(), undefined);
});

t.test('who comes back does not get another turn before those that wait', async (t) => {
  const waiting = new WaitingCalls(100);
  waiting.add(callOf('a', '/1'));
  waiting.add(callOf('b', '/1'));
  t.equal(labelOf(waiting.takeNext()), 'a/1');
  waiting.add(callOf('a', '/2'));
  t.equal(drain(waiting), 'b/1 a/2');
});

t.test('a call that is given up leaves no gap, twice is as once', async (t) => {
  const waiting = new WaitingCalls(100);
  const calls = ['/1', '/2'].map((target) => callOf('a', target));
  for (const call of calls) waiting.add(call);
  waiting.add(callOf('b', '/1'));
  waiting.delete(calls[0]!);
  waiting.delete(calls[0]!);
  t.equal(waiting.size, 2);
  t.equal(drain(waiting), 'a/2 b/1');
});

t.test('where no more fit, who has the most waiting loses the last of them', async (t) => {
  const waiting = new WaitingCalls(4);
  for (const target of ['/1', '/2', '/3', '/4']) t.equal(waiting.add(callOf('noisy', target)), undefined);
  const own = callOf('noisy', '/5');
  t.equal(waiting.add(own), own);
  t.equal(labelOf(waiting.add(callOf('a', '/1'))), 'noisy/4');
  t.equal(labelOf(waiting.add(callOf('b', '/1'))), 'noisy/3');
  t.equal(labelOf(waiting.add(callOf('b', '/2'))), 'b/2', 'nobody has more than it would have');
  t.equal(labelOf(waiting.add(callOf('c', '/1'))), 'noisy/2');
  t.equal(waiting.size, 4);
  t.equal(drain(waiting), 'noisy/1 a/1 b/1 c/1');
});

t.test('with one connection, a caller waits for one call of a flood and not for all of it', async (t) => {
  const { upstream, pool } = await placeOf(t, () => undefined, { maxConnections: 1 });
  const send = (caller: string, target: string): Caller =>
    new Caller(t).send(pool, requestOf('GET', target), caller);
  const noisy = Array.from({ length: 50 }, (_, i) => send('noisy', `/noisy/${i}`));
  await waitFor(() => upstream.requests.length === 1);
  const quiet = send('quiet', '/quiet');
  upstream.respond = answerOk;
  answerOk(upstream.connections[0]!);
  await Promise.all([...noisy, quiet].map(({ over }) => over));
  const at = upstream.requests.findIndex(({ target }) => target === '/quiet');
  t.ok(at === 1 || at === 2, `it was number ${at}`);
  t.equal(upstream.requests.length, 51, 'and the flood is served as well');
});

t.test('a flood that fills all places loses some of its own to a caller that comes later', async (t) => {
  const { upstream, pool } = await placeOf(t, () => undefined, { maxConnections: 1 });
  const noisy = Array.from({ length: 1100 }, (_, i) =>
    new Caller(t).send(pool, requestOf('GET', `/noisy/${i}`), 'noisy'),
  );
  await waitFor(() => upstream.requests.length === 1);
  noisy.push(new Caller(t).send(pool, requestOf('GET', '/noisy/last'), 'noisy'));
  const quiet = new Caller(t).send(pool, requestOf('GET', '/quiet'), 'quiet');
  upstream.respond = answerOk;
  answerOk(upstream.connections[0]!);
  t.equal((await quiet.over).failure, undefined);
  t.equal(quiet.body, 'ok');
  await Promise.all(noisy.map(({ over }) => over));
  const lost = noisy.filter(({ code }) => code === 'upstream_overloaded');
  t.ok(lost.length >= 76, `${lost.length} found no place`);
  t.equal(noisy.filter(({ body }) => body === 'ok').length, 1101 - lost.length);
});
