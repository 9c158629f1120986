import t from 'tap';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.js';
import { externalBody, externalInput } from '../../../src/policy/external-input.js';
import { GivenFacts } from '../../../src/policy/given-facts.js';
import { parsePrincipalPattern } from '../../../src/policy/pattern.js';

const id = parseSpiffeId('spiffe://a.test/ns/prod/sa/web');
const pattern = parsePrincipalPattern('spiffe://a.test/**');
if (!id.ok || !pattern.ok) throw new Error('sound');
const request = {
  principal: id.value,
  method: 'GET',
  host: 'svc.test',
  path: '/Orders/%41%20"x"/',
  route: 'orders',
  destination: 'billing',
  listener: 'inbound',
  nowMs: 0,
  facts: new GivenFacts({
    credential: { kind: 'x509', notBeforeMs: 0, notAfterMs: 3_600_000, issuer: 'CN=a' },
    connection: { tlsVersion: 'TLSv1.3', resumed: false },
  }),
};
const local = { effect: 'allow', rule: 'r1', reason: 'rule_allowed', policyRevision: 'abc' } as const;
const facts = {
  headers: { 'x-tenant': 'red' },
  registered: {
    pattern: pattern.value,
    owner: 'team-a',
    environment: 'prod',
    contact: undefined,
    purpose: undefined,
  },
} as const;

t.test('the input document is version 1, with all that is promised in it', async (t) => {
  const body = externalBody(externalInput(request, request.path, local, facts), 1000);
  t.same(JSON.parse(body), {
    input: {
      version: 1,
      request: {
        method: 'GET',
        host: 'svc.test',
        path: '/Orders/%41%20"x"/',
        segments: ['Orders', '%41%20"x"', ''],
        foldedSegments: ['orders', 'a "x"'],
        listener: 'inbound',
        route: 'orders',
        destination: 'billing',
        headers: { 'x-tenant': 'red' },
      },
      principal: {
        id: 'spiffe://a.test/ns/prod/sa/web',
        trustDomain: 'a.test',
        segments: ['ns', 'prod', 'sa', 'web'],
        registered: true,
        owner: 'team-a',
        environment: 'prod',
      },
      credential: {
        kind: 'x509',
        issuer: 'CN=a',
        notBefore: '1970-01-01T00:00:00.000Z',
        notAfter: '1970-01-01T01:00:00.000Z',
      },
      connection: { tlsVersion: 'TLSv1.3', resumed: false },
      local: { effect: 'allow', rule: 'r1', policyRevision: 'abc' },
      time: '1970-01-01T00:00:01.000Z',
    },
  });
});

t.test('whom no registry knows has no owner, and is said to be unregistered', async (t) => {
  const input = JSON.parse(externalInput(request, '/', local, { ...facts, registered: undefined }));
  t.equal(input.principal.registered, false);
  t.notOk('owner' in input.principal);
});

t.test('two questions that differ in anything but time are two questions', async (t) => {
  const texts = [
    externalInput(request, request.path, local, facts),
    externalInput(request, '/Orders/A%20"x"/', local, facts),
    externalInput({ ...request, method: 'POST' }, request.path, local, facts),
    externalInput(request, request.path, { ...local, policyRevision: 'abd' }, facts),
    externalInput(request, request.path, local, { ...facts, headers: { 'x-tenant': 'blue' } }),
    externalInput({ ...request, host: 'other.test' }, request.path, local, facts),
  ];
  t.equal(new Set(texts).size, texts.length);
  t.equal(externalInput({ ...request, nowMs: 99 }, request.path, local, facts), texts[0]);
});
