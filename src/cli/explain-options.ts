import { parseArgs } from 'node:util';
import { parseCaller } from '../config/schema-values.js';
import { parseTimestamp } from '../config/units.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { CONNECT } from '../message/connect-head.js';
import { problemOfReadHeader } from '../message/header-names.js';
import { DELEGATION_SOURCES } from '../policy/delegation.js';
import { CREDENTIAL_KINDS, type CredentialFacts } from '../policy/facts.js';
import { err, ok, type Result } from '../reasons.js';
import type { ToldBehalf } from './told-delegation.js';
import type { Told } from './told-facts.js';

export const EXPLAIN_USAGE = `Usage: countersign explain -c FILE --as ID --method M --url U [--listener L] [--at TIME] [--json]

Decides one request offline, the way the listener would, and says of every rule why it matched or not.

  -c, --config FILE     the configuration
      --as ID           SPIFFE ID of the caller, or the name that its token gives (ci:octo/app);
                        may be left out with --credential, and for an
                        outbound listener: the caller is then the one whose SVID we have
      --method M        method, such as GET
      --url U           https://host/path?query, or /path where no route asks for a host;
                        of a tcp listener tcp://name, or nothing: then --method may be left out as well
      --listener L      listener that gets the request; needed when there are several
      --behalf-of ID    whom the caller acts for; left out: for itself
      --at TIME         the moment, such as 2026-11-21T10:00:00Z; default now
      --all             every rule, also where there are many
      --json            one JSON object on standard output, always with every rule
  -h, --help            this text

What conditions read is unknown unless it is told; where the answer hangs on it, it is "undecidable":

      --header N=V      a header of the request; N alone: it has no such header. May be given again
      --credential FILE the caller's certificate (PEM): its dates and issuer. Its chain is not verified
      --not-before TIME --not-after TIME --issuer DN   the same, one by one
      --claim N=V       a claim of its token; N alone: it has no such claim. May be given again
      --kind KIND       x509, jwt-svid or oidc; left out: x509 of a SPIFFE ID, oidc of another name
      --by WHAT         what says on whose behalf: token, assertion or xfcc
      --through ID      who acted before the caller, the first for the subject; may be given again; none: nobody
      --tls VERSION     1.2 or 1.3
      --resumed         the TLS session was resumed; --no-resumed: it was not

Exit code: 0 = allow, 1 = deny or undecidable, 64 = wrong usage, 78 = the configuration has problems.
`;

export interface ExplainOptions {
  readonly config: string;
  readonly as: PrincipalId | undefined;
  readonly behalf: ToldBehalf;
  readonly method: string;
  /** `tcp://name` of a TCP connection, as which is taken what names neither method nor URL. */
  readonly url: string;
  readonly listener: string | undefined;
  readonly nowMs: number;
  readonly credential: string | undefined;
  /** Keys that were not told are not there. */
  readonly told: Told;
  readonly all: boolean;
  readonly json: boolean;
}

