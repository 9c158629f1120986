import t from 'tap';
import { describeExceptionChange, ExceptionWatch } from '../../../src/app/exception-watch.js';
import { DAY_MS, type ExceptionInput, HOUR_MS } from '../../../src/policy/exception.js';

const START = Date.UTC(2026, 10, 21, 10);

const exception = (id: string, more: Partial<ExceptionInput> = {}): ExceptionInput => ({
  id,
  owner: 'team',
  reason: 'migration',
  expiresMs: START + 10 * DAY_MS,
  origin: 'policy',
  principals: [],
  destinations: ['billing'],
  ...more,
});

/** A watch whose clock stands where it is put; it looks when it is told of a policy, and by its own timer. */
function watched(t: { teardown(handler: () => void): void }) {
  const told: string[] = [];
  const details: string[] = [];
  let nowMs = START;
  const watch = new ExceptionWatch({
    nowMs: () => nowMs,
    record: (event, { id }, detail) => {
      told.push(`${event.replace('exception.', '')} ${id}`);
      details.push(detail);
    },
  });
  t.teardown(() => watch.close());
  /** What is told when these are in the policy `atMs` after the start. */
  const at = (atMs: number, ...exceptions: readonly ExceptionInput[]): readonly string[] => {
    nowMs = START + atMs;
    watch.adopted(exceptions);
    return told.splice(0);
  };
  return { watch, at, details };
}

t.test('each moment of a life is told once, whatever is loaded in between', async (t) => {
  const { at } = watched(t);
  const one = exception('A', { startsMs: START + DAY_MS });
  t.same(at(0, one), [], 'it has not begun');
  t.same(at(DAY_MS - 1, one), []);
  t.same(at(DAY_MS, one), ['started A']);
  t.same(at(2 * DAY_MS, { ...one, owner: 'another' }), [], 'the same life');
  t.same(at(9 * DAY_MS - 1, one), []);
  t.same(at(9 * DAY_MS, one), ['expiring A']);
  t.same(at(10 * DAY_MS - HOUR_MS, one), ['expiring A']);
  t.same(at(10 * DAY_MS - 1, one), []);
  t.same(at(10 * DAY_MS, one), ['expired A']);
  t.same(at(11 * DAY_MS, one), []);
  t.same(at(11 * DAY_MS), [], 'taken out when it was dead');
  t.same(at(11 * DAY_MS, one), [], 'and put back');
});

t.test('at the start of the process the states are told as they are', async (t) => {
  const { at } = watched(t);
  const all = [
    exception('pending', { startsMs: START + DAY_MS }),
    exception('active', { startsMs: START - DAY_MS }),
    exception('last-day', { expiresMs: START + 2 * HOUR_MS }),
    exception('last-hour', { expiresMs: START + 60_000 }),
    exception('dead', { expiresMs: START }),
  ];
  t.same(at(0, ...all), [
    'started active',
    'started last-day',
    'expiring last-day',
    'started last-hour',
    'expiring last-hour',
    'expired dead',
  ]);
});

t.test('what is granted for hours is not told to be expiring when it has only begun', async (t) => {
  const { at } = watched(t);
  at(0);
  const short = exception('S', { expiresMs: START + 4 * HOUR_MS });
  t.same(at(0, short), ['started S']);
  t.same(at(3 * HOUR_MS, short), ['expiring S'], 'an hour before');
  t.same(at(4 * HOUR_MS, short), ['expired S']);
});

t.test(
  'a clock that steps back tells nothing twice; one that steps ahead tells what is so now',
  async (t) => {
    const { at } = watched(t);
    const one = exception('A');
    t.same(at(9 * DAY_MS, one), ['started A', 'expiring A']);
    t.same(at(0, one), []);
    t.same(at(9 * DAY_MS, one), []);
    t.same(at(30 * DAY_MS, one), ['expired A'], 'the hour before has passed untold');
    t.same(at(10 * DAY_MS - HOUR_MS, one), []);
  },
);

t.test('another end is another life: its moments are told', async (t) => {
  const { at } = watched(t);
  const one = exception('A');
  at(0, one);
  t.same(at(9 * DAY_MS, one), ['expiring A']);
  const longer = { ...one, expiresMs: START + 20 * DAY_MS };
  t.same(at(9 * DAY_MS, longer), []);
  t.same(at(19 * DAY_MS, longer), ['expiring A']);
  const shorter = { ...one, expiresMs: START + 19 * DAY_MS + 60_000 };
  t.same(at(19 * DAY_MS, shorter), ['expiring A'], 'an hour is left of a sudden');
});

t.test('the id of a dead one that is granted anew begins another life', async (t) => {
  const { at } = watched(t);
  const first = exception('A', { expiresMs: START + HOUR_MS });
  at(0, first);
  t.same(at(HOUR_MS, first), ['expired A']);
  const again = { ...first, expiresMs: START + 4 * HOUR_MS };
  t.same(at(2 * HOUR_MS, again), ['started A']);
  t.same(at(3 * HOUR_MS, again), ['expiring A']);
  t.same(at(4 * HOUR_MS, again), ['expired A']);
});

t.test('what is taken out before its end is withdrawn: by whom, where somebody said so', async (t) => {
  const { watch, at, details } = watched(t);
  const [one, two] = [exception('A'), exception('B', { by: 'alice', origin: 'grant' })];
  at(0, one, two);
  t.same(at(1, two), ['withdrawn A']);
  t.match(
    details.at(-1),
    /^A of team \(migration\) until 2026-12-01T10:00:00.000Z; withdrawn: its entry is gone$/,
  );
  watch.withdrawing('B', { by: 'bob', reason: 'over' });
  t.same(at(2), ['withdrawn B']);
  t.match(details.at(-1), /granted by alice; withdrawn: over, by bob$/);
  t.same(at(3, one), ['started A'], 'given again it begins again');
});

t.test('its own timer finds what the clock alone brings, however far off it was', async (t) => {
  let nowMs = START;
  let heard = (_event: string): void => undefined;
  const watch = new ExceptionWatch({ nowMs: () => nowMs, record: (event) => heard(event) });
  t.teardown(() => watch.close());
  watch.adopted([exception('far', { expiresMs: START + 80 * DAY_MS })]); // beyond what a timer of Node's holds
  const keepAlive = setInterval(() => undefined, 1000);
  t.teardown(() => clearInterval(keepAlive));
  const next = new Promise<string>((resolve) => {
    heard = resolve;
  });
  nowMs = START + 80 * DAY_MS;
  t.equal(await next, 'exception.expired');
});

t.test('the record of a change says what was added, changed and removed, and stays short', async (t) => {
  const [one, two] = [exception('A'), exception('B')];
  t.equal(describeExceptionChange([one], [one]), undefined);
  t.match(describeExceptionChange([one, two], [one]), /^added exception B of team \(migration\) until 2026/);
  t.match(describeExceptionChange([], [one]), /^removed exception A of team/);
  t.match(describeExceptionChange([{ ...one, reason: 'x' }], [one]), /^changed exception A of team \(x\)/);
  const many = Array.from({ length: 30 }, (_, i) => exception(`M-${i}`));
  const text = describeExceptionChange(many, []) ?? '';
  t.equal(text.split('; ').length, 21);
  t.match(text, /; and 10 more$/);
});
