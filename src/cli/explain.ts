import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import type { Config } from '../config/config.js';
import { loadConfigWithGrants } from '../config/load.js';
import { formatProblem } from '../config/problem.js';
import { readPemCertificates } from '../identity/pem.js';
import { type PeerChain, parsePeerChain } from '../identity/x509-svid.js';
import type { AccessRequest } from '../policy/decision.js';
import { explain } from '../policy/explain.js';
import type { Policy } from '../policy/policy.js';
import { err, ok, type Refusal, type Result, refuse } from '../reasons.js';
import { shorten } from './check.js';
import { EXPLAIN_USAGE, type ExplainOptions, readExplainOptions } from './explain-options.js';
import { explanationJson, explanationText } from './explain-output.js';
import { type CliIo, exitCode, wrongUsage } from './io.js';
import { chooseListener, type OfflineListener, toAccessRequest } from './offline-request.js';
import { toldDelegation } from './told-delegation.js';
import { judgeToldDates, type Told, ToldFacts, toldKind } from './told-facts.js';

/** `countersign explain`: 0 = allow, 1 = deny, or nobody can tell. */
export async function runExplain(argv: readonly string[], io: CliIo, nowMs = Date.now()): Promise<number> {
  const options = readExplainOptions(argv, nowMs);
  if (options === 'help') {
    io.stdout(EXPLAIN_USAGE);
    return exitCode.yes;
  }
  if (typeof options === 'string') return wrongUsage(io, 'explain', options);
  const cwd = io.cwd ?? process.cwd();
  const { config, policy, problems } = await loadConfigWithGrants(
    resolve(cwd, options.config),
    io.env,
    nowMs,
  );
  if (config === undefined || policy === undefined) {
    for (const problem of problems) io.stderr(`${formatProblem(shorten(problem, cwd))}\n`);
    return exitCode.config;
  }
  const listener = chooseListener(config, options.listener);
  if (!listener.ok) return wrongUsage(io, 'explain', `--listener: ${listener.error}`);
  if (options.url.startsWith('tcp:') && listener.value.protocol !== 'tcp')
    return wrongUsage(
      io,
      'explain',
      `${listener.value.name} takes requests: say --method GET --url https://host/path`,
    );
  const presented = await readPresented(options, ownCertificate(options, config, listener.value), cwd);
  if (!presented.ok) return wrongUsage(io, 'explain', presented.error);
  warnOfUnread(options, policy, io);
  const asked = toQuestion(options, presented.value, config, listener.value);
  if (!asked.ok) return showRefusal(options, asked.error, io);
  warnOfUnseen(options, asked.value, io);
  return show(options, policy, asked.value, io);
}

/** What would be presented, as far as the certificate tells; its chain and revocation are not policy's matter. */
async function readPresented(
  { as, credential: told }: ExplainOptions,
  own: string | undefined,
  cwd: string,
): Promise<Result<Result<PeerChain> | undefined, string>> {
  const credential = told ?? own;
  if (credential === undefined && as === undefined)
    return err('say who asks: --as spiffe://… or --credential FILE');
  if (credential === undefined) return ok(undefined);
  const bytes = await readFile(resolve(cwd, credential)).catch((cause: NodeJS.ErrnoException) => cause);
  if (bytes instanceof Error) return err(`--credential ${credential}: ${bytes.code ?? bytes.message}`);
  const certificates = readPemCertificates(bytes);
  if (!certificates.ok) return err(`--credential ${credential}: ${certificates.error}`);
  const [leaf, ...rest] = certificates.value;
  if (leaf === undefined) return err(`--credential ${credential}: holds no certificate`);
  return ok(parsePeerChain(leaf, rest));
}

/** What goes out goes out as us, unless somebody else is asked about. */
function ownCertificate(
  { as, credential }: ExplainOptions,
  { identity, listeners }: Config,
  { name }: OfflineListener,
): string | undefined {
  const isOutbound = listeners.find((one) => one.name === name)?.direction === 'outbound';
  const isAsked = as !== undefined || credential !== undefined;
  return isOutbound && !isAsked && identity.kind === 'files' ? identity.certificateFile : undefined;
}

/** In the listener's order: the credential is judged before the request. */
function toQuestion(
  options: ExplainOptions,
  presented: Result<PeerChain> | undefined,
  config: Config,
  listener: OfflineListener,
): Result<AccessRequest> {
  if (presented?.ok === false) return presented;
  const chain = presented?.value;
  const as = options.as ?? chain?.id;
  if (as === undefined) return refuse('certificate_missing');
  if (chain !== undefined && chain.id.uri !== as.uri)
    return refuse('svid_id_invalid', `the certificate is of ${chain.id.uri}, not of ${as.uri}`);
  const told: Told = { ...ofCertificate(chain), ...options.told };
  const refusal = judgeToldDates(told, options.nowMs, config.identityOptions.clockSkewMs);
  if (refusal !== undefined) return refusal;
  const kind = toldKind(told, as);
  const shown = { kind, behalfOf: toldDelegation(options.behalf) };
  return toAccessRequest({ ...options, as, facts: new ToldFacts(told, kind), shown }, listener);
}

function ofCertificate(chain: PeerChain | undefined): Partial<Told> {
  if (chain === undefined) return {};
  const { notBeforeMs, notAfterMs, issuer } = chain.leaf;
  return { notBeforeMs, notAfterMs, issuer };
}

/** A header that no condition may read is a typing error, or a misunderstanding. */
function warnOfUnread({ told: { headers, claims } }: ExplainOptions, { reads }: Policy, io: CliIo): void {
  const warn = (option: string, name: string, key: string): void =>
    io.stderr(`countersign explain: ${option} ${name}: no condition reads it (${key} of the policy)\n`);
  for (const name of headers.keys())
    if (!reads.headers.includes(name)) warn('--header', name, 'reads.headers');
  for (const name of claims?.keys() ?? [])
    if (!reads.claims.includes(name)) warn('--claim', name, 'reads.claims');
}

/** The listener would not look either: then it is no call on behalf of another. */
function warnOfUnseen(
  { behalf }: ExplainOptions,
  { route, behalfOf, principal }: AccessRequest,
  io: CliIo,
): void {
  if (behalf.behalfOf === undefined || behalfOf !== undefined) return;
  const why =
    behalf.behalfOf.uri === principal.uri
      ? 'that is the caller itself'
      : `route ${route} does not look at what says so (\`delegation\`, \`accept\`)`;
  io.stderr(`countersign explain: --behalf-of ${behalf.behalfOf.uri}: ${why}: judged as the caller's own\n`);
}

function show(options: ExplainOptions, policy: Policy, request: AccessRequest, io: CliIo): number {
  const explanation = explain(policy, request);
  const subject = { request, policy, explanation };
  if (options.json) io.stdout(`${JSON.stringify(explanationJson(subject))}\n`);
  else io.stdout(explanationText(subject, options.all));
  return explanation.effect === 'allow' ? exitCode.yes : exitCode.no;
}

function showRefusal({ json }: ExplainOptions, { reason, detail }: Refusal, io: CliIo): number {
  if (json) io.stdout(`${JSON.stringify({ effect: 'deny', reason, detail, rules: [] })}\n`);
  else io.stdout(`deny: ${reason}${detail === '' ? '' : `: ${detail}`}\nThe request never reaches policy.\n`);
  return exitCode.no;
}
