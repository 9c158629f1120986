import fc from 'fast-check';
import t from 'tap';
import { parseInjectedSecret } from '../../../src/message/injected-secret.js';

const read = (text: string | Buffer) => parseInjectedSecret(Buffer.from(text));

t.test('a secret is the one line of its file, byte for byte', async (t) => {
  for (const secret of ['s3cret', 'dXNlcjpwYXNz==', 'two words', 'tab\tinside', '~', 'x'.repeat(8191)]) {
    t.same(read(secret), { ok: true, value: secret });
    if (secret.length < 8000) {
      t.same(read(`${secret}\n`), { ok: true, value: secret });
      t.same(read(`${secret}\r\n`), { ok: true, value: secret });
    }
  }
});

t.test('what no header could carry whole is refused, and none of it is shown', async (t) => {
  for (const [text, why] of [
    ['', /is empty/],
    ['\n', /is empty/],
    ['hunter2\n\n', /more than one line/],
    ['hunter2\nX-Other: hunter2', /more than one line/],
    ['hunter2\rhunter2', /more than one line/],
    ['hunter2\0', /no header can carry/],
    ['hunter2\x7f', /no header can carry/],
    ['hünter2', /no header can carry/],
    [' hunter2', /begins or ends with a space or a tab/],
    ['hunter2 \n', /begins or ends with a space or a tab/],
    ['hunter2\t', /begins or ends with a space or a tab/],
    ['hunter2'.repeat(1200), /is longer than 8192 bytes/],
  ] as const) {
    const secret = read(text);
    t.equal(secret.ok, false, JSON.stringify(text.slice(0, 20)));
    if (secret.ok) continue;
    t.match(secret.error, why);
    t.notMatch(secret.error, /h[uü]nter/);
  }
});

t.test('whatever a file holds, what is taken is one field value', async (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const secret = parseInjectedSecret(bytes);
      return !secret.ok || /^[!-~]([\t -~]*[!-~])?$/.test(secret.value);
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
