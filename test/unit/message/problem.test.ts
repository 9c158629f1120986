import t from 'tap';
import { formatProblem } from '../../../src/message/problem.js';
import { allReasons, meaningOf } from '../../../src/reasons.js';
import { valuesOf } from './fixtures.js';

t.test('every reason has an answer that is a problem document', (t) => {
  for (const reason of allReasons) {
    const problem = formatProblem(reason, 'r-1');
    const body = JSON.parse(problem.body) as Record<string, unknown>;
    t.same(Object.keys(body), ['type', 'title', 'status', 'reason', 'requestId'], reason);
    t.equal(problem.status, meaningOf(reason).status, reason);
    t.same(valuesOf(problem.headers, 'content-type'), ['application/problem+json'], reason);
    t.same(valuesOf(problem.headers, 'x-request-id'), ['r-1'], reason);
    t.same(valuesOf(problem.headers, 'content-length'), [], 'framing is the listener’s');
  }
  t.end();
});

t.test('every policy no reads the same, so that rules cannot be probed', (t) => {
  t.same(formatProblem('no_rule_matched', 'r'), formatProblem('policy_denied', 'r'));
  t.match(JSON.parse(formatProblem('no_rule_matched', 'r').body), {
    type: 'urn:countersign:reason:policy_denied',
    title: 'Forbidden',
    status: 403,
    reason: 'policy_denied',
  });
  t.end();
});

t.test('the connection closes when its credential or its framing is the cause, and only then', (t) => {
  for (const reason of [
    'svid_expired',
    'svid_revoked',
    'framing_ambiguous',
    'header_malformed',
    'host_malformed',
  ] as const) {
    t.equal(formatProblem(reason, 'r').close, true, reason);
  }
  for (const reason of [
    'policy_denied',
    'no_rule_matched',
    'route_not_found',
    'path_ambiguous',
    'upstream_timeout',
  ] as const) {
    t.equal(formatProblem(reason, 'r').close, false, reason);
  }
  t.end();
});

t.test('a 405 says what is allowed', (t) => {
  t.same(valuesOf(formatProblem('method_not_allowed', 'r').headers, 'allow'), [
    'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
  ]);
  t.same(valuesOf(formatProblem('policy_denied', 'r').headers, 'allow'), []);
  t.end();
});
