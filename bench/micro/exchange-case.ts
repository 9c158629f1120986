import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { devNull } from 'node:os';
import type { TLSSocket } from 'node:tls';
import { parseSealKey } from '../../src/audit/seal-key.js';
import { Assertions } from '../../src/listener/assertions.js';
import { Connection } from '../../src/listener/connection.js';
import type { ListenerContext } from '../../src/listener/context.js';
import { CredentialIndex } from '../../src/listener/credential.js';
import { DelegationIndex } from '../../src/listener/delegation-index.js';
import { HttpExchange } from '../../src/listener/http-exchange.js';
import { Http1Message } from '../../src/listener/http1-message.js';
import { Ids } from '../../src/listener/ids.js';
import type {
  Diagnostics,
  ForwardCall,
  ForwardHandler,
  ForwardRequest,
  RecordSink,
  TokenAuthority,
  TunnelledCall,
  UpstreamPort,
  UpstreamServer,
} from '../../src/listener/ports.js';
import { RequestLimits } from '../../src/listener/request-limits.js';
import { Signals } from '../../src/listener/signals.js';
import { TokenIndex } from '../../src/listener/token-index.js';
import { UnregisteredLog } from '../../src/listener/unregistered.js';
import type { Snapshot } from '../../src/snapshot.js';
import { SnapshotKeeper } from '../../src/sources/snapshot-keeper.js';
import { Metrics } from '../../src/telemetry/metrics.js';
import { RecordFile } from '../../src/telemetry/record-file.js';
import { RecordLog } from '../../src/telemetry/record-log.js';
import { RecordWriter, type RecordWriterEvents } from '../../src/telemetry/record-writer.js';
import { Sealer } from '../../src/telemetry/sealer.js';
import { BenchIssuer } from '../support/bench-issuer.js';
import { mintBenchPki } from '../support/bench-pki.js';
import { policyYaml, rulesUnderLoad } from '../support/bench-rules.js';
import { WorkFolder } from '../support/work-folder.js';
import type { MicroCase } from './harness.js';

const BODY = Buffer.from('{"invoice":7,"state":"paid"}\n');
const RAW_ANSWER: readonly string[] = [
  'Content-Type',
  'application/json',
  'Content-Length',
  String(BODY.length),
];
const ASKED = ['Host', 'billing.internal', 'User-Agent', 'bench/1', 'Accept', 'application/json'];

/** What becomes of the record: nothing at all, a file, or a file that is sealed as well. */
export type Recording = 'none' | 'written' | 'sealed';

/** What the request has beside its certificate, or what its service gets. Both headers are of one length. */
export type Carried = 'nothing more' | 'an assertion' | 'a repeat token' | 'another header';

/** One request on a kept connection from its head to its record, everything on, with both ends of the network left out. */
export async function exchangeCase(
  recording: Recording = 'written',
  path = devNull,
  carried: Carried = 'nothing more',
): Promise<{ readonly subject: MicroCase; close(): Promise<void> }> {
  const folder = new WorkFolder();
  const pki = await mintBenchPki(folder);
  const issuer = await BenchIssuer.make();
  const snapshot = await loadSnapshot(folder, pki.files, issuer, carried);
  let recorded = 0;
  const events: RecordWriterEvents = {
    failed: (error) => {
      throw error;
    },
    recovered: () => undefined,
    written: (records) => {
      recorded += records;
    },
    dropped: () => {
      throw new Error('records were dropped: the figure would be too good');
    },
    truncated: () => undefined,
    uncertain: () => undefined,
  };
  const sealer = recording === 'sealed' ? await newSealer() : undefined;
  const file = new RecordWriter(new RecordFile(path), events, 'never', sealer);
  const credentials = new CredentialIndex();
  const upstream = new InstantUpstream(carried === 'an assertion');
  const ids = new Ids();
  const parts = {
    snapshots: { current: snapshot },
    credentials,
    records: recording === 'none' ? NO_RECORDS : logTo(file),
    metrics: new Metrics(),
    clock: { nowMs: Date.now },
  };
  const verifying = { ...parts, diagnostics: DIAGNOSTICS, authority: NO_AUTHORITY };
  const context: ListenerContext = {
    ...parts,
    name: 'inbound',
    upstream,
    tokens: new TokenIndex(verifying),
    delegations: new DelegationIndex(verifying),
    assertions: new Assertions(ids, () => undefined),
    external: { ask: () => Promise.reject(new Error('no engine is configured')) },
    diagnostics: DIAGNOSTICS,
    ids,
    unregistered: new UnregisteredLog(),
    signals: new Signals(parts),
    limits: new RequestLimits(),
    borrowed: new Set(),
    draining: false,
  };
  const verified = await context.tokens.verify(issuer.token);
  if (carried === 'a repeat token' && !verified.ok) throw new Error(verified.error.detail);
  const leaf = new X509Certificate(pki.caller.certificate).raw;
  const credential = credentials.find({ leaf, intermediates: [] });
  const connection = new Connection('bench', SOCKET, '127.0.0.1', credential, Date.now());
  const request = {
    method: 'GET',
    url: '/invoices/7',
    httpVersion: '1.1',
    rawHeaders: [...ASKED, ...carriedLines(carried, issuer.token)],
    complete: true,
  };
  let asked = 0;
  const run = (): unknown => {
    asked++;
    const response = new SilentResponse();
    const ends = [request as unknown as IncomingMessage, response as unknown as ServerResponse] as const;
    new HttpExchange(context, connection, snapshot, new Http1Message(...ends)).run(false);
    upstream.answer();
    response.onClose();
    if (response.status !== 200) throw new Error(`answered ${response.status}`);
    return response;
  };
  return {
    subject: {
      name: `carry a request from its head to its record${NAMED[carried]}, without the network`,
      warmUpMs: 2000,
      run,
      settle: async () => {
        while (recording !== 'none' && recorded < asked)
          await new Promise((resolve) => setTimeout(resolve, 5));
      },
    },
    close: async () => {
      await file.close();
      folder.remove();
    },
  };
}

