import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { jwksOf, type PublicSigningKey, parsePublicKeys } from '../identity/signing-key.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';

const USAGE = `Usage: countersign audit keys FILE...

The public halves of keys that sign seals, as one JWK set on standard output: for \`audit verify --keys\`.
A FILE is a JWK or a JWK set (JSON), private or public. Nothing private is ever written.

  -h, --help   this text

Exit code: 0 = written, 78 = a file cannot be read or holds another kind of key, 64 = wrong usage.
`;

/** `countersign audit keys`. */
export async function runAuditKeys(argv: readonly string[], io: CliIo): Promise<number> {
  const options = { help: { type: 'boolean', short: 'h', default: false } } as const;
  let files: readonly string[];
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true });
    if (values.help) {
      io.stdout(USAGE);
      return exitCode.yes;
    }
    files = positionals;
  } catch (error) {
    return wrongUsage(io, 'audit keys', (error as Error).message);
  }
  if (files.length === 0) return wrongUsage(io, 'audit keys', 'say which files');
  const keys: PublicSigningKey[] = [];
  const problems: string[] = [];
  for (const file of files) {
    const found = await keysIn(resolve(io.cwd ?? process.cwd(), file));
    if (typeof found === 'string') problems.push(`${file}: ${found}`);
    else keys.push(...found);
  }
  if (problems.length > 0) {
    io.stderr(`${problems.join('\n')}\n`);
    return exitCode.config;
  }
  io.stdout(`${JSON.stringify(jwksOf(keys), null, 2)}\n`);
  return exitCode.yes;
}

async function keysIn(path: string): Promise<readonly PublicSigningKey[] | string> {
  try {
    const keys = parsePublicKeys(await readFile(path));
    return keys.ok ? keys.value : keys.error;
  } catch (cause) {
    return `cannot be read (${(cause as NodeJS.ErrnoException).code ?? 'unknown'})`;
  }
}
