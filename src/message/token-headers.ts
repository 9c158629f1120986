import type { ForwardPlan } from './forward-policy.js';
import { formatForwardTemplate } from './forward-template.js';
import type { IdentityHeaders } from './identity-headers.js';

/** A caller that a token names, as far as headers tell of it. */
export interface TokenIdentity {
  readonly id: string;
  readonly trustDomain: string;
  readonly path: string;
  /** It has a SPIFFE ID. */
  readonly isWorkload: boolean;
  readonly issuer: string;
  /** Unix milliseconds. */
  readonly notAfterMs: number;
  /** By the registry, where it knows them. */
  readonly owner?: string | undefined;
  readonly environment?: string | undefined;
}

/**
 * Header lines for a caller without a certificate that counts: nothing tells of a certificate, and what is no SPIFFE ID is in no
 * header that services take for one.
 */
export function buildTokenHeaders(plan: ForwardPlan, caller: TokenIdentity): IdentityHeaders {
  const fixed: string[] = [];
  if (plan.spiffeId && caller.isWorkload) fixed.push('x-spiffe-id', caller.id);
  const { id, trustDomain, path, issuer, owner, environment } = caller;
  for (const { name, template } of plan.headers) {
    const value = formatForwardTemplate(template, {
      id,
      trustDomain,
      path,
      issuer,
      owner,
      environment,
      notAfter: new Date(caller.notAfterMs).toISOString(),
      serial: undefined,
      sha256: undefined,
      subject: undefined,
    });
    if (value !== undefined) fixed.push(name, value);
  }
  return { fixed, xfccElement: undefined };
}
