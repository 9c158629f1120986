import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { runAudit } from '../../../src/cli/audit.js';
import { jwksOf, SealedStream, SealKey } from '../../support/sealed-file.js';
import { toldIo } from '../../support/told-io.js';

const key = await SealKey.make();

async function audit(cwd: string, args: readonly string[], stdin = '') {
  const io = toldIo(cwd, () => Readable.from([Buffer.from(stdin)]));
  return { code: await runAudit(args, io), stdout: io.out, stderr: io.err };
}

const verify = (cwd: string, ...args: string[]) => audit(cwd, ['verify', '--keys', 'jwks', ...args]);

/** Three rotated files of one stream, and beside them what the tests put there. */
async function folderOf(t: Test, more: Record<string, string | Buffer> = {}) {
  const stream = new SealedStream(key);
  const files: string[] = [];
  for (const sizes of [[3, 2], [2], [4]]) files.push((await stream.batches(...sizes)).join(''));
  const [a, b, c] = files as [string, string, string];
  const cwd = t.testdir({ jwks: jwksOf(key), a, b, c, 'a.gz': gzipSync(a), all: a + b + c, ...more });
  return { cwd, stream, a, b, c };
}

t.test('rotated, compressed and joined files are proven, in whatever order they are given', async (t) => {
  const { cwd, a, b, c } = await folderOf(t);
  for (const files of [
    ['all'],
    ['a', 'b', 'c'],
    ['c', 'b', 'a'],
    ['b', 'c', 'a.gz'],
    ['a', 'b', 'c', './a'],
  ]) {
    const { code, stdout } = await verify(cwd, ...files);
    t.match(
      stdout,
      /^PROVEN: 11 records under 4 seals, 1 stream, \d files?\n {2}vm, boot [0-9a-f]{16}, worker 0: records 1\.\.11, /,
    );
    t.match(stdout, /\nno head was given: only --expect-head can tell whether .*\n$/);
    t.equal(code, 0);
  }
  const { code } = await audit(cwd, ['verify', '--keys', 'jwks', '-'], a + b + c);
  t.equal(code, 0);
});

t.test('what is not proven is named by file and line, as text and as JSON', async (t) => {
  const { cwd, a, b, c } = await folderOf(t);
  t.match(
    (await verify(cwd, 'a', 'c')).stdout,
    /^c:1: seal 3 is missing before this line, with records 6\.\.7 /,
  );
  const bad = t.testdir({ jwks: jwksOf(key), a, b, c: c.replace('GET', 'PUT') });
  const text = await verify(bad, 'a', 'b', 'c');
  t.equal(text.code, 1);
  t.match(text.stdout, /^c:1: /);
  t.match(text.stdout, /\nNOT PROVEN: covered are 7 records under 3 seals/);
  const timeOf = (stdout: string): string | undefined => /records 1\.\.\d+, (\S+ to \S+);/.exec(stdout)?.[1];
  const proven = await verify(bad, 'a', 'b');
  t.equal(
    timeOf(text.stdout),
    timeOf(proven.stdout),
    'the time that is covered ends with the last good seal',
  );
  const json = await verify(bad, '--json', 'a', 'c');
  t.equal(json.code, 1);
  const report = JSON.parse(json.stdout) as {
    ok: boolean;
    findings: { shown: { at: string; kind: string }[] };
  };
  t.equal(report.ok, false);
  t.equal(report.findings.shown[0]?.at, 'c:1');
});

t.test('lines after the newest seal are no proof, but where they may still be being written', async (t) => {
  const { cwd: first, stream, c } = await folderOf(t);
  t.equal((await verify(first, 'c')).code, 0);
  const tail = `${stream.access()}${stream.access().slice(0, 100)}`;
  const cwd = t.testdir({ jwks: jwksOf(key), live: c + tail, edited: c.replace('GET', 'PUT') + tail });
  const closed = await verify(cwd, 'live');
  t.equal(closed.code, 1);
  t.match(closed.stdout, /^live:6: open tail: record 12 after the newest seal of .*--allow-open-tail/);
  t.match(closed.stdout, /\nlive:7: the file ends in the middle of a line/);
  t.equal((await verify(cwd, '--allow-open-tail', 'live')).code, 0);
  t.equal(
    (await verify(cwd, '--allow-open-tail', 'edited')).code,
    1,
    'what was sealed is judged all the same',
  );
});

