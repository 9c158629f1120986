import { inspect } from 'node:util';
import { pino } from 'pino';
import t from 'tap';
import { afterTear, PartialWrite } from '../../../src/telemetry/record-target.js';

const bytes = Buffer.from('{"a":1}\n{"b":2}\n{"c":3}\n');

t.test('a line that was torn is ended where it stands, and written again whole', async (t) => {
  t.equal(afterTear(bytes, 11).toString(), '\n{"b":2}\n{"c":3}\n');
  t.equal(afterTear(bytes, 3).toString(), '\n{"a":1}\n{"b":2}\n{"c":3}\n', 'also the first');
});

t.test('what was taken up to the end of a line goes on behind it', async (t) => {
  t.equal(afterTear(bytes, 8).toString(), '{"b":2}\n{"c":3}\n');
  t.equal(afterTear(bytes, 0).toString(), bytes.toString(), 'or before anything was taken');
});

t.test('wherever it is torn, every record is there whole, in order and once', async (t) => {
  for (let at = 0; at < bytes.length; at++) {
    const written = bytes.subarray(0, at).toString() + afterTear(bytes, at).toString();
    const whole = written.split('\n').filter((line) => /^\{.*\}$/.test(line));
    t.same(whole, ['{"a":1}', '{"b":2}', '{"c":3}'], `at ${at}`);
  }
});

t.test('a write that could not go on keeps what is left, and shows it in no log', async (t) => {
  const error = new PartialWrite(bytes, 11, new Error('ENOSPC'));
  t.equal(error.rest.toString(), '":2}\n{"c":3}\n');
  t.equal(error.whole?.toString(), '{"b":2}\n{"c":3}\n');
  const logged: string[] = [];
  const log = pino({}, { write: (line: string) => void logged.push(line) });
  log.error({ err: error }, 'said');
  t.match(logged[0], /ENOSPC/);
  t.notMatch(`${logged[0]}${inspect(error)}`, /Buffer|"rest"|"whole"/);
});

t.test('one that lacks nothing but its end gets that, and does not stand there twice', async (t) => {
  t.equal(afterTear(bytes, 7).toString(), '\n{"b":2}\n{"c":3}\n');
  t.equal(afterTear(bytes, bytes.length - 1).toString(), '\n');
});
