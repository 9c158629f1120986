import { err, ok, type Result } from '../reasons.js';
import { type BundleEndpointUrl, parseBundleEndpointUrl } from './bundle-endpoint-url.js';
import { parseSpiffeId, parseTrustDomain, type SpiffeId, type TrustDomain } from './spiffe-id.js';

/** How an endpoint proves itself. One of the two, always said; there is no way from one to the other (Federation 5.1, 7.2). */
export type EndpointProfile =
  | { readonly kind: 'https_web' }
  | { readonly kind: 'https_spiffe'; readonly endpointId: SpiffeId };

/** What must be known of an endpoint before it is asked anything. */
export interface EndpointParameters {
  readonly trustDomain: TrustDomain;
  readonly url: BundleEndpointUrl;
  readonly profile: EndpointProfile;
}

/** As somebody wrote them. */
export interface WrittenParameters {
  readonly trustDomain?: unknown;
  readonly url?: unknown;
  readonly profile?: unknown;
  readonly endpointSpiffeId?: unknown;
}

/** Parses an endpoint's parameters: none is inferred from another, each missing one is a problem (SPIFFE Federation 5.1, 7.2). */
export function parseEndpointParameters(written: WrittenParameters): Result<EndpointParameters, string> {
  const trustDomain = parseTrustDomain(written.trustDomain);
  if (!trustDomain.ok) return trustDomain;
  const url = parseBundleEndpointUrl(written.url);
  if (!url.ok) return url;
  const profile = parseProfile(written);
  return profile.ok
    ? ok({ trustDomain: trustDomain.value, url: url.value, profile: profile.value })
    : profile;
}

function parseProfile({ profile, endpointSpiffeId }: WrittenParameters): Result<EndpointProfile, string> {
  switch (profile) {
    case 'https_web':
      return endpointSpiffeId === undefined
        ? ok({ kind: 'https_web' })
        : err('an endpoint SPIFFE ID belongs to the profile https_spiffe; https_web does not check it');
    case 'https_spiffe':
      return parseEndpointId(endpointSpiffeId);
    case undefined:
      return err('the profile is missing; write https_web or https_spiffe');
    default:
      return err(`${JSON.stringify(profile)} is not a profile; write https_web or https_spiffe`);
  }
}

function parseEndpointId(text: unknown): Result<EndpointProfile, string> {
  if (text === undefined) return err("the profile https_spiffe needs the endpoint's SPIFFE ID");
  const id = parseSpiffeId(text);
  if (!id.ok) return err(`the endpoint's SPIFFE ID: ${id.error}`);
  // No X509-SVID can carry it (X509-SVID 5.2), so no endpoint could ever be accepted.
  if (id.value.path === '') return err("the endpoint's SPIFFE ID has no path: it names a domain, no server");
  return ok({ kind: 'https_spiffe', endpointId: id.value });
}
