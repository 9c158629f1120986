import t from 'tap';
import { Ids } from '../../../src/listener/ids.js';

t.test('random identifiers have the size asked for, and no two of many are alike or overlap', (t) => {
  const ids = new Ids();
  const long = Array.from({ length: 3000 }, () => ids.hex(16));
  const short = Array.from({ length: 3000 }, () => ids.hex(8));
  t.ok(long.every((text) => /^[0-9a-f]{32}$/.test(text)));
  t.ok(short.every((text) => /^[0-9a-f]{16}$/.test(text)));
  const halves = new Set([...long.flatMap((text) => [text.slice(0, 16), text.slice(16)]), ...short]);
  t.equal(halves.size, 9000);
  t.end();
});

t.test('request ids are ordered, and of this boot', (t) => {
  const ids = new Ids();
  const given = Array.from({ length: 100 }, () => ids.next());
  t.same([...given].sort(), given);
  t.ok(given.every((id) => id.startsWith(`${ids.boot}-`)));
  t.not(new Ids().boot, ids.boot);
  t.end();
});