/** The options, `help`, or what is wrong with them. */
export function readExplainOptions(argv: readonly string[], nowMs: number): ExplainOptions | string {
  const values = parse(argv);
  if (typeof values === 'string') return values;
  if (values.help) return 'help';
  const { config, method, url, listener, credential, all = false, json = false } = values;
  if (config === undefined) return 'say which file: -c FILE';
  const isConnection = (url ?? 'tcp://').startsWith('tcp://') && (method ?? CONNECT) === CONNECT;
  if (!isConnection) {
    if (method === undefined) return 'say which method: --method GET';
    if (url === undefined) return 'say what for: --url https://host/path';
    if (!/^(https?:\/)?\//.test(url)) return `--url ${url}: must be https://host/path or /path`;
  }
  const as = readId(values.as);
  if (!as.ok)
    return `--as ${values.as}: ${as.error}; say a SPIFFE ID, or a name that a token gives such as ci:octo/app`;
  const behalf = readBehalf(values);
  if (!behalf.ok) return behalf.error;
  const at = readTime(values.at);
  if (!at.ok) return `--at: ${at.error}`;
  const told = readTold(values, url ?? 'tcp://');
  if (!told.ok) return told.error;
  return {
    config,
    as: as.value,
    behalf: behalf.value,
    method: method ?? CONNECT,
    url: url ?? 'tcp://',
    listener,
    nowMs: at.value ?? nowMs,
    credential,
    told: told.value,
    all,
    json,
  };
}

type Values = Exclude<ReturnType<typeof parse>, string>;

function parse(argv: readonly string[]) {
  try {
    return parseArgs({
      args: [...argv],
      options: {
        config: { type: 'string', short: 'c' },
        as: { type: 'string' },
        method: { type: 'string' },
        url: { type: 'string' },
        listener: { type: 'string' },
        at: { type: 'string' },
        'behalf-of': { type: 'string' },
        by: { type: 'string' },
        through: { type: 'string', multiple: true },
        claim: { type: 'string', multiple: true },
        kind: { type: 'string' },
        header: { type: 'string', multiple: true },
        credential: { type: 'string' },
        'not-before': { type: 'string' },
        'not-after': { type: 'string' },
        issuer: { type: 'string' },
        tls: { type: 'string' },
        resumed: { type: 'boolean' },
        all: { type: 'boolean' },
        json: { type: 'boolean' },
        help: { type: 'boolean', short: 'h' },
      },
      strict: true,
      allowNegative: true,
      allowPositionals: false,
    }).values;
  } catch (error) {
    return (error as Error).message;
  }
}

const readId = (text: string | undefined): Result<PrincipalId | undefined, string> =>
  text === undefined ? ok(undefined) : parseCaller(text);

function readBehalf({ 'behalf-of': text, by, through }: Values): Result<ToldBehalf, string> {
  const subject = readId(text);
  if (!subject.ok) return err(`--behalf-of ${text}: ${subject.error}`);
  if (subject.value === undefined && (by !== undefined || through !== undefined))
    return err('say on whose behalf: --behalf-of ID');
  const source = DELEGATION_SOURCES.find((name) => name === by);
  if (by !== undefined && source === undefined) return err(`--by is one of ${DELEGATION_SOURCES.join(', ')}`);
  const actors = through?.filter((actor) => actor !== 'none');
  for (const actor of actors ?? []) {
    const id = parseCaller(actor);
    if (!id.ok) return err(`--through ${actor}: ${id.error}`);
  }
  return ok({ behalfOf: subject.value, by: source, through: actors });
}

function readKind(text: string | undefined): Result<CredentialFacts['kind'] | undefined, string> {
  const kind = CREDENTIAL_KINDS.find((name) => name === text);
  return text === undefined || kind !== undefined
    ? ok(kind)
    : err(`--kind is one of ${CREDENTIAL_KINDS.join(', ')}`);
}

const readTime = (text: string | undefined): Result<number | undefined, string> =>
  text === undefined ? ok(undefined) : parseTimestamp(text);

function readTold(values: Values, url: string): Result<Told, string> {
  const headers = readHeaders(values.header ?? []);
  if (!headers.ok) return headers;
  const claims = readClaims(values.claim);
  if (!claims.ok) return claims;
  const kind = readKind(values.kind);
  if (!kind.ok) return kind;
  const notBefore = readTime(values['not-before']);
  if (!notBefore.ok) return err(`--not-before: ${notBefore.error}`);
  const notAfter = readTime(values['not-after']);
  if (!notAfter.ok) return err(`--not-after: ${notAfter.error}`);
  const tls = values.tls === undefined ? undefined : /^(?:TLSv)?(1\.[23])$/.exec(values.tls)?.[1];
  if (tls === undefined && values.tls !== undefined) return err(`--tls ${values.tls}: must be 1.2 or 1.3`);
  return ok({
    headers: headers.value,
    isAllOfHeaders: false,
    claims: claims.value,
    kind: kind.value,
    url,
    ...(notBefore.value !== undefined && { notBeforeMs: notBefore.value }),
    ...(notAfter.value !== undefined && { notAfterMs: notAfter.value }),
    ...(values.issuer !== undefined && { issuer: values.issuer }),
    ...(tls !== undefined && { tlsVersion: `TLSv${tls}` }),
    ...(values.resumed !== undefined && { resumed: values.resumed }),
  });
}

/** As a listener reads them: names without regard to case, values without the space around them, several lines as one. */
function readHeaders(given: readonly string[]): Result<ReadonlyMap<string, string | null>, string> {
  const headers = new Map<string, string | null>();
  for (const header of given) {
    const equals = header.indexOf('=');
    const name = (equals < 0 ? header : header.slice(0, equals)).trim().toLowerCase();
    const wrong = problemOfReadHeader(name);
    if (wrong !== undefined)
      return err(`--header ${name}: ${wrong}${name.includes(':') ? '; write NAME=VALUE' : ''}`);
    const value = equals < 0 ? null : header.slice(equals + 1).trim();
    const known = headers.get(name);
    if (known === null || (known !== undefined && value === null))
      return err(`--header ${name}: is there, and is not`);
    headers.set(name, known === undefined ? value : `${known}, ${value}`);
  }
  return ok(headers);
}

function readClaims(
  given: readonly string[] | undefined,
): Result<ReadonlyMap<string, string | null> | undefined, string> {
  if (given === undefined) return ok(undefined);
  const claims = new Map<string, string | null>();
  for (const claim of given) {
    const equals = claim.indexOf('=');
    const name = equals < 0 ? claim : claim.slice(0, equals);
    if (claims.has(name)) return err(`--claim ${name}: is there twice`);
    claims.set(name, equals < 0 ? null : claim.slice(equals + 1));
  }
  return ok(claims);
}
