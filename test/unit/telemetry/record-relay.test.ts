import t from 'tap';
import { RecordRelay } from '../../../src/telemetry/record-relay.js';
import { HeldTarget } from '../../support/record-target.js';

const ignore = (): void => undefined;

t.test('what the supervisor dealt with counts as kept, and nothing before', async (t) => {
  const pipe = new HeldTarget();
  pipe.isOpen = true;
  const relay = new RecordRelay(pipe);
  await relay.write(Buffer.from('a\nb\n'), ignore);
  let isKept = false;
  const kept = relay.sync().then(() => {
    isKept = true;
  });
  relay.acknowledge(1);
  await new Promise(setImmediate);
  t.equal(isKept, false);
  relay.acknowledge(2);
  await kept;
  t.equal(isKept, true);
});

t.test('what it dealt with while it could not write is not kept, though it can again by then', async (t) => {
  const pipe = new HeldTarget();
  const relay = new RecordRelay(pipe);
  const written = relay.write(Buffer.from('a\n'), ignore);
  relay.supervisorWrites(false);
  relay.acknowledge(1);
  relay.supervisorWrites(true);
  await pipe.take();
  await written;
  await t.rejects(relay.sync(), { message: 'the supervisor cannot write records' });
  await relay.sync(); // another try: it is dealt with
  pipe.isOpen = true;
  const next = relay.write(Buffer.from('b\n'), ignore);
  relay.acknowledge(2);
  await next;
  await relay.sync();
});

t.test('a supervisor that cannot write rejects whoever waits, at once', async (t) => {
  const pipe = new HeldTarget();
  pipe.isOpen = true;
  const relay = new RecordRelay(pipe);
  await relay.write(Buffer.from('a\n'), ignore);
  const waits = t.rejects(relay.sync(), { message: 'the supervisor cannot write records' });
  relay.supervisorWrites(false);
  await waits;
  t.not(relay.forgets, true, 'it has them still: no record may say that they could be lost');
});
