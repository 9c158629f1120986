import { execFileSync, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { cpus } from 'node:os';
import { delimiter, join } from 'node:path';

/** What a reader must know to judge a figure. No host name and no path: results are published. */
export interface Environment {
  readonly date: string;
  readonly cpu: string;
  readonly cores: number;
  readonly os: string;
  /** Of the programs under test. */
  readonly node: string;
  readonly openssl: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** @param nodePath the Node binary that the programs under test run on. */
export function describeEnvironment(
  nodePath: string,
  versions: Readonly<Record<string, string>> = {},
): Environment {
  const print = 'process.stdout.write(process.version + " " + process.versions.openssl)';
  const [node = '', openssl = ''] = execFileSync(nodePath, ['-e', print], { encoding: 'utf8' }).split(' ');
  const all = cpus();
  return {
    date: new Date().toISOString(),
    cpu: all[0]?.model ?? 'unknown',
    cores: all.length,
    os: process.platform,
    node,
    openssl,
    versions,
  };
}

/** Where a program is, also in the folders of system daemons that a user's PATH leaves out; undefined when it is not installed. */
export function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/usr/bin'];
  for (const folder of folders) {
    if (folder === '') continue;
    const file = join(folder, name);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not here
    }
  }
  return undefined;
}

/** The first thing like a version number in what a program says of itself. */
export function versionOf(program: string, args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 5000 });
  return /\d+\.\d+(\.\d+)?/.exec(`${stdout}\n${stderr}`)?.[0] ?? 'unknown';
}
