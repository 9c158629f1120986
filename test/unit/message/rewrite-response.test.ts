import t from 'tap';
import { rewriteResponseHeaders, rewriteResponseTrailers } from '../../../src/message/rewrite-response.js';
import { namesOf, planOf, readVectors, valuesOf } from './fixtures.js';

const plan = planOf({ headers: [{ name: 'X-Remote-User', template: '{id}' }] });
const answer = (raw: readonly string[]) => {
  const rewritten = rewriteResponseHeaders(raw, { plan });
  if (!rewritten.ok) throw new Error(rewritten.error);
  return rewritten.value;
};
const errorOf = (raw: readonly string[]): string => {
  const rewritten = rewriteResponseHeaders(raw, { plan });
  return rewritten.ok ? 'ok' : rewritten.error;
};

interface ClientCertInput {
  readonly direction?: string;
  readonly upstreamHeaders?: readonly (readonly [string, string])[];
}
interface ClientCertExpect {
  readonly absent?: readonly string[];
  readonly headers?: readonly (readonly [string, string])[];
}

t.test('every client-cert vector of answers is judged as the vector says', (t) => {
  let count = 0;
  for (const { id, input, expect } of readVectors<ClientCertInput, ClientCertExpect>('client-cert')) {
    if (input.direction !== 'response') continue;
    count++;
    const { headers } = answer((input.upstreamHeaders ?? []).flat());
    for (const name of expect.absent ?? []) t.same(valuesOf(headers, name), [], id);
    for (const [name, value] of expect.headers ?? []) t.same(valuesOf(headers, name), [value], id);
  }
  t.ok(count >= 3, `${count} vectors`);
  t.end();
});

t.test('identity headers of an answer are stripped in any spelling', (t) => {
  for (const name of [
    'X-Spiffe-Id',
    'x_spiffe_id',
    'X-Forwarded-Client-Cert',
    'Client-Cert',
    'Client.Cert.Chain',
    'X-Identity-Assertion',
    'X-Remote-User',
    'X_Remote_User',
  ]) {
    t.same(namesOf(answer([name, 'x', 'X-App', '1']).headers), ['x-app', 'via'], name);
  }
  t.end();
});

t.test('hop-by-hop fields and what Connection names stay on their hop', (t) => {
  const { headers, contentLength } = answer([
    'Connection',
    'close, X-Foo',
    'X-Foo',
    '1',
    'Keep-Alive',
    'timeout=5',
    'Proxy-Authenticate',
    'Basic',
    'Proxy-Connection',
    'close',
    'Trailer',
    'X-A',
    'Upgrade',
    'h2c',
    'TE',
    'trailers',
    'Content-Length',
    '12',
    'X-App',
    '1',
  ]);
  t.same(headers, ['X-App', '1', 'via', '1.1 countersign']);
  t.equal(contentLength, 12);
  t.end();
});

t.test('framing is read, never copied', (t) => {
  t.match(answer(['Transfer-Encoding', 'Chunked']), {
    headers: ['via', '1.1 countersign'],
    contentLength: undefined,
  });
  t.same(answer(['Content_Length', '3', 'Transfer_Encoding', 'x']).headers, ['via', '1.1 countersign']);
  t.equal(
    errorOf(['Content-Length', '1', 'Transfer-Encoding', 'chunked']),
    'Content-Length and Transfer-Encoding',
  );
  t.equal(errorOf(['Content-Length', '1', 'Content-Length', '2']), 'malformed Content-Length');
  t.equal(answer(['Content-Length', '12', 'content-length', '12']).contentLength, 12, 'equal copies fold');
  for (const value of ['+1', '0x1', '1, 2', '', '18446744073709551617', '-1']) {
    t.equal(errorOf(['Content-Length', value]), 'malformed Content-Length', value);
  }
  for (const value of ['gzip', 'gzip, chunked', 'chunked, chunked', '']) {
    t.equal(errorOf(['Transfer-Encoding', value]), 'Transfer-Encoding is not exactly chunked', value);
  }
  t.end();
});

t.test('control characters in an answer are an error, so that they never reach the client', (t) => {
  for (const value of ['a\rSet-Cookie: x=1', 'a\nb', 'a\u0000', 'a\u007f', '1\r\n 2']) {
    t.equal(errorOf(['X-A', value]), 'control character in a field value', JSON.stringify(value));
  }
  for (const name of ['', 'X A', 'X:A', 'X\r\nB', 'X\u00e9']) {
    t.equal(errorOf([name, 'x']), 'a field name is not a token', JSON.stringify(name));
  }
  t.equal(errorOf(['X-A']), 'a field name without a value');
  t.equal(errorOf(['Connection', 'a b']), 'malformed Connection');
  t.end();
});

t.test('an answer that varies on identity varies on what nobody else can see', (t) => {
  for (const value of ['Client-Cert', 'Accept, client-cert-chain', 'X-Spiffe-Id', 'accept,X-Remote-User']) {
    t.same(valuesOf(answer(['Vary', value]).headers, 'vary'), ['*'], value);
  }
  t.same(valuesOf(answer(['Vary', 'Accept, Origin']).headers, 'vary'), ['Accept, Origin']);
  t.end();
});

t.test('octets above ASCII keep their values, several Set-Cookie stay several, Via is extended', (t) => {
  const raw = ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Latin', 'J\u00f6rg', 'Via', '1.0 fred'];
  const { headers } = answer(raw);
  t.same(headers, [...raw.slice(0, 6), 'via', '1.0 fred, 1.1 countersign']);
  const old = rewriteResponseHeaders([], { plan, httpVersion: '1.0' });
  t.same(old.ok && old.value.headers, ['via', '1.0 countersign']);
  t.end();
});

t.test('trailers keep what is of the message alone, in lower case', (t) => {
  const raw = ['X-Sum', '1', 'grpc-status', '0', 'X-Sum', '2'];
  t.same(rewriteResponseTrailers(raw, plan), ['x-sum', '1', 'grpc-status', '0', 'x-sum', '2']);
  for (const name of ['X-Spiffe-Id', 'x_spiffe_id', 'X-Remote-User', 'Content-Length', 'Transfer-Encoding'])
    t.same(rewriteResponseTrailers([name, '1'], plan), [], name);
  for (const name of [
    'Connection',
    'Keep-Alive',
    'Trailer',
    'Upgrade',
    'Via',
    'Host',
    'Set-Cookie',
    'Content-Type',
  ])
    t.same(rewriteResponseTrailers([name, '1'], plan), [], name);
  t.equal(rewriteResponseTrailers([':status', '200'], plan), undefined);
  t.equal(rewriteResponseTrailers(['x-a', 'b\r\nx: y'], plan), undefined);
  t.equal(rewriteResponseTrailers(['', 'b'], plan), undefined);
  t.end();
});
