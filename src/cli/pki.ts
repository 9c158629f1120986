import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { parseDuration } from '../config/units.js';
import { type Authority, mintRoot } from '../dev/pki.js';
import {
  type AuthorityName,
  PkiError,
  PkiFolder,
  readOptional,
  revokedSerials,
  writeWhole,
} from '../dev/pki-folder.js';
import { parseCertificate } from '../identity/certificate.js';
import { readPemCertificates } from '../identity/pem.js';
import { parseSpiffeId, parseTrustDomain } from '../identity/spiffe-id.js';
import { exitCode, wrongUsage } from './io.js';
import { formatSpiffeBundle, showFile } from './pki-show.js';
import { makeSigningKey, type SigningPurpose } from './pki-signing-key.js';

export interface PkiIo {
  stdout(text: string): void;
  stderr(text: string): void;
  readonly cwd?: string;
}

const USAGE = `Usage: countersign pki VERB [options]

A throwaway certificate authority for development and tests. Its keys lie in plain files: never use it in production.

  init --dir DIR --trust-domain NAME    a root: root.pem, root-key.pem, bundle.pem
       [--ttl 3650d] [--force]
  intermediate --dir DIR [--ttl 365d]   a CA below the root; later certificates come from it
       [--force]
  issue --dir DIR --id spiffe://…       an X509-SVID: NAME.pem (leaf first) and NAME-key.pem
       [--ttl 1h] [--out NAME] [--dns NAME]…
  crl --dir DIR [--revoke SERIAL|FILE]… a revocation list: the authority's name with .crl; revoked ones stay on it
       [--issuer root|intermediate] [--ttl 1d] [--out FILE]
  bundle --dir DIR                      the trust bundle, on standard output
       [--format pem|spiffe] [--with-intermediate] [--out FILE]
  seal-key FILE                         a private JWK that signs seals over records (audit.seal.key)
       [--type ed25519|p256] [--force]
  assertion-key FILE                    a private JWK that signs x-identity-assertion (forward.assertion.key)
       [--type ed25519|p256] [--force]
  show FILE…                            what certificates and lists say

Times are a number and ms, s, m, h or d. Exit code: 0 = done, 1 = it could not be done, 64 = wrong usage.
`;

const NOTE = 'A throwaway development CA: its keys are plain files on this disk.';

class UsageError extends Error {}

type Values = Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
type Verb = (values: Values, positionals: readonly string[], io: PkiIo) => Promise<void>;

interface VerbDescription {
  readonly options: Readonly<
    Record<string, { readonly type: 'string' | 'boolean'; readonly multiple?: boolean }>
  >;
  readonly files?: true;
  readonly run: Verb;
}

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;
const texts = { type: 'string', multiple: true } as const;

const verbs: ReadonlyMap<string, VerbDescription> = new Map([
  ['init', { options: { dir: text, 'trust-domain': text, ttl: text, force: flag }, run: init }],
  ['intermediate', { options: { dir: text, ttl: text, force: flag }, run: intermediate }],
  ['issue', { options: { dir: text, id: text, ttl: text, out: text, dns: texts }, run: issue }],
  ['crl', { options: { dir: text, revoke: texts, issuer: text, ttl: text, out: text }, run: crl }],
  ['bundle', { options: { dir: text, format: text, 'with-intermediate': flag, out: text }, run: bundle }],
  ['seal-key', { options: { type: text, force: flag }, files: true, run: signingKey('seal') }],
  ['assertion-key', { options: { type: text, force: flag }, files: true, run: signingKey('assertion') }],
  ['show', { options: {}, files: true, run: show }],
]);

/** `countersign pki`: 0 = done, 1 = it could not be done, 64 = wrong usage. */
export async function runPki(argv: readonly string[], io: PkiIo): Promise<number> {
  const [name = '', ...rest] = argv;
  if (name === '--help' || name === '-h' || name === 'help' || rest.includes('--help')) {
    io.stdout(USAGE);
    return exitCode.yes;
  }
  try {
    const verb = verbs.get(name);
    if (!verb)
      throw new UsageError(name === '' ? 'a verb is missing' : `unknown verb ${JSON.stringify(name)}`);
    const { values, positionals } = readArguments(verb, rest);
    await verb.run(values, positionals, io);
    return exitCode.yes;
  } catch (error) {
    if (error instanceof UsageError) return wrongUsage(io, 'pki', error.message);
    if (error instanceof PkiError) {
      io.stderr(`countersign pki ${name}: ${error.message}\n`);
      return exitCode.no;
    }
    throw error;
  }
}

