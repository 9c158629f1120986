import type { KeyObject } from 'node:crypto';

/** One public key that verifies tokens. */
export interface VerifyingKey {
  readonly kid: string | undefined;
  /** The only algorithm that it may be used with, where its publisher names one. */
  readonly alg: string | undefined;
  /** SHA-256 of its required members (RFC 7638), base64url: the same key has the same one, whatever it is called. */
  readonly thumbprint: string;
  readonly key: KeyObject;
}

/** The keys of one issuer, at one time. */
export interface KeySet {
  readonly keys: readonly VerifyingKey[];
  /** 16 hex characters, equal for equal content in any order. */
  readonly revision: string;
}
