import t from 'tap';
import {
  formatGrpcProblem,
  grpcStatusOf,
  isGrpcType,
  parseGrpcTimeout,
  readGrpcStatus,
} from '../../../src/message/grpc.js';

t.test('a call is told by its content type, and gRPC-Web is none', (t) => {
  for (const type of [
    'application/grpc',
    'application/grpc+proto',
    'Application/gRPC; a=b',
    'application/grpc ',
  ])
    t.equal(isGrpcType(type), true, type);
  for (const type of ['', 'application/grpc-web', 'application/grpcx', 'application/json'])
    t.equal(isGrpcType(type), false, type);
  t.end();
});

t.test('a timeout has one to eight digits and a unit', (t) => {
  for (const [text, ms] of [
    ['1S', 1000],
    ['100m', 100],
    ['2M', 120_000],
    ['1H', 3_600_000],
    ['1500u', 1.5],
    ['99999999S', 99_999_999_000],
    ['0m', 0],
  ] as const)
    t.equal(parseGrpcTimeout(text), ms, text);
  for (const text of ['', 'S', '1', '1s', '-1S', '+1S', '1.5S', '999999999S', ' 1S', '1 S', '0x1S'])
    t.equal(parseGrpcTimeout(text), undefined, text);
  t.end();
});

t.test('a status that is none is never OK', (t) => {
  t.equal(readGrpcStatus(['a', 'b', 'Grpc-Status', '5']), 5);
  t.equal(readGrpcStatus(['grpc-status', '0']), 0);
  t.equal(readGrpcStatus(['a', 'b']), undefined);
  for (const text of ['', '17', '-1', '00x', '0.0', '1e1', '0 '])
    t.equal(readGrpcStatus(['grpc-status', text]), 2, JSON.stringify(text));
  t.end();
});

t.test('each reason has the status that clients act on, and none is OK', (t) => {
  for (const [reason, status] of [
    ['certificate_missing', 16],
    ['svid_revoked', 16],
    ['policy_denied', 7],
    ['access_ended', 7],
    ['route_not_found', 12],
    ['method_not_allowed', 12],
    ['rate_limited', 8],
    ['body_too_large', 8],
    ['headers_too_large', 8],
    ['request_timeout', 4],
    ['deadline_exceeded', 4],
    ['upstream_timeout', 4],
    ['path_ambiguous', 3],
    ['upstream_reset', 14],
    ['upstream_untrusted', 14],
    ['audit_unavailable', 14],
    ['draining', 14],
    ['internal_error', 13],
  ] as const)
    t.equal(grpcStatusOf(reason), status, reason);
  t.end();
});

t.test('a refusal is trailers alone, and tells no more than its public reason', (t) => {
  const { status, headers, body } = formatGrpcProblem('policy_denied', 'id-1', ['retry-after', '1']);
  t.equal(status, 200);
  t.equal(body, '');
  const fields = Object.fromEntries(
    Array.from({ length: headers.length / 2 }, (_, i) => [headers[i * 2], headers[i * 2 + 1]]),
  );
  t.match(fields, {
    'content-type': 'application/grpc',
    'x-request-id': 'id-1',
    'retry-after': '1',
    'grpc-status': '7',
    'grpc-message': 'policy_denied',
  });
  t.end();
});
