import t from 'tap';
import { parseEndpointSocket, resolveEndpointSocket } from '../../../src/config/endpoint-socket.js';
import { allows, readVectors } from '../identity/vectors.js';

type Input = string | null | { readonly option: string | null; readonly env: string };

const read = (input: Input) =>
  typeof input === 'string'
    ? parseEndpointSocket(input)
    : resolveEndpointSocket(
        input?.option ?? undefined,
        input === null ? {} : { SPIFFE_ENDPOINT_SOCKET: input.env },
      );

t.test('every endpoint socket vector is judged as it asks', async (t) => {
  for (const { id, input, expect, why } of readVectors<Input>('endpoint-socket')) {
    const parsed = read(input);
    t.ok(allows(expect, parsed.ok ? 'accept' : 'reject'), `${id}: ${why}`);
    if (expect.recommended)
      t.equal(parsed.ok ? 'accept' : 'reject', expect.recommended, `${id} as recommended`);
    const { outcome, ...wanted } = expect;
    if (parsed.ok && outcome === 'accept') t.same(parsed.value, wanted, `${id} is what it says`);
  }
});

const problem = (text: string): string => {
  const parsed = parseEndpointSocket(text);
  return parsed.ok ? `accepted ${JSON.stringify(parsed.value)}` : parsed.error;
};

t.test('a refusal says what is wrong and what to write', async (t) => {
  t.equal(problem(' '), '" " is not a URI');
  t.equal(problem(''), '"" is not a URI');
  t.equal(problem('unix:///a\n'), '"unix:///a\\n" is not a URI');
  t.equal(problem('unix:///ä'), '"unix:///ä" is not a URI');
  t.equal(problem('/run/agent.sock'), '"/run/agent.sock" must begin with unix:// or tcp://');
  t.equal(problem('https://127.0.0.1:1'), '"https://127.0.0.1:1" must begin with unix:// or tcp://');
  t.equal(problem('unix:run/a.sock'), '"unix:run/a.sock" is not an absolute path: write unix:///path');
  t.match(problem('unix://run/a.sock'), /has an authority, .* write unix:\/\/\/path, with three slashes$/);
  t.match(problem('unix://u:p@run/a.sock'), /has an authority/);
  t.equal(problem('unix://'), '"unix://" names no socket: write unix:///path');
  t.equal(problem('unix:'), '"unix:" names no socket: write unix:///path');
  t.equal(problem('unix:///'), '"unix:///" names no socket: write unix:///path');
  t.match(problem('unix:///run/../a.sock'), /has a dot segment/);
  t.match(problem('unix:///run/%2e%2e/a.sock'), /has a dot segment/);
  t.match(problem('unix:///run/'), /ends with a slash/);
  t.match(problem('unix:///run%2fa'), /has a percent-encoding that stands for no file name/);
  t.match(problem('unix:///a%00b'), /has a percent-encoding/);
  t.match(problem('unix:///a%zz'), /has a percent-encoding/);
  t.match(problem('unix:///a%ff'), /has a percent-encoding/);
  t.equal(problem(`unix:///${'x'.repeat(106)}`).slice(0, 8), 'accepted');
  t.match(
    problem(`unix:///${'x'.repeat(107)}`),
    /is longer than the 107 bytes that a socket's path may have$/,
  );
  t.equal(problem('unix:///a?'), '"unix:///a?" must not have a query');
  t.equal(problem('unix:///a#'), '"unix:///a#" must not have a fragment');
  t.equal(problem('tcp://127.0.0.1:1/'), '"tcp://127.0.0.1:1/" must end after the port');
  t.equal(problem('tcp://u@127.0.0.1:1'), '"tcp://u@127.0.0.1:1" must not hold a user or password');
  t.match(problem('tcp:127.0.0.1:1'), /names no host/);
  for (const host of [
    'localhost',
    '',
    '127.1',
    '0x7f.0.0.1',
    '::1',
    '[127.0.0.1]',
    '[fe80::1%25eth0]',
    '[::1',
  ])
    t.match(problem(`tcp://${host}:1`), /must name its host by IP address/, host);
  for (const port of ['', ':', ':0', ':01', ':65536', ':+1', ':1e3', ':99999999999'])
    t.match(problem(`tcp://127.0.0.1${port}`), /must name a port from 1 to 65535/, port);
  t.equal(problem(`blah:${'x'.repeat(5000)}`).length < 300, true, 'a long one is not shown whole');
});

t.test('what a URI may say in another way means the same', async (t) => {
  t.same(parseEndpointSocket('unix:/run/a.sock'), { ok: true, value: { kind: 'unix', path: '/run/a.sock' } });
  t.same(parseEndpointSocket('unix:///a%20b'), { ok: true, value: { kind: 'unix', path: '/a b' } });
  t.same(parseEndpointSocket('TCP://[::1]:80'), { ok: true, value: { kind: 'tcp', host: '::1', port: 80 } });
});

t.test('the variable counts only where nothing is configured, and is named when it is wrong', async (t) => {
  const env = { SPIFFE_ENDPOINT_SOCKET: 'unix://oops' };
  t.match(resolveEndpointSocket(undefined, env), {
    ok: false,
    error: /^environment variable SPIFFE_ENDPOINT_SOCKET: "unix:\/\/oops" has an authority/,
  });
  t.match(resolveEndpointSocket('unix://oops', { SPIFFE_ENDPOINT_SOCKET: 'unix:///a' }), { ok: false });
  t.match(resolveEndpointSocket('', { SPIFFE_ENDPOINT_SOCKET: 'unix:///a' }), { ok: false }, 'not even then');
  for (const unset of [
    {},
    { SPIFFE_ENDPOINT_SOCKET: '' },
    Object.create({ SPIFFE_ENDPOINT_SOCKET: 'unix:///a' }),
  ])
    t.match(resolveEndpointSocket(undefined, unset), {
      ok: false,
      error: /^no Workload API socket is named: give it, or set SPIFFE_ENDPOINT_SOCKET/,
    });
});
