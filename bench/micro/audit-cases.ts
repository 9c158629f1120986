import { devNull } from 'node:os';
import type { AccessRecord } from '../../src/audit/record.js';
import { RecordFile } from '../../src/telemetry/record-file.js';
import { RecordLog } from '../../src/telemetry/record-log.js';
import { RecordWriter } from '../../src/telemetry/record-writer.js';
import { CALLER } from '../support/bench-rules.js';
import type { MicroCase } from './harness.js';

const SHA256 = 'ab'.repeat(32);

/** One access record through the real sink, into a file that keeps nothing. */
export function auditCase(): { readonly subject: MicroCase; close(): void } {
  let written = 0;
  let dropped = 0;
  const file = new RecordWriter(new RecordFile(devNull), {
    failed: (error) => {
      throw error;
    },
    recovered: () => undefined,
    written: (records) => {
      written += records;
    },
    dropped: (records) => {
      dropped += records;
    },
    truncated: () => undefined,
    uncertain: () => undefined,
  });
  const log = new RecordLog(file, {
    onFailure: 'deny',
    boot: 'bench',
    nowMs: Date.now,
    unconfirmed: () => undefined,
  });
  let formatted = 0;
  return {
    subject: {
      name: 'format and write an audit record',
      run: () => log.write({ ...record, timing: { totalMs: ++formatted, upstreamMs: 0.4 } }),
      settle: async () => {
        while (written + dropped < formatted) await new Promise((resolve) => setTimeout(resolve, 5));
        if (dropped > 0) throw new Error('records were dropped: the figure would be too good');
      },
    },
    close: () => file.close(),
  };
}

const record: AccessRecord = {
  time: '2026-11-21T10:00:00.000Z',
  event: 'access',
  id: '01J0000000000000000000000',
  phase: undefined,
  principal: {
    id: CALLER,
    kind: 'workload',
    trustDomain: 'example.org',
    serial: '5f3a1b2c4d5e6f708192a3b4c5d6e7f8',
    sha256: SHA256,
    keySha256: SHA256,
    issuer: 'O=Countersign development,CN=example.org development root',
    authority: SHA256,
    notBefore: '2026-11-21T09:00:00.000Z',
    notAfter: '2026-11-21T11:00:00.000Z',
  },
  decision: {
    effect: 'allow',
    reason: 'rule_allowed',
    rule: 'the-last',
    policyRevision: '0123456789abcdef',
    trustRevision: '0123456789abcdef',
    detail: undefined,
  },
  request: {
    listener: 'inbound',
    route: 'everything',
    destination: 'origin',
    method: 'GET',
    host: 'billing.internal',
    path: '/invoices/7',
    protocol: 'http/1.1',
    bytes: 0,
    traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
    truncated: undefined,
  },
  response: { status: 200, bytes: 29, outcome: 'complete', reason: undefined },
  timing: { totalMs: 1.234, upstreamMs: 0.4 },
  tls: {
    version: 'TLSv1.3',
    cipher: 'TLS_AES_128_GCM_SHA256',
    resumed: false,
    serverName: 'billing.internal',
  },
  peer: { address: '127.0.0.1' },
};
