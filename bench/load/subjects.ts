import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchPki } from '../support/bench-pki.js';
import { type CountersignOptions, startCountersign } from '../support/countersign-program.js';
import { findProgram, versionOf } from '../support/environment.js';
import { freePort, RunningProgram } from '../support/running-program.js';
import type { WorkFolder } from '../support/work-folder.js';
import {
  caddyConfig,
  haproxyConfig,
  nginxConfig,
  nginxStreamConfig,
  type PeerPlace,
} from './peer-configs.js';
import type { Scenario } from './scenarios.js';

export const subjectNames = ['countersign', 'nginx', 'haproxy', 'caddy', 'bare'] as const;
export type SubjectName = (typeof subjectNames)[number];

/** One server under load. */
export interface Subject {
  readonly name: SubjectName;
  readonly version: string;
  readonly port: number;
  readonly program: RunningProgram;
  /** Only Countersign has one: to check what it says against what the client saw. */
  readonly adminPort?: number;
}

export interface Site {
  readonly folder: WorkFolder;
  readonly pki: BenchPki;
  readonly originPort: number;
  readonly nodePath: string;
}

/** Starts a subject; undefined when it is not installed here, or not what is asked for. */
export async function startSubject(
  name: SubjectName,
  site: Site,
  mode: Scenario['mode'],
): Promise<Subject | undefined> {
  if (mode === 'tcp' && name !== 'countersign') {
    const stream = name === 'nginx' ? streamModule() : undefined;
    if (stream === undefined) return undefined;
    const configure = (place: PeerPlace): string => nginxStreamConfig(place, stream);
    return startPeer('nginx', site, configure, ['-v'], (config) => ['-c', config]);
  }
  switch (name) {
    case 'countersign': {
      const { program, port, adminPort } = await startCountersign(
        site.folder,
        site.pki,
        site.originPort,
        site.nodePath,
        mode === 'tcp' ? bytesTo(site.originPort) : {},
      );
      return { name, version: ownVersion(), port, program, adminPort };
    }
    case 'bare':
      return startBare(site);
    case 'nginx':
      return startPeer(name, site, nginxConfig, ['-v'], (config) => ['-c', config]);
    case 'haproxy':
      return startPeer(name, site, haproxyConfig, ['-v'], (config) => ['-db', '-f', config]);
    case 'caddy':
      return startPeer(name, site, caddyConfig, ['version'], (config) => ['run', '--config', config]);
  }
}

const bytesTo = (port: number): CountersignOptions => ({
  listener: 'protocol: tcp',
  route: '',
  upstream: `url: "tcp://127.0.0.1:${port}"`,
});

/** nginx's module for bytes is a package of its own; undefined when it is not installed. */
function streamModule(): string | undefined {
  const folders = ['/usr/lib/nginx/modules', '/usr/lib64/nginx/modules', '/usr/local/nginx/modules'];
  return folders.map((folder) => join(folder, 'ngx_stream_module.so')).find((file) => existsSync(file));
}

async function startPeer(
  name: 'nginx' | 'haproxy' | 'caddy',
  site: Site,
  configure: (place: PeerPlace) => string,
  versionArgs: readonly string[],
  runArgs: (config: string) => readonly string[],
): Promise<Subject | undefined> {
  const command = findProgram(name);
  if (command === undefined) return undefined;
  const { folder, pki, originPort } = site;
  const port = await freePort();
  const config = folder.write(
    `${name}.conf${name === 'caddy' ? '.json' : ''}`,
    configure({ port, originPort, logs: folder.logs, files: pki.files, rootDer: pki.root.certDer }),
  );
  const program = await RunningProgram.start({
    command,
    args: runArgs(config),
    env: { GOMAXPROCS: '1', HOME: folder.logs, XDG_DATA_HOME: folder.logs, XDG_CONFIG_HOME: folder.logs },
    outputFile: folder.log(`${name}.log`),
    port,
  });
  return { name, version: versionOf(command, versionArgs), port, program };
}

async function startBare({ folder, pki, nodePath }: Site): Promise<Subject> {
  const port = await freePort();
  const script = fileURLToPath(new URL('./bare.js', import.meta.url));
  const program = await RunningProgram.start({
    command: nodePath,
    args: [script, String(port), pki.files.ca, pki.files.certificate, pki.files.key],
    outputFile: folder.log('bare.log'),
    port,
  });
  return { name: 'bare', version: versionOf(nodePath, ['--version']), port, program };
}

function ownVersion(): string {
  const text = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
