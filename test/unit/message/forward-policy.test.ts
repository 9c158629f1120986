import t from 'tap';
import {
  compileForwardPlan,
  forwardTemplateFields,
  parseForwardTemplate,
  problemOfForwardHeader,
} from '../../../src/message/forward-policy.js';
import type { Failure } from '../../../src/reasons.js';
import { planOf } from './fixtures.js';

t.test('a template names only fields of the closed set', (t) => {
  for (const field of forwardTemplateFields) t.ok(parseForwardTemplate(`a {${field}} b`).ok, field);
  for (const text of [
    '',
    '{',
    '}',
    '{id',
    'id}',
    '{}',
    '{ID}',
    '{id }',
    '{toString}',
    '{__proto__}',
    'a\r\nb',
    'h\u00e9',
  ]) {
    t.equal(parseForwardTemplate(text).ok, false, JSON.stringify(text));
  }
  t.same(parseForwardTemplate('{{x}} {id}'), { ok: true, value: { literals: ['{x} ', ''], fields: ['id'] } });
  const unknown = parseForwardTemplate('{user}');
  t.match(unknown.ok ? '' : unknown.error, /unknown field \{user\}; there are id, trustDomain/);
  t.end();
});

t.test('a header that the proxy or HTTP writes cannot be a configured one', (t) => {
  for (const name of ['X-Remote-User', 'X-SSL-Client-S-DN', 'Remote-User', 'X-Auth']) {
    t.equal(problemOfForwardHeader(name), undefined, name);
  }
  for (const name of [
    'Host',
    'content-length',
    'Transfer_Encoding',
    'Connection',
    'X-Spiffe-Id',
    'x_forwarded_for',
    'Traceparent',
    'Proxy-Foo',
    'X-Forwarded-Client-Cert',
  ]) {
    t.match(problemOfForwardHeader(name), /is written by/, name);
  }
  for (const name of ['', 'a b', 'a:b', 'h\u00e9', 'x'.repeat(256)]) {
    t.match(problemOfForwardHeader(name), /is not a header name/, name);
  }
  t.end();
});

t.test('a plan that check should have refused is never half compiled', (t) => {
  const failure = { name: 'Failure', code: 'internal_error' } satisfies Partial<Failure>;
  t.throws(() => planOf({ headers: [{ name: 'Host', template: '{id}' }] }), failure);
  t.throws(() => planOf({ headers: [{ name: 'X-A', template: '{nope}' }] }), failure);
  t.throws(
    () =>
      planOf({
        headers: [
          { name: 'X-A', template: '{id}' },
          { name: 'x_a', template: '{id}' },
        ],
      }),
    failure,
  );
  t.throws(
    () =>
      compileForwardPlan(
        { xfcc: 'sanitize', spiffeId: true, clientCert: false, headers: [] },
        { spiffeId: undefined, pseudonym: 'not a token' },
      ),
    failure,
  );
  t.end();
});
