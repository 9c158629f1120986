import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { closeSync, openSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { formatAccessFields, formatConnectionFields } from '../../src/audit/access-line.js';
import type { AccessRecord } from '../../src/audit/record.js';
import { sealHash } from '../../src/audit/seal-head.js';
import {
  formatSealHeader,
  formatSealLine,
  formatSealPayload,
  type SealPayload,
} from '../../src/audit/seal-line.js';

const BATCH = 2048;
const IDENTITIES = 100;
const DESTINATIONS = 30;
const START_MS = Date.UTC(2026, 10, 21);

export interface GeneratedFile {
  readonly file: string;
  readonly bytes: number;
  readonly records: number;
  /** JWK Set of the key that sealed it. */
  readonly jwks: string;
}

/** Writes a day of access records as the proxy writes them, sealed, until the file has so many bytes. */
export function generateRecords(file: string, bytes: number): GeneratedFile {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519');
  const jwk = publicKey.export({ format: 'jwk' });
  const members = JSON.stringify({ crv: jwk.crv, kty: jwk.kty, x: jwk.x });
  const kid = createHash('sha256').update(members).digest('base64url');
  const stream = { id: 'bench', boot: '0123456789abcdef', worker: 0 };
  const sealer = new BatchSealer(stream, privateKey, kid);
  const fd = openSync(file, 'w');
  const openings = Array.from({ length: IDENTITIES }, (_, i) => openingOf(stream, i));
  let written = 0;
  let seq = 0;
  while (written < bytes) {
    const lines: string[] = [];
    for (let i = 0; i < BATCH; i++) {
      seq++;
      lines.push(openings[(seq * 7) % IDENTITIES] + formatAccessFields(seq, recordOf(seq)));
    }
    written += writeSync(fd, lines.join('') + sealer.seal(lines, seq));
  }
  closeSync(fd);
  return { file, bytes: written, records: seq, jwks: JSON.stringify({ keys: [jwk] }) };
}

class BatchSealer {
  #number = 0;
  #from = 1;
  #previous: string | null = null;

  constructor(
    readonly stream: SealPayload['stream'],
    readonly key: KeyObject,
    readonly kid: string,
  ) {}

  seal(lines: readonly string[], to: number): string {
    const checksums = Buffer.alloc(4 * lines.length);
    for (const [i, line] of lines.entries()) checksums.writeUInt32BE(crc32(line.slice(0, -1)), 4 * i);
    const payload: SealPayload = {
      stream: this.stream,
      number: ++this.#number,
      from: this.#from,
      to,
      records: lines.length,
      hash: createHash('sha256').update(lines.join('')).digest('base64url'),
      lines: checksums.toString('base64url'),
      previous: this.#previous,
      time: new Date(START_MS + this.#number * 1000).toISOString(),
      last: false,
    };
    const parts = [formatSealHeader('EdDSA', this.kid), formatSealPayload(payload)];
    const signed = parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
    const jws = `${signed}.${sign(null, Buffer.from(signed), this.key).toString('base64url')}`;
    this.#from = to + 1;
    this.#previous = sealHash(jws);
    return formatSealLine(payload, jws);
  }
}

const hex = (text: string): string => createHash('sha256').update(text).digest('hex');

function openingOf(stream: SealPayload['stream'], i: number): string {
  const id = `spiffe://bench.test/ns/team-${i % 10}/sa/service-${i}`;
  const connection = {
    principal: {
      id,
      kind: 'workload' as const,
      trustDomain: 'bench.test',
      serial: hex(`serial${i}`).slice(0, 32),
      sha256: hex(`certificate${i}`),
      keySha256: hex(`key${i}`),
      issuer: 'CN=bench intermediate',
      authority: hex('authority'),
      notBefore: '2026-11-21T00:00:00.000Z',
      notAfter: '2026-11-22T00:00:00.000Z',
    },
    tls: {
      version: 'TLSv1.3',
      cipher: 'TLS_AES_256_GCM_SHA384',
      resumed: false,
      serverName: 'svc.bench.test',
    },
    peer: { address: `10.0.${i}.7` },
  };
  return `{"stream":${JSON.stringify(stream)}${formatConnectionFields(connection)}`;
}

function recordOf(seq: number): AccessRecord {
  const destination = (seq * 13) % DESTINATIONS;
  const isAllowed = seq % 50 !== 0;
  return {
    time: new Date(START_MS + seq * 5).toISOString(),
    event: 'access',
    id: `0123456789abcdef-${seq.toString(16).padStart(7, '0')}`,
    phase: undefined,
    principal: undefined,
    decision: {
      effect: isAllowed ? 'allow' : 'deny',
      reason: isAllowed ? 'rule_allowed' : 'no_rule_matched',
      rule: isAllowed ? `rule-${destination}` : undefined,
      policyRevision: hex('policy').slice(0, 16),
      trustRevision: hex('trust').slice(0, 16),
      detail: undefined,
    },
    request: {
      listener: 'inbound',
      route: `route-${destination}`,
      destination: `service-${destination}`,
      method: seq % 4 === 0 ? 'POST' : 'GET',
      host: `service-${destination}.bench.test`,
      path: `/v1/invoices/${seq}`,
      protocol: 'http/1.1',
      bytes: 0,
      traceId: hex(`trace${seq % 1000}`).slice(0, 32),
      truncated: undefined,
    },
    response: {
      status: isAllowed ? 200 : 403,
      bytes: 512,
      outcome: isAllowed ? 'complete' : 'refused',
      reason: isAllowed ? undefined : 'no_rule_matched',
    },
    timing: { totalMs: 1.25, upstreamMs: isAllowed ? 0.75 : undefined },
    tls: { version: 'TLSv1.3', cipher: 'TLS_AES_256_GCM_SHA384', resumed: false, serverName: undefined },
    peer: { address: '10.0.0.7' },
  };
}
