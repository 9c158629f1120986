import { dirname, join } from 'node:path';
import type { FolderNames } from '../identity/bundle-file-names.js';
import type { Crl } from '../identity/crl.js';
import { describeExpiredList, parseCrl } from '../identity/crl.js';
import { type OwnSvid, parseOwnSvid } from '../identity/own-svid.js';
import { readPemCertificates } from '../identity/pem.js';
import { createRevocationList, judgeSvid, type RevocationList } from '../identity/revocation.js';
import { parseTrustDomain, type TrustDomain } from '../identity/spiffe-id.js';
import { bindCrls, parseTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { createSignatureCheck, verifyX509Svid } from '../identity/x509-svid.js';
import type { Result } from '../reasons.js';
import type { Config, TrustConfig, TrustFolderConfig } from './config.js';
import type { Problem } from './problem.js';
import { joinRevocations, parseRevocations, revocationListOf } from './revocations.js';
import type { KeyPath } from './yaml-text.js';

export type FileRead = Result<Uint8Array, string>;
export type FileReader = (path: string) => Promise<FileRead>;
type ProblemAt = (path: KeyPath, message: string) => Problem;

export interface Findings {
  readonly problems: Problem[];
  readonly warnings: Problem[];
}

const DAY_MS = 86_400_000;
/** What the files of a folder have. */
const NO_REVOCATION = { require: 'none', stale: 'deny', staleGraceMs: 0 } as const;

/** How a check looks at the disk. */
export interface Disk {
  readonly read: FileReader;
  readonly list: (folder: string) => Promise<Result<FolderNames, string>>;
}

/** What was found good, by trust domain, as at `nowMs`. */
interface Sound {
  readonly bundles: Map<string, TrustBundle>;
  readonly crls: Map<string, readonly Crl[]>;
  readonly nowMs: number;
}

/** Every file of trust that the configuration names, read and judged as at `nowMs`. What comes from elsewhere is not asked for. */
export async function checkTrust(
  config: Config,
  at: ProblemAt,
  { read, list }: Disk,
  nowMs: number,
): Promise<Findings> {
  const found: Findings = { problems: [], warnings: [] };
  const bundles = new Map<string, TrustBundle>();
  const crls = new Map<string, readonly Crl[]>();
  for (const trust of config.trust) await checkDomain(trust, at, read, found, { bundles, crls, nowMs });
  for (const folder of config.trustFolders)
    await checkFolder(config, folder, at, { read, list }, found, bundles);
  const file = await checkRevocations(config, at, read, found);
  const emergency = await checkEmergency(config, at, read, found);
  const revocations = revocationListOf(joinRevocations(file.entries, emergency?.entries ?? []));
  await checkCa(config.externalDecision?.caFile, ['externalDecision', 'ca'], at, read, found);
  for (const { name, tls } of config.upstreams.values()) {
    if (tls?.kind === 'roots') await checkCa(tls.caFile, ['upstreams', name, 'tls', 'ca'], at, read, found);
  }
  const own = await checkOwnFiles(config, at, read, found);
  if (own !== undefined) judgeOwn(config, own, { bundles, crls, revocations, nowMs }, at, found);
  return found;
}

async function checkDomain(
  trust: TrustConfig,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
  { bundles, crls, nowMs }: Sound,
): Promise<void> {
  const bundle = await checkOrigin(trust, at, read, found);
  if (bundle !== undefined) bundles.set(trust.trustDomain, bundle);
  const lists: Crl[] = [];
  for (const [j, file] of trust.revocation.crlFiles.entries()) {
    const crlPath = ['trust', trust.entry, 'revocation', 'crls', j];
    const crlBytes = await read(file);
    const crl = crlBytes.ok ? parseCrl(crlBytes.value) : crlBytes;
    if (!crl.ok) {
      found.problems.push(at(crlPath, named(file, crl.error)));
      continue;
    }
    lists.push(crl.value);
    if (nowMs > crl.value.nextUpdateMs)
      found.warnings.push(at(crlPath, named(file, describeExpiredList(crl.value))));
    if (bundle === undefined) continue;
    const bound = bindCrls(bundle, [crl.value]);
    if (!bound.ok) found.problems.push(at(crlPath, named(file, bound.error)));
  }
  if (bundle === undefined) return;
  const bound = bindCrls(bundle, lists);
  if (bound.ok) crls.set(trust.trustDomain, bound.value);
}

/** The bundle as far as files tell it: whole, or what an endpoint begins with. */
async function checkOrigin(
  { entry, trustDomain, bundle }: TrustConfig,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<TrustBundle | undefined> {
  const path = ['trust', entry, 'bundle'];
  switch (bundle.kind) {
    case 'file':
      return checkBundle(trustDomain, bundle.file, [...path, 'file'], at, read, found);
    case 'workloadApi':
      return undefined;
    case 'endpoint': {
      const { profile, bootstrapFile } = bundle;
      if (profile.kind === 'https_web')
        await checkCa(profile.caFile, [...path, 'endpoint', 'ca'], at, read, found);
      if (bootstrapFile === undefined) return undefined;
      const bootstrapPath = [...path, 'endpoint', 'bootstrap'];
      await checkBundle(trustDomain, bootstrapFile, bootstrapPath, at, read, found);
      return undefined; // what is in force will be what the endpoint says
    }
  }
}

/** Authorities for https, read whole. */
export async function checkCa(
  file: string | undefined,
  path: KeyPath,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<void> {
  if (file === undefined) return;
  const bytes = await read(file);
  const cas = bytes.ok ? readPemCertificates(bytes.value) : bytes;
  if (!cas.ok) found.problems.push(at(path, named(file, cas.error)));
  else if (cas.value.length === 0) found.problems.push(at(path, `${file}: holds no certificate`));
}

async function checkBundle(
  trustDomain: TrustDomain,
  file: string,
  path: KeyPath,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<TrustBundle | undefined> {
  const bytes = await read(file);
  const bundle = bytes.ok ? parseTrustBundle(trustDomain, bytes.value) : bytes;
  if (!bundle.ok) found.problems.push(at(path, named(file, bundle.error)));
  else if (bundle.value.authorities.length === 0)
    found.problems.push(at(path, `${file}: holds no authority`));
  else return bundle.value;
  return undefined;
}

async function checkFolder(
  config: Config,
  { entry, folder }: TrustFolderConfig,
  at: ProblemAt,
  { read, list }: Disk,
  found: Findings,
  bundles: Map<string, TrustBundle>,
): Promise<void> {
  const path = ['trust', entry, 'folder'];
  const names = await list(folder);
  if (!names.ok) return void found.problems.push(at(path, names.error));
  for (const problem of names.value.problems) found.problems.push(at(path, `${folder}: ${problem}`));
  for (const [name, file] of names.value.domains) {
    const known = config.trust.find(({ trustDomain }) => trustDomain === name);
    if (known !== undefined || bundles.has(name)) {
      const where = known === undefined ? 'in another folder' : `in trust[${known.entry}]`;
      found.problems.push(at(path, `${join(folder, file)}: ${name} is configured already ${where}`));
      continue;
    }
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) continue;
    const bundle = await checkBundle(trustDomain.value, join(folder, file), path, at, read, found);
    if (bundle !== undefined) bundles.set(name, bundle);
  }
}

async function checkRevocations(
  config: Config,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<RevocationList> {
  const none = createRevocationList([], 'none');
  const file = config.revocationsFile;
  if (file === undefined) return none;
  const bytes = await read(file);
  if (!bytes.ok) {
    found.problems.push(at(['revocations'], bytes.error));
    return none;
  }
  const { list, problems } = parseRevocations(bytes.value, file);
  found.problems.push(...problems);
  return list ?? none;
}

/** What a file that is not there reads as; ours is made by the first POST /revocations. */
export const NO_SUCH_FILE = 'there is no such file';

/** A file of ours that nothing was written to yet: only it is missing, and not its folder. */
export async function isYetToBeMade(file: string, error: string, read: FileReader): Promise<boolean> {
  const folder = await read(dirname(file));
  return error.endsWith(NO_SUCH_FILE) && !folder.ok && !folder.error.endsWith(NO_SUCH_FILE);
}

async function checkEmergency(
  config: Config,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<RevocationList | undefined> {
  const file = config.emergencyRevocationsFile;
  if (file === undefined) return undefined;
  const bytes = await read(file);
  if (bytes.ok) {
    const { list, problems } = parseRevocations(bytes.value, file);
    found.problems.push(...problems);
    return list;
  }
  if (!(await isYetToBeMade(file, bytes.error, read)))
    found.problems.push(at(['emergencyRevocations'], bytes.error));
  return undefined;
}

async function checkOwnFiles(
  config: Config,
  at: ProblemAt,
  read: FileReader,
  found: Findings,
): Promise<OwnSvid | undefined> {
  if (config.identity.kind === 'workloadApi') return undefined;
  const { certificateFile, keyFile } = config.identity;
  const certificate = await read(certificateFile);
  const key = await read(keyFile);
  if (!certificate.ok) found.problems.push(at(['identity', 'files', 'certificate'], certificate.error));
  if (!key.ok) found.problems.push(at(['identity', 'files', 'key'], key.error));
  if (!certificate.ok || !key.ok) return undefined;
  const own = parseOwnSvid(certificate.value, key.value);
  if (own.ok) return own.value;
  const file = own.error.part === 'key' ? keyFile : certificateFile;
  found.problems.push(at(['identity', 'files', own.error.part], named(file, own.error.message)));
  return undefined;
}

interface Judgement {
  readonly bundles: ReadonlyMap<string, TrustBundle>;
  readonly crls: ReadonlyMap<string, readonly Crl[]>;
  readonly revocations: RevocationList;
  readonly nowMs: number;
}

/** Our own SVID must pass what we ask of others: peers will ask the same of us. */
function judgeOwn(config: Config, own: OwnSvid, given: Judgement, at: ProblemAt, found: Findings): void {
  if (config.identity.kind === 'workloadApi') return;
  const path = ['identity', 'files', 'certificate'];
  const file = config.identity.certificateFile;
  const { trustDomain } = own.chain.id;
  const entry = config.trust.find((candidate) => candidate.trustDomain === trustDomain);
  if (entry === undefined && !given.bundles.has(trustDomain)) {
    const message = `${own.chain.id.uri} is of ${trustDomain}, which is not configured under \`trust\``;
    found.problems.push(at(path, named(file, message)));
    return;
  }
  if (!given.bundles.has(trustDomain)) return; // its own problem is reported already, or it comes from elsewhere
  const { clockSkewMs, maxSvidLifetimeMs } = config.identityOptions;
  const checkSignature = createSignatureCheck();
  const verified = verifyX509Svid(own.chain, given.bundles, given.nowMs, { clockSkewMs, checkSignature });
  if (!verified.ok) {
    const { reason, detail } = verified.error;
    found.problems.push(at(path, named(file, `${own.chain.id.uri}: ${reason}${detail && ` (${detail})`}`)));
    return;
  }
  const { require, stale, staleGraceMs } = entry?.revocation ?? NO_REVOCATION;
  const judged = judgeSvid(verified.value, given.nowMs, {
    revocations: given.revocations,
    revocation: { crls: given.crls.get(trustDomain) ?? [], require, stale, staleGraceMs },
    clockSkewMs,
    ...(maxSvidLifetimeMs === undefined ? {} : { maxLifetimeMs: maxSvidLifetimeMs }),
  });
  if (!judged.ok) {
    const { reason, detail } = judged.error;
    found.problems.push(at(path, named(file, `${own.chain.id.uri}: ${reason}${detail && ` (${detail})`}`)));
  } else if (verified.value.leaf.notAfterMs - verified.value.leaf.notBeforeMs > 90 * DAY_MS) {
    found.warnings.push(at(path, named(file, 'lives longer than 90 days: a leaked key stays good as long')));
  }
}

const named = (file: string, message: string): string =>
  message.startsWith(file) ? message : `${file}: ${message}`;
