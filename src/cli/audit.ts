import { type CliIo, exitCode, wrongUsage } from './io.js';

type Verb = (argv: readonly string[], io: CliIo) => Promise<number>;

/** Loaded when asked for. */
const verbs: Readonly<Record<string, { readonly does: string; load(): Promise<Verb> }>> = {
  query: {
    does: 'find records: who touched what, and what let it in',
    load: async () => (await import('./audit-query.js')).runAuditQuery,
  },
};

const usage = (): string => `Usage: countersign audit VERB [options] FILE...

What records say.

${Object.entries(verbs)
  .map(([name, { does }]) => `  ${name.padEnd(8)} ${does}`)
  .join('\n')}

countersign audit VERB --help tells more.
`;

/** `countersign audit VERB`. */
export async function runAudit(argv: readonly string[], io: CliIo): Promise<number> {
  const [name = '', ...rest] = argv;
  if (name === '--help' || name === '-h') {
    io.stdout(usage());
    return exitCode.yes;
  }
  const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
  if (verb === undefined)
    return wrongUsage(io, 'audit', name === '' ? 'say what to do' : `there is no verb "${name}"`);
  return (await verb.load())(rest, io);
}