const NAMED: Readonly<Record<Carried, string>> = {
  'nothing more': '',
  'an assertion': ', with x-identity-assertion',
  'a repeat token': ', by a token seen before',
  'another header': ', with another header as long as a token',
};

function carriedLines(carried: Carried, token: string): readonly string[] {
  if (carried === 'a repeat token') return ['Authorization', `Bearer ${token}`];
  return carried === 'another header' ? ['X-Correlation', `Bearer ${token}`] : [];
}

const DIAGNOSTICS: Diagnostics = {
  info: () => undefined,
  warn: () => undefined,
  error: (detail) => console.error(detail),
};

const NO_AUTHORITY: TokenAuthority = {
  refreshKeys: async () => false,
  validate: async () => ({ ok: false, error: { kind: 'unsupported', message: '' } }),
};

const SERVER: UpstreamServer = { target: '127.0.0.1:8080', identity: undefined };

const NO_RECORDS: RecordSink = { available: true, confirms: false, write: () => undefined };

const logTo = (file: RecordWriter): RecordLog =>
  new RecordLog(file, {
    onFailure: 'deny',
    boot: 'bench',
    nowMs: Date.now,
    unconfirmed: () => undefined,
  });

async function newSealer(): Promise<Sealer> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const parsed = await parseSealKey(Buffer.from(JSON.stringify(privateKey.export({ format: 'jwk' }))));
  if (!parsed.ok) throw new Error(parsed.error);
  const stream = { id: 'bench', boot: 'bench', worker: 0 };
  return new Sealer(stream, { everyMs: 10_000, key: () => parsed.value, nowMs: Date.now });
}

/** Answers when it is told to, in one piece. */
class InstantUpstream implements UpstreamPort {
  #handler: ForwardHandler | undefined;
  readonly #call: ForwardCall = { hasBegun: true, resume: () => undefined, abort: () => undefined };

  constructor(readonly isAsserted: boolean) {}

  forward(_permit: unknown, { headers }: ForwardRequest, handler: ForwardHandler): ForwardCall {
    if (headers.includes('x-identity-assertion') !== this.isAsserted)
      throw new Error('an assertion is missing, or nobody asked for it');
    this.#handler = handler;
    return this.#call;
  }

  upgrade(): TunnelledCall {
    throw new Error('nothing is upgraded here');
  }

  connect(): TunnelledCall {
    throw new Error('there are no tunnels here');
  }

  answer(): void {
    const handler = this.#handler!;
    if (!handler.mayBegin()) throw new Error('the request was not to begin');
    handler.onServer(SERVER);
    handler.onHead(200, RAW_ANSWER);
    handler.onData(BODY);
    handler.onEnd();
  }
}

/** As much of a ServerResponse as an exchange touches. */
class SilentResponse {
  headersSent = false;
  writableFinished = false;
  status = 0;
  onClose: () => void = () => undefined;

  on(_event: 'close', listener: () => void): void {
    this.onClose = listener;
  }

  writeHead(status: number): void {
    this.status = status;
    this.headersSent = true;
  }

  end(): void {
    this.writableFinished = true;
  }
}

const SOCKET = {
  bytesRead: 0,
  servername: 'billing.internal',
  getProtocol: () => 'TLSv1.3',
  getCipher: () => ({ name: 'TLS_AES_256_GCM_SHA384' }),
  isSessionReused: () => false,
} as unknown as TLSSocket;

async function loadSnapshot(
  folder: WorkFolder,
  files: { readonly ca: string; readonly certificate: string; readonly key: string },
  issuer: BenchIssuer,
  carried: Carried,
): Promise<Snapshot> {
  const byToken = carried === 'a repeat token';
  const { privateKey } = generateKeyPairSync('ed25519');
  folder.write('assert.jwk', JSON.stringify(privateKey.export({ format: 'jwk' })));
  folder.write('policy.yaml', policyYaml(rulesUnderLoad(100, byToken ? issuer.principal : undefined)));
  folder.write('jwks.json', issuer.keySet);
  const config = folder.write(
    'countersign.yaml',
    `version: 1
identity: { files: { certificate: ${files.certificate}, key: ${files.key} } }
trust: [{ trustDomain: example.org, bundle: { file: ${files.ca} } }]
listeners:
  - name: inbound
    address: 127.0.0.1:8443
    routes: [{ name: everything, path: /**, upstream: origin${byToken ? ', accept: token' : ''} }]
upstreams: { origin: { url: "http://127.0.0.1:8080" } }
policy: policy.yaml
limits: { requestsPerConnection: 0 }
deadlines: { connectionAge: 24h }
${byToken ? issuer.configured : ''}
${carried === 'an assertion' ? 'forward: { assertion: { audience: billing, key: assert.jwk } }' : ''}
`,
  );
  const nothing = (): void => undefined;
  const events = {
    adopted: nothing,
    refused: nothing,
    stale: nothing,
    drifted: () => undefined,
    found: nothing,
    noted: nothing,
    restartNeeded: nothing,
  };
  const keeper = new SnapshotKeeper(config, {}, Date.now, events, () => undefined);
  const problems = await keeper.start();
  keeper.close();
  if (keeper.current === undefined) throw new Error(problems.join('\n'));
  return keeper.current;
}
