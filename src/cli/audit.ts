import { type CliIo, exitCode, wrongUsage } from './io.js';

type Verb = (argv: readonly string[], io: CliIo) => Promise<number>;

/** What can be done with record files, each loaded when asked for. */
const verbs: Readonly<Record<string, { readonly does: string; load(): Promise<Verb> }>> = {
  verify: {
    does: 'prove that records are whole, in order and unaltered; names the first line that is not',
    load: async () => (await import('./audit-verify.js')).runAuditVerify,
  },
  report: {
    does: 'who reached what, under which rule; what was refused, revoked or lost; what needs attention',
    load: async () => (await import('./audit-report.js')).runAuditReport,
  },
};

const usage = (): string => `Usage: countersign audit VERB [options]

${Object.entries(verbs)
  .map(([name, { does }]) => `  ${name.padEnd(8)} ${does}`)
  .join('\n')}

countersign audit VERB --help tells more.
`;

/** `countersign audit VERB`. */
export async function runAudit(argv: readonly string[], io: CliIo): Promise<number> {
  const [name, ...rest] = argv;
  if (name === '--help' || name === '-h' || name === 'help') {
    io.stdout(usage());
    return exitCode.yes;
  }
  const verb = name !== undefined && Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (verb !== undefined) return (await verb.load())(rest, io);
  const known = Object.keys(verbs).join(', ');
  return wrongUsage(
    io,
    'audit',
    name === undefined ? `say what to do: ${known}` : `there is no "${name}", only ${known}`,
  );
}
