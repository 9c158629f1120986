import { readFile, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { ByteLines } from '../audit/byte-lines.js';
import type { SealHead } from '../audit/seal-head.js';
import { Verifier } from '../audit/verify/verifier.js';
import { parseVerifyKeys, type VerifyKey, type VerifyKeys } from '../audit/verify/verify-keys.js';
import { err, ok, type Result } from '../reasons.js';
import { readHeads } from './expected-heads.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { ProgressLine } from './progress-line.js';
import { readRecordBytes, STDIN } from './record-bytes.js';
import { orderFiles } from './record-order.js';
import { isProven, type VerifyReport, verificationAsJson, verificationAsText } from './verify-output.js';

const USAGE = `Usage: countersign audit verify --keys JWKS [--expect-head HEAD]... [--allow-open-tail] [--json] FILE...

Proves by their seals that records are whole, in order and unaltered. Names the first line that is not, and what is covered.

      --keys JWKS          public keys of the seals: a JWK Set from /.well-known/jwks.json or \`audit keys\`; repeatable
      --expect-head HEAD   a head that was kept: finds a tail that was cut off, or a stream that is missing. Its text, a file
                           with a saved /snapshot or a head a line, or an admin listener: http://127.0.0.1:9901,
                           unix:/path; repeatable
      --allow-open-tail    lines after the newest seal count as what is still being written, not as what was cut
      --json               one JSON object on standard output
  -h, --help               this text

FILE: record files, plain or gzip, rotated or joined, in any order; - is standard input.
Exit code: 0 = proven; 1 = not; 64 = wrong usage, 78 = keys, a head or a file cannot be read.
`;

interface Options {
  readonly keys: readonly string[];
  readonly heads: readonly string[];
  readonly allowOpenTail: boolean;
  readonly json: boolean;
  readonly files: readonly string[];
}

/** `countersign audit verify`: 0 = proven, 1 = not. */
export async function runAuditVerify(argv: readonly string[], io: CliIo): Promise<number> {
  const options = readOptions(argv);
  if (options === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if (typeof options === 'string') return wrongUsage(io, 'audit verify', options);
  const cwd = io.cwd ?? process.cwd();
  const inputs = await readInputs(options, cwd);
  if (!inputs.ok) {
    io.stderr(`countersign audit verify: ${inputs.error}\n`);
    return exitCode.config;
  }
  const report = await verifyFiles(inputs.value, options, io);
  io.stdout(options.json ? `${JSON.stringify(verificationAsJson(report))}\n` : verificationAsText(report));
  return isProven(report) ? exitCode.yes : exitCode.no;
}

interface Inputs {
  readonly keys: VerifyKeys;
  readonly heads: readonly SealHead[];
  readonly files: readonly string[];
  /** Of all files together; undefined where one has no end that is known. */
  readonly bytes: number | undefined;
}

async function readInputs(options: Options, cwd: string): Promise<Result<Inputs, string>> {
  const keys = await readKeys(options.keys, cwd);
  if (!keys.ok) return keys;
  const heads: SealHead[] = [];
  for (const from of options.heads) {
    const read = await readHeads(from, cwd);
    if (!read.ok) return err(`--expect-head ${read.error}`);
    heads.push(...read.value);
  }
  const files = await findFiles(options.files, cwd);
  return files.ok ? ok({ keys: keys.value, heads, ...files.value }) : files;
}

async function readKeys(names: readonly string[], cwd: string): Promise<Result<VerifyKeys, string>> {
  const all = new Map<string, VerifyKey>();
  for (const name of names) {
    const text = await readFile(resolve(cwd, name), 'utf8').catch((cause: NodeJS.ErrnoException) => cause);
    if (typeof text !== 'string') return err(`--keys ${name}: cannot be read (${text.code})`);
    const keys = parseVerifyKeys(text);
    if (!keys.ok) return err(`--keys ${name}: ${keys.error}`);
    for (const [kid, key] of keys.value) all.set(kid, key);
  }
  return ok(all);
}

/** A file that is named twice is read once; one that is not there is no proof of anything. */
async function findFiles(
  names: readonly string[],
  cwd: string,
): Promise<Result<Pick<Inputs, 'files' | 'bytes'>, string>> {
  const found = new Map<string, string>();
  let bytes: number | undefined = 0;
  for (const name of names) {
    const file = name === STDIN ? name : resolve(cwd, name);
    const stats =
      name === STDIN ? undefined : await stat(file).catch((cause: NodeJS.ErrnoException) => cause);
    if (stats instanceof Error) return err(`${name}: cannot be read (${stats.code})`);
    if (stats?.isDirectory()) return err(`${name}: is a folder`);
    const identity = stats === undefined ? STDIN : `${stats.dev}:${stats.ino}`;
    if (found.has(identity)) continue;
    found.set(identity, file);
    bytes = stats?.isFile() && bytes !== undefined ? bytes + stats.size : undefined;
  }
  const files = [...found.values()];
  // Of a pipe no head can be looked at without taking it away: then they are read as they are given.
  return ok({ files: bytes === undefined ? files : await orderFiles(files), bytes });
}

async function verifyFiles(inputs: Inputs, options: Options, io: CliIo): Promise<VerifyReport> {
  const { keys, heads, files, bytes } = inputs;
  const verifier = new Verifier(keys, heads);
  const progress = new ProgressLine(io, bytes);
  const unreadable: string[] = [];
  let lines = 0;
  for (const file of files) {
    verifier.beginFile();
    const cutter = new ByteLines((piece, start, end, number, state) =>
      verifier.take(piece, start, end, number, state),
    );
    const onBytes = (count: number): void => progress.add(count, lines + cutter.lines);
    const source = { file, stdin: io.stdin, onBytes };
    const read = await readRecordBytes(
      source,
      (piece) => cutter.push(piece),
      () => `line ${cutter.lines}`,
    );
    cutter.end();
    lines += cutter.lines;
    if (!read.ok) unreadable.push(read.error);
  }
  progress.clear();
  const cwd = `${io.cwd ?? process.cwd()}/`;
  const shown = files.map((file) => (file.startsWith(cwd) ? file.slice(cwd.length) : file));
  const { allowOpenTail } = options;
  return { verification: verifier.end(), files: shown, unreadable, allowOpenTail, expected: heads.length };
}

function readOptions(argv: readonly string[]): Options | string {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: {
        keys: { type: 'string', multiple: true, default: [] },
        'expect-head': { type: 'string', multiple: true, default: [] },
        'allow-open-tail': { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowPositionals: true,
    });
    if (values.help) return 'help';
    if (values.keys.length === 0) return 'say which keys seal these records: --keys JWKS';
    if (positionals.length === 0) return 'say which files: countersign audit verify --keys JWKS FILE...';
    if ([...positionals, ...values.keys, ...values['expect-head']].includes(''))
      return 'the name of a file is empty';
    return {
      keys: values.keys,
      heads: values['expect-head'],
      allowOpenTail: values['allow-open-tail'],
      json: values.json,
      files: positionals,
    };
  } catch (error) {
    return (error as Error).message;
  }
}