t.test('of records without any seal it is said that there is none, not that something was cut', async (t) => {
  const { a, b } = await folderOf(t);
  const unsealed = `${a}${b}`.replace(/^.*"event":"audit\.seal".*\n/gm, '');
  const { code, stdout } = await verify(t.testdir({ jwks: jwksOf(key), unsealed }), 'unsealed');
  t.equal(code, 1);
  t.match(
    stdout,
    /^unsealed:1: open tail: records 1\.\.7 of vm, .* \(there is no seal: was it written without audit\.seal/,
  );
  t.match(stdout, /\nNOT PROVEN \(no seal is good here\)/);
});

t.test('a head is given as text, in a file, in a saved snapshot or by an admin listener', async (t) => {
  const { stream, a, b, c } = await folderOf(t);
  const { head } = stream;
  const snapshot = JSON.stringify({ audit: { heads: [{ head, number: 4 }] } });
  const server = createServer((_, response) => response.end(snapshot)).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const admin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const cwd = t.testdir({ jwks: jwksOf(key), a, b, c, heads: `\n${head}\n`, snapshot });
  for (const from of [head, 'heads', 'snapshot', admin]) {
    const whole = await verify(cwd, '--expect-head', from, 'a', 'b', 'c');
    t.match(whole.stdout, /^PROVEN: .*; 1 head looked for\n/);
    t.notMatch(whole.stdout, /no head was given/);
    t.equal(whole.code, 0);
    const cut = await verify(cwd, '--expect-head', from, 'a', 'b');
    t.match(cut.stdout, /^the head of boot .*, seal 4: seal 4 with records 8\.\.11 are missing at the end\n/);
    t.equal(cut.code, 1);
  }
});

t.test('what cannot be used is refused with what to do: keys, heads, files, arguments', async (t) => {
  const stream = new SealedStream(key);
  await stream.batches(1);
  const { cwd } = await folderOf(t, {
    private: JSON.stringify({ keys: [{ kty: 'OKP', crv: 'Ed25519', x: 'AA', d: 'AA' }] }),
    empty: '',
    rsa: JSON.stringify({ keys: [{ kty: 'RSA', n: 'AQAB', e: 'AQAB' }] }),
    bent: JSON.stringify({
      audit: { heads: [{ head: stream.head }, { head: `${stream.head.slice(0, -1)}\u001b` }] },
    }),
    half: gzipSync('x'.repeat(1000)).subarray(0, 15),
  });
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [['verify', 'a'], 64, /say which keys/],
    [['verify', '--keys', 'jwks'], 64, /say which files/],
    [['verify', '--keys', 'jwks', '--wrong', 'a'], 64, /--wrong/],
    [['what'], 64, /there is no "what"/],
    [[], 64, /say what to do: verify/],
    [['verify', '--keys', 'none', 'a'], 78, /--keys none: cannot be read \(ENOENT\)/],
    [['verify', '--keys', 'private', 'a'], 78, /keys\[0\] is a private key/],
    [['verify', '--keys', 'rsa', 'a'], 78, /has no key of Ed25519 or P-256/],
    [['verify', '--keys', 'a', 'a'], 78, /--keys a: is no JWK Set/],
    [['verify', '--keys', 'jwks', 'none'], 78, /none: cannot be read \(ENOENT\)/],
    [['verify', '--keys', 'jwks', '--expect-head', 'none', 'a'], 78, /neither a head nor where heads are/],
    [['verify', '--keys', 'jwks', '--expect-head', 'jwks', 'a'], 78, /there is no head in it/],
    [['verify', '--keys', 'jwks', '--expect-head', 'bent', 'a'], 78, /bent: "[\w.-]+\\u001b" is no head/],
  ];
  for (const [args, code, why] of cases) {
    const ended = await audit(cwd, args);
    t.equal(ended.code, code, args.join(' '));
    t.match(ended.stderr, why);
  }
  const nothing = await verify(cwd, 'empty');
  t.equal(nothing.code, 1, 'an empty file proves nothing');
  t.match(nothing.stdout, /^NOT PROVEN \(no seal is good here\)/);
  const half = await verify(cwd, 'a', 'half');
  t.equal(half.code, 1);
  t.match(half.stdout, /half: gzip that is broken/);
});

t.test('what a file or a line calls itself does not steer the terminal it is shown on', async (t) => {
  const line = '{"stream":{"id":"\u009b2J\u202e","boot":"b","worker":0},"seq":1,"x":1}\n';
  const { cwd } = await folderOf(t, { 'a\u001b[2J': line.repeat(2) });
  const { code, stdout } = await verify(cwd, 'all', 'a\u001b[2J');
  t.equal(code, 1);
  t.match(stdout, 'a\\u001b[2J:1');
  t.match(stdout, '\\u009b2J\\u202e, boot b');
  t.notMatch(stdout, /[^ -~\n]/);
});

t.test('a key whose file calls its algorithm by the name of RFC 9864 is taken', async (t) => {
  const { cwd } = await folderOf(t, { named: jwksOf(key).replace('"EdDSA"', '"Ed25519"') });
  t.equal((await audit(cwd, ['verify', '--keys', 'named', 'all'])).code, 0);
});