function readArguments(verb: VerbDescription, args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: verb.options,
      allowPositionals: verb.files === true,
      strict: true,
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error));
  }
}

async function init(values: Values, _: readonly string[], io: PkiIo): Promise<void> {
  const folder = folderOf(values, io);
  const trustDomain = parseTrustDomain(required(values, 'trust-domain'));
  if (!trustDomain.ok) throw new UsageError(`--trust-domain: ${trustDomain.error}`);
  await refuseOverwrite(folder, 'root', values);
  const root = await mintRoot(trustDomain.value, { ttlMs: duration(values, 3650 * DAY_MS) });
  await folder.writeAuthority('root', root);
  await writeWhole(folder.file('bundle.pem'), root.certPem, 0o644);
  io.stdout(`${folder.file('bundle.pem')}: trust bundle of ${trustDomain.value}, ${until(root)}\n${NOTE}\n`);
}

async function intermediate(values: Values, _: readonly string[], io: PkiIo): Promise<void> {
  const folder = folderOf(values, io);
  const root = await folder.requireRoot();
  await refuseOverwrite(folder, 'intermediate', values);
  const made = await root.intermediate({ pathLength: 0, ttlMs: duration(values, 365 * DAY_MS) });
  await folder.writeAuthority('intermediate', made);
  io.stdout(`${folder.file('intermediate.pem')}: ${made.subject}, ${until(made)}\n${NOTE}\n`);
}

async function issue(values: Values, _: readonly string[], io: PkiIo): Promise<void> {
  const folder = folderOf(values, io);
  const id = parseSpiffeId(required(values, 'id'));
  if (!id.ok) throw new UsageError(`--id: ${id.error}`);
  const last = id.value.segments[id.value.segments.length - 1];
  if (last === undefined) throw new UsageError('--id: a workload has a path');
  const out = optional(values, 'out') ?? last;
  if (out.includes('/') || out.startsWith('.')) throw new UsageError('--out is a name without a folder');
  if (reservedNames.has(out)) throw new UsageError(`--out: ${out} is a name of the CA's own files`);
  const { authority } = await folder.readIssuer();
  const svid = await authority.issue(id.value.uri, {
    ttlMs: duration(values, HOUR_MS),
    otherSans: many(values, 'dns').map((name) => `DNS:${name}`),
  });
  await writeWhole(folder.file(`${out}-key.pem`), svid.keyPem, 0o600);
  await writeWhole(folder.file(`${out}.pem`), svid.chainPem, 0o644);
  const other =
    id.value.trustDomain === authority.trustDomain ? '' : ` (this CA is of ${authority.trustDomain})`;
  io.stdout(
    `${folder.file(`${out}.pem`)}: ${svid.uri}${other}, serial ${svid.serial}, until ${svid.notAfter.toISOString()}\n`,
  );
}

const reservedNames: ReadonlySet<string> = new Set(['root', 'intermediate', 'bundle']);

async function crl(values: Values, _: readonly string[], io: PkiIo): Promise<void> {
  const folder = folderOf(values, io);
  const { name, authority } = await chooseIssuer(folder, optional(values, 'issuer'));
  const before = await folder.readRevoked(name);
  const revoked = new Map(before.revoked.map((entry) => [entry.serial, entry]));
  for (const item of many(values, 'revoke')) {
    const serial = await serialOf(item, authority, io);
    if (!revoked.has(serial)) revoked.set(serial, { serial, at: new Date().toISOString() });
  }
  const register = { number: before.number + 1, revoked: [...revoked.values()] };
  const list = await authority.crl({
    number: register.number,
    revoked: revokedSerials(register),
    nextUpdate: new Date(Date.now() + duration(values, DAY_MS)),
  });
  const out = optional(values, 'out');
  const file = out === undefined ? folder.file(`${name}.crl`) : resolve(io.cwd ?? process.cwd(), out);
  await folder.writeRevoked(name, register);
  await writeWhole(file, list.pem, 0o644);
  io.stdout(`${file}: list ${register.number} of ${authority.subject}, ${revoked.size} revoked\n`);
  if (name === 'intermediate')
    io.stdout('It counts where the bundle holds the intermediate: pki bundle --with-intermediate\n');
}

async function chooseIssuer(
  folder: PkiFolder,
  name: string | undefined,
): Promise<{ name: AuthorityName; authority: Authority }> {
  if (name === undefined) return folder.readIssuer();
  if (name !== 'root' && name !== 'intermediate') throw new UsageError('--issuer is root or intermediate');
  const authority = await folder.readAuthority(name);
  if (!authority) throw new PkiError(`${folder.path} holds no ${name}`);
  return { name, authority };
}

