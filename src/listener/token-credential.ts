import type { PrincipalFields, TokenFields } from '../audit/record.js';
import type { PrincipalId } from '../identity/principal-id.js';
import { judgeToken, reviseToken, type TokenContext, type VerifiedToken } from '../identity/token.js';
import type { ForwardPlan } from '../message/forward-policy.js';
import type { IdentityHeaders } from '../message/identity-headers.js';
import { buildTokenHeaders } from '../message/token-headers.js';
import type { Registry } from '../policy/registry.js';
import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';

/** What a token is worth: by each entry of the configuration that takes it, in their order. Never empty. */
export type Readings = readonly TokenCredential[];

/** How long a no is kept: one that time undoes is soon a yes. */
const REFUSED_MS = 1000;

/** One verified token, however many requests bring it: verified once, judged cheaply at every request. */
export class TokenCredential {
  /** Where its last allowed request went to. */
  lastDestination: string | undefined;
  readonly tokenFields: TokenFields;
  #snapshot: Snapshot | undefined;
  #judgedAtMs = 0;
  #validUntilMs = 0;
  #refusal: Refusal | undefined;
  #fields: PrincipalFields | undefined;
  #fieldsOf: Registry | undefined;
  #headers: IdentityHeaders | undefined;
  #headersBy: ForwardPlan | undefined;
  #headersOf: Registry | undefined;

  constructor(readonly token: VerifiedToken) {
    this.tokenFields = {
      entry: token.entry,
      issuer: token.iss,
      jti: token.jti,
      sha256: token.sha256,
      notAfter: new Date(token.notAfterMs).toISOString(),
      bound: token.boundTo === undefined ? undefined : true,
    };
  }

  /** Who calls, where no certificate says so: whoever acts now (RFC 8693 4.1), else the subject itself. */
  get caller(): PrincipalId {
    return this.token.actor ?? this.token.principal;
  }

  /** Why it is not acceptable at this moment (Unix milliseconds), or undefined. Cached until the snapshot, the clock or a date changes the answer. */
  judge(snapshot: Snapshot, nowMs: number): Refusal | undefined {
    if (snapshot === this.#snapshot && nowMs < this.#validUntilMs && nowMs >= this.#judgedAtMs)
      return this.#refusal;
    this.#validUntilMs = nowMs; // an exception below leaves nothing cached
    const { tokens, bundles, revocations } = snapshot;
    this.#refusal = this.#judgeNow({ tokens, bundles, revocations, nowMs });
    this.#snapshot = snapshot;
    this.#judgedAtMs = nowMs;
    this.#validUntilMs =
      this.#refusal === undefined
        ? Math.min(this.token.notAfterMs, revocations.nextChangeMs(nowMs))
        : nowMs + REFUSED_MS;
    return this.#refusal;
  }

  /** By the rules of its entry as they are now, which may be others than those that it was verified by. */
  #judgeNow(context: TokenContext): Refusal | undefined {
    const { token } = this;
    const answer = judgeToken(token, context);
    if (answer !== 'verify again') return answer;
    const revised = reviseToken(token, context);
    if (!revised.ok) return revised.error;
    const { principal, actor, boundTo, issuer } = revised.value;
    if (principal.uri !== token.principal.uri || actor?.uri !== token.actor?.uri)
      return { reason: 'token_claims', detail: `by ${issuer.name} as it is now it names somebody else` };
    return boundTo === undefined && issuer.requiresBinding
      ? { reason: 'token_binding', detail: `${issuer.name} demands a token that is bound to a certificate` }
      : undefined;
  }

  /** Identity headers under this plan and registry, for requests of the caller that it names; made once. */
  identityHeaders({
    forwardPlan: plan,
    policy: { registry },
  }: Pick<Snapshot, 'forwardPlan' | 'policy'>): IdentityHeaders {
    if (this.#headers !== undefined && this.#headersBy === plan && this.#headersOf === registry)
      return this.#headers;
    const { caller, token } = this;
    const entry = registry?.find(caller);
    this.#headers = buildTokenHeaders(plan, {
      id: caller.uri,
      trustDomain: caller.trustDomain,
      path: caller.path,
      isWorkload: token.kind === 'jwt-svid',
      issuer: token.iss,
      notAfterMs: token.notAfterMs,
      owner: entry?.owner,
      environment: entry?.environment,
    });
    this.#headersBy = plan;
    this.#headersOf = registry;
    return this.#headers;
  }

  /** What records say of the caller that it names. */
  principalFields({ policy: { registry } }: Snapshot): PrincipalFields {
    if (this.#fields !== undefined && this.#fieldsOf === registry) return this.#fields;
    const { caller, token } = this;
    const entry = registry?.find(caller);
    this.#fields = {
      id: caller.uri,
      kind: token.kind === 'jwt-svid' ? 'workload' : 'token',
      credential: token.kind === 'jwt-svid' ? 'jwt-svid' : 'oidc',
      trustDomain: caller.trustDomain,
      issuer: token.iss,
      authority: token.key.thumbprint,
      notBefore: new Date(token.notBeforeMs).toISOString(),
      notAfter: new Date(token.notAfterMs).toISOString(),
      ...(registry === undefined
        ? {}
        : entry === undefined
          ? { registered: false }
          : { owner: entry.owner, registered: true }),
    };
    this.#fieldsOf = registry;
    return this.#fields;
  }
}
