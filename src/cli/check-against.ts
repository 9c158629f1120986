import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { listBundleFolder } from '../config/bundle-folder.js';
import type { Config } from '../config/config.js';
import { parseTimestamp } from '../config/units.js';
import type { Certificate } from '../identity/certificate.js';
import { parseOwnSvid } from '../identity/own-svid.js';
import { parseTrustDomain, type TrustDomain } from '../identity/spiffe-id.js';
import { createTrustBundle, parseTrustBundle, type TrustBundle } from '../identity/trust-bundle.js';
import { createSignatureCheck, verifyX509Svid } from '../identity/x509-svid.js';
import { err, ok, type Result } from '../reasons.js';
import { type CliIo, exitCode } from './io.js';
import { readSeen, type Seen } from './seen-identities.js';

/** What `check --against` was asked. */
export interface Against {
  readonly bundle: string;
  readonly trustDomain: string | undefined;
  readonly audit: readonly string[];
  readonly snapshot: string | undefined;
  /** Identities that were seen last before this do not count. */
  readonly since: string | undefined;
  readonly json: boolean;
}

interface LockedOut {
  readonly id: string;
  readonly authority: string;
  readonly lastSeen: string;
  readonly times: number;
  /** The end of its last credential; past = its next one is issued before it can come again, by whom nobody knows. */
  readonly notAfter: string | undefined;
}

interface Verdict {
  readonly trustDomain: string;
  readonly leaving: readonly Certificate[];
  readonly joining: readonly Certificate[];
  readonly staying: readonly Certificate[];
  /** Why our own SVID would not verify under the new bundle. */
  readonly own: string | undefined;
  readonly lockedOut: readonly LockedOut[];
  /** Identities that the sources show only as a number (a snapshot lists the first of many). */
  readonly unnamed: number;
  /** Identities of this trust domain that were looked at. */
  readonly seen: number;
}

const checkSignature = createSignatureCheck();

/** Says who would be locked out by a new bundle before it is in force: 0 = nobody, 1 = somebody, 64 or 78 = cannot tell. */
export async function checkAgainst(
  config: Config,
  against: Against,
  io: CliIo,
  nowMs: number,
): Promise<number> {
  const verdict = await judge(config, against, io.cwd ?? process.cwd(), nowMs);
  if (!verdict.ok) {
    io.stderr(`countersign check: ${verdict.error.message}\n`);
    return verdict.error.code;
  }
  const { lockedOut, unnamed, own, seen } = verdict.value;
  // That nobody was seen says nothing: it may be the wrong file.
  const isSafe = seen > 0 && lockedOut.length === 0 && unnamed === 0 && own === undefined;
  io.stdout(
    against.json ? `${JSON.stringify(toJson(verdict.value, isSafe))}\n` : toText(verdict.value, against),
  );
  return isSafe ? exitCode.yes : exitCode.no;
}

interface Complaint {
  readonly code: number;
  readonly message: string;
}

const usage = (message: string) => err<Complaint>({ code: exitCode.usage, message });
const broken = (message: string) => err<Complaint>({ code: exitCode.config, message });

async function judge(
  config: Config,
  against: Against,
  cwd: string,
  nowMs: number,
): Promise<Result<Verdict, Complaint>> {
  if (against.audit.length === 0 && against.snapshot === undefined)
    return usage('say where to look who was let in: --audit FILE or --snapshot FROM');
  const since = against.since === undefined ? undefined : parseTimestamp(against.since);
  if (since !== undefined && !since.ok) return usage(`--since: ${since.error}`);
  const chosen = chooseDomain(await domainsOf(config), against.trustDomain);
  if (typeof chosen === 'string') return usage(chosen);
  const { trustDomain, file } = chosen;
  const next = await readBundle(resolve(cwd, against.bundle), trustDomain);
  if (!next.ok) return broken(next.error);
  // What an agent or an endpoint gave is not at hand: then nothing of the new one is known to be there already.
  const present =
    file === undefined ? ok(createTrustBundle({ trustDomain })) : await readBundle(file, trustDomain);
  if (!present.ok) return broken(present.error);
  const files = against.audit.map((path) => resolve(cwd, path));
  const seen = await readSeen(trustDomain, files, against.snapshot, cwd);
  if (!seen.ok) return broken(seen.error);
  const own = await judgeOwn(config, next.value, nowMs);
  return ok(compare(present.value, next.value, seen.value, since?.value ?? 0, own));
}

interface Domain {
  readonly trustDomain: TrustDomain;
  /** undefined = its bundle is in no file. */
  readonly file: string | undefined;
}

async function domainsOf(config: Config): Promise<readonly Domain[]> {
  const domains: Domain[] = config.trust.map(({ trustDomain, bundle }) => ({
    trustDomain,
    file: bundle.kind === 'file' ? bundle.file : undefined,
  }));
  for (const { folder } of config.trustFolders) {
    const names = await listBundleFolder(folder);
    for (const [name, file] of names.ok ? names.value.domains : []) {
      const trustDomain = parseTrustDomain(name);
      if (trustDomain.ok) domains.push({ trustDomain: trustDomain.value, file: join(folder, file) });
    }
  }
  return domains;
}

