import type { AccessRequest } from './decision.js';
import type { RegistryEntry } from './registry.js';

/** A certificate, or the token that names a caller without one. */
export const CREDENTIAL_KINDS = ['x509', 'jwt-svid', 'oidc'] as const;

export interface CredentialFacts {
  readonly kind: (typeof CREDENTIAL_KINDS)[number];
  /** Unix milliseconds. */
  readonly notBeforeMs: number;
  readonly notAfterMs: number;
  /** Whoever issued it: a distinguished name, or the `iss` of a token, as records have it. */
  readonly issuer: string;
}

export interface ConnectionFacts {
  /** As records have it: `TLSv1.2`, `TLSv1.3`. */
  readonly tlsVersion: string;
  readonly resumed: boolean;
}

/** What conditions may read beyond the question itself: asked only when one does, and for what it reads alone. */
export interface RequestFacts {
  /**
   * Of a header, by its lower-case name; several lines of one name are joined by `, ` (RFC 9110 5.3). Throws a ConditionFault
   * where it is there in another spelling.
   */
  header(name: string): string | undefined;
  /** Decoded value of a query parameter. Throws a ConditionFault where it is there twice, or cannot be decoded. */
  query(name: string): string | undefined;
  /**
   * Of the verified token that names the caller, or whom it acts for: a text, number or truth value as text; undefined where the
   * token has none, and where there is no token. Throws a ConditionFault where it is something else.
   */
  claim(name: string): string | undefined;
  readonly credential: CredentialFacts;
  readonly connection: ConnectionFacts;
}

/** What one condition is evaluated on. */
export interface ConditionInput {
  readonly request: AccessRequest;
  /** The reading of the path that is being judged. */
  readonly path: string;
  readonly registered: RegistryEntry | undefined;
}

/** A condition that cannot be evaluated: no match in an allow, a match in a deny. */
export class ConditionFault extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ConditionFault';
  }
}

/** A fact that nobody wrote down, where a request is judged that is not here any more: the answer cannot be told. */
export class UnknownFact extends Error {
  constructor(readonly fact: string) {
    super(`${fact} is not known`);
    this.name = 'UnknownFact';
  }
}
