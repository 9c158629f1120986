import { readFileSync } from 'node:fs';
import type { Stage } from '../dev/demo-acts.js';
import type { DemoFiles } from '../dev/demo-files.js';
import { runAuditKeys } from './audit-keys.js';
import { runAuditVerify } from './audit-verify.js';
import { type CliIo, exitCode } from './io.js';
import { makeSigningKey } from './pki-signing-key.js';

type Verb = (argv: readonly string[], io: CliIo) => Promise<number>;

/** A key that seals the demo's records, and its public half: as an operator would make them. */
export async function makeSealFiles(files: DemoFiles): Promise<void> {
  await makeSigningKey('seal', files.path('seal.jwk'), 'ed25519', false);
  files.replace('seal-keys.json', (await said(runAuditKeys, files, ['seal.jwk'])).text);
}

/** What somebody else would keep of a sidecar that runs: how far its records went. */
export async function keepHeads({ files, adminUrl, records }: Stage): Promise<void> {
  await records.until(({ event }) => event === 'audit.seal');
  files.replace('heads.json', await (await fetch(`${adminUrl}/snapshot`)).text());
}

/** `audit verify` of the records, and of a copy in which somebody made a refusal an allow. */
export async function expectProof({ files, screen }: Stage, isOpen: boolean): Promise<void> {
  const options = ['--keys', 'seal-keys.json', ...(isOpen ? ['--allow-open-tail'] : [])];
  const whole = await said(runAuditVerify, files, [
    ...options,
    '--expect-head',
    'heads.json',
    'audit.ndjson',
  ]);
  const verdict = /^(?:NOT )?PROVEN.*$/m.exec(whole.text)?.[0] ?? whole.text.trim();
  screen.expect('audit verify', 'PROVEN', verdict, whole.code === exitCode.yes);
  const lines = readFileSync(files.path('audit.ndjson'), 'utf8').split('\n');
  const line = lines.findIndex((text) => text.includes('"effect":"deny"'));
  lines[line] = lines[line]?.replace('"effect":"deny"', '"effect":"allow"') ?? '';
  files.replace('altered.ndjson', lines.join('\n'));
  const altered = await said(runAuditVerify, files, [...options, 'altered.ndjson']);
  const place = `altered.ndjson:${line + 1}: `;
  const found = altered.text.split('\n').find((text) => text.startsWith(place));
  const isFound = altered.code === exitCode.no && found !== undefined;
  screen.expect('the same, one "deny" made an "allow"', `${place}…`, found ?? altered.text.trim(), isFound);
}

/** What a verb says in the demo's folder. */
async function said(
  verb: Verb,
  files: DemoFiles,
  argv: readonly string[],
): Promise<{ readonly code: number; readonly text: string }> {
  let text = '';
  const take = (more: string): void => {
    text += more;
  };
  const code = await verb(argv, { stdout: take, stderr: take, env: {}, cwd: files.folder });
  return { code, text };
}
