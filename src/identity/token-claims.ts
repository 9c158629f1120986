import { err, ok, type Result, refuse } from '../reasons.js';
import { type ActorChain, readActors } from './actor-chain.js';
import { readConfirmation } from './confirmation.js';
import { type PrincipalId, parsePrincipalId } from './principal-id.js';
import { parseSpiffeId, type SpiffeId } from './spiffe-id.js';
import type { TokenContent } from './token.js';
import { readDates, type TokenDates } from './token-dates.js';
import { judgeHeader } from './token-header.js';
import type { JwtSvidIssuer, OidcIssuer, RequiredClaim, TokenIssuer } from './token-issuer.js';
import { type Claims, claimAt, expandTokenTemplate } from './token-template.js';

/** What a token means by the rules of its issuer; true once its signature is good. */
export interface TokenMeaning extends TokenDates {
  readonly principal: PrincipalId;
  readonly actors: ActorChain | undefined;
  readonly jti: string | undefined;
  readonly boundTo: string | undefined;
}

/** Everything that a token must be like but for its signature: RFC 7519 4.1, RFC 9068 4, JWT-SVID 3 and the entry's own rules. */
export function readMeaning(token: TokenContent, issuer: TokenIssuer, nowMs: number): Result<TokenMeaning> {
  const { header, claims, iss } = token;
  const refused = judgeHeader(header, issuer);
  if (refused !== undefined) return err(refused);
  if (issuer.kind !== 'jwt-svid' && iss !== issuer.issuer)
    return refuse('token_issuer_unknown', '`iss` is not that of the entry');
  if (!isMeantFor(claims.aud, issuer.audiences))
    return refuse('token_audience', `none of its audiences is ${issuer.audiences.join(' or ')}`);
  const dates = readDates(claims, issuer, nowMs);
  if (!dates.ok) return dates;
  const principal = principalOf(claims, issuer);
  if (!principal.ok) return principal;
  const actors = actorsOf(claims, issuer);
  if (!actors.ok) return actors;
  const missing = issuer.kind === 'oidc' ? whyNotRequired(claims, issuer.required) : undefined;
  if (missing !== undefined) return refuse('token_claims', missing);
  const jti = readJti(claims, issuer);
  if (!jti.ok) return jti;
  const bound = readConfirmation(claims);
  if (!bound.ok) return bound;
  return ok({
    ...dates.value,
    principal: principal.value,
    actors: actors.value,
    jti: jti.value,
    // Whom an assertion is bound to is who called that sidecar, not who shows it to us.
    boundTo: issuer.kind === 'assertion' ? undefined : bound.value,
  });
}

/** Whole values, byte for byte; no audience of ours means that nothing is meant for us (JWT-SVID 3.2). */
function isMeantFor(aud: unknown, audiences: readonly string[]): boolean {
  const values: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  return (
    values.every((value) => typeof value === 'string') &&
    audiences.some((audience) => values.includes(audience))
  );
}

function principalOf(claims: Claims, issuer: TokenIssuer): Result<PrincipalId> {
  const { sub } = claims;
  switch (issuer.kind) {
    case 'jwt-svid':
      return subjectOf(sub, issuer);
    case 'assertion': {
      const id = parsePrincipalId(sub);
      return id.ok ? id : refuse('token_subject', id.error);
    }
    case 'oidc': {
      if (sub !== undefined && typeof sub !== 'string') return refuse('token_subject', '`sub` is not text');
      const id = expandTokenTemplate(issuer.principal, claims);
      return id.ok ? id : refuse('token_subject', id.error);
    }
  }
}

function subjectOf(sub: unknown, issuer: JwtSvidIssuer): Result<SpiffeId> {
  const id = parseSpiffeId(sub);
  if (!id.ok) return refuse('token_subject', id.error);
  if (id.value.segments.length === 0)
    return refuse('token_subject', 'the SPIFFE ID names a trust domain, not a workload');
  const { trustDomains } = issuer;
  if (trustDomains !== undefined && !trustDomains.includes(id.value.trustDomain))
    return refuse('token_issuer_unknown', `${id.value.trustDomain} is not a trust domain of the entry`);
  return id;
}

function actorsOf(claims: Claims, issuer: TokenIssuer): Result<ActorChain | undefined> {
  if (issuer.kind === 'oidc') return readActors(claims, actorNamed(issuer));
  if (issuer.kind === 'assertion') return readActors(claims, (act) => parsePrincipalId(act.sub));
  // JWT-SVIDs do not know it. Whoever wrote it did not mean the subject itself: it must not be taken for that.
  return claims.act === undefined
    ? ok(undefined)
    : refuse('token_claims', '`act` has no meaning in a JWT-SVID');
}

const actorNamed =
  ({ actor }: OidcIssuer) =>
  (act: Claims): Result<PrincipalId, string> =>
    expandTokenTemplate(actor, act);

const MAX_JTI = 512;

function readJti({ jti }: Claims, { isOneTime }: TokenIssuer): Result<string | undefined> {
  if (jti === undefined)
    return isOneTime ? refuse('token_claims', '`jti` is missing: each may be used once') : ok(undefined);
  return typeof jti === 'string' && jti !== '' && jti.length <= MAX_JTI
    ? ok(jti)
    : refuse('token_claims', '`jti` is not text that names a token');
}

/** What a claim lacks that must be there; undefined when nothing does. */
function whyNotRequired(claims: Claims, required: readonly RequiredClaim[]): string | undefined {
  for (const { claim, values, pattern } of required) {
    const text = textOf(claimAt(claims, claim));
    if (text === undefined || text === '') return `the claim ${claim} is not there as text`;
    // Not the value: what a token says is nobody's to log.
    if (values !== undefined && !values.includes(text)) return `the claim ${claim} has another value`;
    if (pattern !== undefined && !wholly(pattern).test(text)) return `the claim ${claim} is of another form`;
  }
  return undefined;
}

function textOf(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  return typeof value === 'boolean' || typeof value === 'number' ? String(value) : undefined;
}

const patterns = new Map<string, RegExp>();

/** Patterns are ours, of the providers: a handful, whatever a configuration says. */
function wholly(pattern: string): RegExp {
  let compiled = patterns.get(pattern);
  if (compiled === undefined) {
    compiled = new RegExp(`^(?:${pattern})$`, 'u');
    patterns.set(pattern, compiled);
  }
  return compiled;
}
