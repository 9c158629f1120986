import { fileURLToPath } from 'node:url';
import type { BenchPki } from './bench-pki.js';
import { type BenchRule, policyYaml, rulesUnderLoad } from './bench-rules.js';
import { freePort, RunningProgram } from './running-program.js';
import type { WorkFolder } from './work-folder.js';

export const NOTHING_REVOKED = 'version: 1\nrevoked: []\n';
const RULES = 100;
const CROWD: BenchRule = {
  id: 'crowd',
  effect: 'allow',
  principal: 'spiffe://example.org/ns/crowd/**',
  destination: 'origin',
  path: '/**',
};

export interface CountersignProgram {
  readonly program: RunningProgram;
  readonly port: number;
  readonly adminPort: number;
  readonly auditFile: string;
}

export interface CountersignOptions {
  /** Room for so many connections, and a rule that lets the workloads of a namespace `crowd` in. */
  readonly crowd?: number;
  /** 1 unless told otherwise. */
  readonly workers?: number;
  /** Further words of `limits`. */
  readonly limits?: string;
  /** To the origin; 256 unless told otherwise. */
  readonly maxConnections?: number;
  /** Further words of the listener, in braces' style: `protocol: tcp`. */
  readonly listener?: string;
  /** Words of its only route beside name and upstream; `path: /**` unless told otherwise. */
  readonly route?: string;
  /** Words that say where the origin is; HTTP on its port unless told otherwise. */
  readonly upstream?: string;
  /** A script that its process loads first. */
  readonly preload?: { readonly script: string; readonly env: Readonly<Record<string, string>> };
}

/** Countersign as a user would run it, everything on: identity, 100 rules, XFCC, audit to a file, metrics, admin. */
export async function startCountersign(
  folder: WorkFolder,
  pki: BenchPki,
  originPort: number,
  nodePath: string,
  options: CountersignOptions = {},
): Promise<CountersignProgram> {
  const { crowd, preload } = options;
  const [port, adminPort] = [await freePort(), await freePort()];
  const auditFile = folder.log('audit.ndjson');
  folder.write('policy.yaml', policyYaml([...rulesUnderLoad(RULES), ...(crowd ? [CROWD] : [])]));
  folder.write('revoked.yaml', NOTHING_REVOKED);
  const config = folder.write(
    'countersign.yaml',
    configYaml(pki, { port, adminPort, originPort, auditFile }, options),
  );
  const main = fileURLToPath(new URL('../../src/main.js', import.meta.url));
  const program = await RunningProgram.start({
    command: nodePath,
    args: [...(preload === undefined ? [] : ['--import', preload.script]), main, 'run', '-c', config],
    ...(preload === undefined ? {} : { env: preload.env }),
    outputFile: folder.log('countersign.log'),
    port,
  });
  return { program, port, adminPort, auditFile };
}

function configYaml(
  pki: BenchPki,
  at: { port: number; adminPort: number; originPort: number; auditFile: string },
  options: CountersignOptions,
): string {
  const { crowd = 10_000, workers = 1, limits, maxConnections = 256, listener } = options;
  const { route = 'path: /**', upstream = `url: "http://127.0.0.1:${at.originPort}"` } = options;
  return `version: 1
identity: { files: { certificate: ${pki.files.certificate}, key: ${pki.files.key} } }
trust: [{ trustDomain: example.org, bundle: { file: ${pki.files.ca} } }]
revocations: revoked.yaml
emergencyRevocations: emergency-revoked.yaml
listeners:
  - name: inbound
    address: 127.0.0.1:${at.port}
    ${listener ?? ''}
    routes: [{ name: everything, upstream: origin${route === '' ? '' : `, ${route}`} }]
upstreams: { origin: { ${upstream}, maxConnections: ${maxConnections} } }
policy: policy.yaml
audit: { file: ${at.auditFile} }
admin: { address: 127.0.0.1:${at.adminPort} }
limits: { requestsPerConnection: 0, connections: ${crowd}${limits === undefined || limits === '' ? '' : `, ${limits}`} }
deadlines: { idle: 10m }
workers: ${workers}
drain: { delay: 0s, deadline: 1s }
`;
}

/** Sum of a counter's series whose labels hold all of `labels`, from the admin listener. */
export async function readCounter(adminPort: number, name: string, ...labels: string[]): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${adminPort}/metrics`);
  let sum = 0;
  for (const line of (await response.text()).split('\n')) {
    if (!line.startsWith(name) || !labels.every((label) => line.includes(label))) continue;
    sum += Number(line.slice(line.lastIndexOf(' ') + 1));
  }
  return sum;
}