function chooseDomain(domains: readonly Domain[], name: string | undefined): Domain | string {
  const [only] = domains;
  const names = domains.map(({ trustDomain }) => trustDomain).join(', ');
  if (name === undefined && domains.length === 1 && only !== undefined) return only;
  if (name === undefined) return `say whose bundle it is: --trust-domain with one of ${names}`;
  const domain = domains.find(({ trustDomain }) => trustDomain === name);
  return domain ?? `there is no trust domain ${name}; there are ${names}`;
}

async function readBundle(file: string, trustDomain: TrustDomain): Promise<Result<TrustBundle, string>> {
  try {
    const bundle = parseTrustBundle(trustDomain, await readFile(file));
    return bundle.ok ? bundle : err(`${file}: ${bundle.error}`);
  } catch (cause) {
    return err(`${file}: cannot be read (${(cause as { code?: string }).code ?? String(cause)})`);
  }
}

/** We present a certificate too: where the bundle is our own domain's, every peer that takes it judges us by it. */
async function judgeOwn(config: Config, next: TrustBundle, nowMs: number): Promise<string | undefined> {
  if (config.identity.kind === 'workloadApi') return undefined;
  const { certificateFile, keyFile } = config.identity;
  const own = parseOwnSvid(await readFile(certificateFile), await readFile(keyFile));
  if (!own.ok) return own.error.message;
  const { chain } = own.value;
  if (chain.id.trustDomain !== next.trustDomain) return undefined;
  const { clockSkewMs } = config.identityOptions;
  const bundles = new Map([[next.trustDomain as string, next]]);
  const verified = verifyX509Svid(chain, bundles, nowMs, { clockSkewMs, checkSignature });
  if (verified.ok) return undefined;
  const { reason, detail } = verified.error;
  return `${chain.id.uri}: ${reason}${detail && ` (${detail})`}`;
}

function compare(
  present: TrustBundle,
  next: TrustBundle,
  seen: Seen,
  sinceMs: number,
  own: string | undefined,
): Verdict {
  const left = new Set(next.authorities.map(({ sha256 }) => sha256));
  const known = new Set(present.authorities.map(({ sha256 }) => sha256));
  const identities = [...seen.identities.values()].filter(({ lastSeenMs }) => lastSeenMs >= sinceMs);
  return {
    trustDomain: next.trustDomain,
    leaving: present.authorities.filter(({ sha256 }) => !left.has(sha256)),
    joining: next.authorities.filter(({ sha256 }) => !known.has(sha256)),
    staying: next.authorities.filter(({ sha256 }) => known.has(sha256)),
    own,
    // By the authority that verified the newest credential of each: whoever has moved on is not locked out.
    lockedOut: identities
      .filter(({ authority }) => !left.has(authority))
      .sort((a, b) => b.lastSeenMs - a.lastSeenMs)
      .map(({ lastSeenMs, ...rest }) => ({ ...rest, lastSeen: new Date(lastSeenMs).toISOString() })),
    unnamed: [...seen.unnamed].reduce(
      (sum, [authority, count]) => sum + (left.has(authority) ? 0 : count),
      0,
    ),
    seen: identities.length + [...seen.unnamed.values()].reduce((sum, count) => sum + count, 0),
  };
}

const shownAuthority = ({ sha256, subject, notAfterMs }: Certificate) => ({
  sha256,
  subject,
  notAfter: new Date(notAfterMs).toISOString(),
});

const toJson = ({ leaving, joining, staying, ...rest }: Verdict, isSafe: boolean): object => ({
  ok: isSafe,
  ...rest,
  leaving: leaving.map(shownAuthority),
  joining: joining.map(shownAuthority),
  staying: staying.map(shownAuthority),
});

function toText(verdict: Verdict, { bundle }: Against): string {
  const { trustDomain, leaving, joining, staying, own, lockedOut, unnamed, seen } = verdict;
  const authority = (mark: string) => (certificate: Certificate) => {
    const { sha256, subject, notAfter } = shownAuthority(certificate);
    return `  ${mark} ${sha256.slice(0, 16)}  ${subject}, until ${notAfter}`;
  };
  const lines = [
    `${bundle} as the bundle of ${trustDomain}:`,
    ...leaving.map(authority('-')),
    ...joining.map(authority('+')),
    ...staying.map(authority(' ')),
  ];
  if (own !== undefined) lines.push(`our own SVID would not verify: ${own}`);
  if (seen === 0) lines.push(`nobody of ${trustDomain} was seen there, which says nothing`);
  else lines.push(`${seen} identities seen, ${lockedOut.length + unnamed} of them would be locked out`);
  for (const { id, lastSeen, times, authority: by, notAfter } of lockedOut) {
    const end = notAfter === undefined ? '' : `, credential until ${notAfter}`;
    lines.push(`  ${id}  last seen ${lastSeen}, ${times} times, by ${by.slice(0, 16)}${end}`);
  }
  if (unnamed > 0) lines.push(`  and ${unnamed} more, whom the snapshot does not name`);
  return `${lines.join('\n')}\n`;
}
