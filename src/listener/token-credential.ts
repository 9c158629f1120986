import type { PrincipalFields, TokenFields } from '../audit/record.js';
import type { PrincipalId } from '../identity/principal-id.js';
import type { VerifiedToken } from '../identity/token.js';
import type { Refusal } from '../reasons.js';
import type { Snapshot } from '../snapshot.js';

/** One verified token, however many requests bring it: verified once, judged cheaply at every request. */
export class TokenCredential {
  /** Where its last allowed request went to. */
  lastDestination: string | undefined;
  readonly tokenFields: TokenFields;
  #fields: PrincipalFields | undefined;
  #fieldsOf: Snapshot['policy']['registry'];

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

  /** Why it is not acceptable at this moment (Unix milliseconds), or undefined. */
  judge(_snapshot: Snapshot, nowMs: number): Refusal | undefined {
    return nowMs < this.token.notAfterMs ? undefined : { reason: 'token_expired', detail: '' };
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
