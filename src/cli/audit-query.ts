import { resolve } from 'node:path';
import { readQueryOptions } from './audit-query-options.js';
import { runQuery } from './audit-query-run.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { STDIN } from './record-bytes.js';

const USAGE = `Usage: countersign audit query [options] FILE...

Finds records: what an identity touched, who touched a destination, which requests a rule or an exception let in.
Files are plain or gzip and read in the order given; - is standard input.

      --identity PATTERN   SPIFFE ID or the name that a token gave, or a pattern as in policy: * one segment, ** any number
      --behalf-of PATTERN  on whose behalf it was; the same
      --destination NAME   upstream or route
      --rule ID            rule that decided
      --exception ID       exception that let it in, and what became of the exception
      --effect EFFECT      allow or deny
      --reason REASON      of the decision, or of an answer that was broken off
      --event EVENT        such as access, handshake, revocation.changed; exception.* for all that begin so
      --listener NAME
      --id ID              of the request or connection; an answer's requestId
      --token TEXT         jti of a token, or SHA-256 of its text
      --since TIME         at this time or later, such as 2026-11-21T10:00:00Z
      --until TIME         before this time
      --by FIELD,...       counts records by these: identity, owner, behalf-of, destination, route, listener, method, host, path,
                           token, effect, reason, rule, exception, policy, status, outcome, authority, serial, address,
                           event, hour, day
      --format FORMAT      table (default), or ndjson: the records, byte for byte
      --limit N            no more than these; with --by the largest
  -h, --help               this text

Said several times, any of --identity, --behalf-of, --destination, --rule, --exception, --reason, --event, --listener, --id and --token fits.
Exit code: 0 = something was found, 1 = nothing was, 64 = wrong usage, 78 = a file cannot be read.
`;

/** `countersign audit query`: 0 = found, 1 = nothing there. */
export async function runAuditQuery(argv: readonly string[], io: CliIo): Promise<number> {
  const options = readQueryOptions(argv);
  if (options === 'help') {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  if ('wrong' in options) return wrongUsage(io, 'audit query', options.wrong);
  const cwd = io.cwd ?? process.cwd();
  const files = options.files.map((file) => (file === STDIN ? file : resolve(cwd, file)));
  const found = await runQuery({ ...options, files: [...new Set(files)] }, io, cwd);
  if (!found.ok) {
    io.stderr(`countersign audit query: ${found.error}\n`);
    return exitCode.config;
  }
  return found.value > 0 ? exitCode.yes : exitCode.no;
}
