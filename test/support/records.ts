type Part = Readonly<Record<string, unknown>>;

export interface RecordChanges {
  readonly time?: string;
  readonly event?: string;
  readonly phase?: string;
  readonly principal?: Part;
  readonly decision?: Part;
  readonly request?: Part;
  readonly token?: Part;
  readonly tls?: Part;
  readonly id?: string;
  readonly seq?: number;
  readonly response?: Part;
}

/** One access record as a line without its end: an allowed GET, but for what is changed. */
export function recordText({ principal, decision, request, tls, ...rest }: RecordChanges = {}): string {
  return JSON.stringify({
    stream: { id: 'vm', boot: '0123456789abcdef', worker: 0 },
    principal: {
      id: 'spiffe://a.test/web',
      kind: 'workload',
      trustDomain: 'a.test',
      serial: '0a',
      sha256: 'ab'.repeat(32),
      keySha256: 'cd'.repeat(32),
      issuer: 'CN=a',
      notBefore: '2026-11-21T09:00:00.000Z',
      notAfter: '2026-11-21T11:00:00.000Z',
      ...principal,
    },
    tls: {
      version: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      resumed: false,
      serverName: 'svc.test',
      ...tls,
    },
    peer: { address: '127.0.0.1' },
    seq: 1,
    time: '2026-11-21T10:00:00.000Z',
    event: 'access',
    id: '0123456789abcdef-0000001',
    decision: {
      effect: 'allow',
      reason: 'rule_allowed',
      rule: 'public',
      policyRevision: 'p',
      trustRevision: 't',
      ...decision,
    },
    request: {
      listener: 'inbound',
      route: 'r1',
      destination: 'u',
      method: 'GET',
      host: 'svc.test',
      path: '/public/a',
      protocol: 'http/1.1',
      bytes: 0,
      ...request,
    },
    response: { status: 200, bytes: 2, outcome: 'complete' },
    timing: { totalMs: 1 },
    ...rest,
  });
}