/** A serial in hex, or that of the first certificate in a PEM file, which this authority must have issued. */
async function serialOf(item: string, authority: Authority, io: PkiIo): Promise<string> {
  const hex = item.replace(/:/g, '').toLowerCase();
  if (/^[0-9a-f]{1,40}$/.test(hex)) return hex.replace(/^0+(?=.)/, '');
  const bytes = await readOptional(resolve(io.cwd ?? process.cwd(), item));
  if (bytes === undefined) throw new PkiError(`${item} is neither a serial in hex nor a file`);
  const ders = readPemCertificates(bytes);
  const [der] = ders.ok ? ders.value : [];
  const certificate = der && parseCertificate(der);
  if (!certificate?.ok) throw new PkiError(`${item} holds no certificate`);
  const issuer = parseCertificate(authority.certDer);
  if (!issuer.ok || !certificate.value.x509.verify(issuer.value.x509.publicKey))
    throw new PkiError(`${item} was not issued by ${authority.subject}: its list cannot revoke it`);
  return certificate.value.serial;
}

async function bundle(values: Values, _: readonly string[], io: PkiIo): Promise<void> {
  const folder = folderOf(values, io);
  const authorities = [await folder.requireRoot()];
  if (values['with-intermediate'] === true) {
    const below = await folder.readAuthority('intermediate');
    if (!below) throw new PkiError(`${folder.path} holds no intermediate`);
    authorities.push(below);
  }
  const format = optional(values, 'format') ?? 'pem';
  if (format !== 'pem' && format !== 'spiffe') throw new UsageError('--format is pem or spiffe');
  const content =
    format === 'pem'
      ? authorities.map((authority) => authority.certPem).join('')
      : formatSpiffeBundle(authorities.map((authority) => authority.certDer));
  const out = optional(values, 'out');
  if (out === undefined) io.stdout(content);
  else await writeWhole(resolve(io.cwd ?? process.cwd(), out), content, 0o644);
}

async function show(_: Values, files: readonly string[], io: PkiIo): Promise<void> {
  if (files.length === 0) throw new UsageError('show needs a file');
  for (const file of files) {
    const bytes = await readOptional(resolve(io.cwd ?? process.cwd(), file));
    if (bytes === undefined) throw new PkiError(`${file} does not exist`);
    const shown = showFile(bytes);
    if (!shown.ok) throw new PkiError(`${file}: ${shown.error}`);
    io.stdout(files.length > 1 ? `${file}:\n${shown.value}` : shown.value);
  }
}

function signingKey(purpose: SigningPurpose): Verb {
  return async (values, files, io) => {
    const [file] = files;
    if (file === undefined || files.length > 1)
      throw new UsageError(`${purpose}-key needs one file to write`);
    const type = optional(values, 'type') ?? 'ed25519';
    if (type !== 'ed25519' && type !== 'p256') throw new UsageError('--type is ed25519 or p256');
    const path = resolve(io.cwd ?? process.cwd(), file);
    io.stdout(await makeSigningKey(purpose, path, type, values.force === true));
  };
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

function optional(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

function required(values: Values, name: string): string {
  const value = optional(values, name);
  if (value === undefined || value === '') throw new UsageError(`--${name} is missing`);
  return value;
}

function many(values: Values, name: string): string[] {
  const value = values[name];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

const folderOf = (values: Values, io: PkiIo): PkiFolder =>
  new PkiFolder(resolve(io.cwd ?? process.cwd(), required(values, 'dir')));

function duration(values: Values, otherwiseMs: number): number {
  const given = optional(values, 'ttl');
  if (given === undefined) return otherwiseMs;
  const parsed = parseDuration(given);
  if (!parsed.ok || parsed.value === 0)
    throw new UsageError(`--ttl: ${parsed.ok ? 'it is nothing' : parsed.error}`);
  return parsed.value;
}

/** A new root orphans every certificate of the old one: never by accident. */
async function refuseOverwrite(folder: PkiFolder, name: AuthorityName, values: Values): Promise<void> {
  if (values.force === true) return;
  if ((await readOptional(folder.file(`${name}.pem`))) !== undefined)
    throw new PkiError(`${folder.file(`${name}.pem`)} is there already; --force replaces it`);
}

const until = (authority: Authority): string => `until ${authority.certificate.notAfter.toISOString()}`;
