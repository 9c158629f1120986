import { parseKeySet } from '../identity/key-set.js';
import { namesNotIn, parseServerCertificate } from '../identity/server-certificate.js';
import { parseInjectedSecret } from '../message/injected-secret.js';
import type { Result } from '../reasons.js';
import type { Config, KeySetOrigin, ListenerConfig, RouteConfig } from './config.js';
import type { Problem } from './problem.js';
import { checkCa, type FileReader, type Findings } from './trust-check.js';
import type { KeyPath } from './yaml-text.js';

/** Permission bit of stat(2): users that are neither its owner nor of its group may read it. */
const READ_BY_OTHERS = 0o004;
const DAY_MS = 86_400_000;

/** What to say of a secret's file that everybody may read; undefined where they may not. @param mode of stat(2) */
export const warnOfSecretMode = (file: string, mode: number): string | undefined =>
  (mode & READ_BY_OTHERS) === 0
    ? undefined
    : `${file}: every user of this machine can read the secret in it; chmod 600 it`;

/** How this check looks at the disk. */
export interface Files {
  readonly read: FileReader;
  /** undefined where the file cannot be looked at. */
  readonly modeOf: (file: string) => Promise<number | undefined>;
}

interface Check extends Files, Findings {
  readonly at: (path: KeyPath, message: string) => Problem;
  readonly nowMs: number;
}

/** The key sets, server certificates and secrets that stand in files, read as `run` reads them. What is fetched is not asked for. */
export async function checkTokenFiles(
  config: Config,
  at: Check['at'],
  files: Files,
  nowMs: number,
): Promise<Findings> {
  const check: Check = { ...files, at, problems: [], warnings: [], nowMs };
  for (const [i, { keys }] of config.tokens.entries())
    if (keys !== undefined) await checkKeys(check, ['tokens', i, 'jwks'], keys);
  for (const [i, { by }] of config.trustedPeers.delegates.entries())
    if (by.kind === 'assertion') await checkKeys(check, ['trustedPeers', 'delegates', i, 'jwks'], by.keys);
  for (const [i, listener] of config.listeners.entries()) {
    await checkServerCertificate(check, ['listeners', i, 'serverCertificate'], listener, config);
    for (const [j, route] of listener.routes.entries())
      await checkSecret(check, ['listeners', i, 'routes', j, 'injectCredential', 'file'], route);
  }
  return check;
}

async function checkKeys(check: Check, path: KeyPath, origin: KeySetOrigin): Promise<void> {
  const { at, read, problems, warnings } = check;
  if (origin.kind === 'file') {
    if (origin.file === '') return; // told already
    const keys = of(origin.file, await read(origin.file), parseKeySet);
    if (!keys.ok) problems.push(at([...path, 'file'], keys.error));
    else if (keys.value.keys.length === 0)
      warnings.push(at([...path, 'file'], `${origin.file}: holds no key that verifies tokens`));
    return;
  }
  await checkCa(origin.caFile, [...path, 'ca'], at, read, check);
}

async function checkServerCertificate(
  { at, read, problems, warnings, nowMs }: Check,
  path: KeyPath,
  { serverCertificate }: ListenerConfig,
  { identityOptions }: Config,
): Promise<void> {
  if (serverCertificate === undefined) return;
  const { certificateFile, keyFile, names } = serverCertificate;
  const certificate = await read(certificateFile);
  const key = await read(keyFile);
  if (!certificate.ok) problems.push(at([...path, 'certificate'], certificate.error));
  if (!key.ok) problems.push(at([...path, 'key'], key.error));
  if (!certificate.ok || !key.ok) return;
  const terms = { names, nowMs, clockSkewMs: identityOptions.clockSkewMs };
  const chain = parseServerCertificate(certificate.value, key.value, terms);
  if (!chain.ok) {
    const { part, message } = chain.error;
    problems.push(at([...path, part], `${part === 'key' ? keyFile : certificateFile}: ${message}`));
    return;
  }
  const uncovered = namesNotIn(chain.value);
  if (uncovered.length > 0) {
    const message = `the certificate does not hold ${uncovered.join(', ')}: no client will take it for that`;
    warnings.push(at([...path, 'names'], message));
  }
  const { notAfterMs } = chain.value.leaf;
  if (notAfterMs - nowMs < DAY_MS) {
    const until = new Date(notAfterMs).toISOString();
    warnings.push(at([...path, 'certificate'], `${certificateFile}: expires within a day, at ${until}`));
  }
}

async function checkSecret(
  { at, read, modeOf, problems, warnings }: Check,
  path: KeyPath,
  { injects }: RouteConfig,
): Promise<void> {
  if (injects === undefined) return;
  const { file } = injects;
  const secret = of(file, await read(file), parseInjectedSecret);
  if (!secret.ok) return void problems.push(at(path, secret.error));
  const warning = warnOfSecretMode(file, (await modeOf(file)) ?? 0);
  if (warning !== undefined) warnings.push(at(path, warning));
}

function of<T>(
  file: string,
  bytes: Result<Uint8Array, string>,
  parse: (bytes: Uint8Array) => Result<T, string>,
): Result<T, string> {
  if (!bytes.ok) return bytes;
  const parsed = parse(bytes.value);
  return parsed.ok ? parsed : { ok: false, error: `${file}: ${parsed.error}` };
}
