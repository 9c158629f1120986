import { err, type Result } from '../reasons.js';
import { type BundleEndpointUrl, parseBundleEndpointUrl } from './bundle-endpoint-url.js';
import { isJsonObject, parseStrictJson } from './strict-json.js';

const WELL_KNOWN = '/.well-known/openid-configuration';

/** Where an issuer publishes its metadata (OpenID Connect Discovery 4.1): it must be an https URL without query or fragment. */
export function metadataUrlOf(issuer: string): Result<BundleEndpointUrl, string> {
  if (/[?#]/.test(issuer))
    return err('the issuer has a query or a fragment, so that nothing can be discovered by it');
  const url = parseBundleEndpointUrl(issuer.replace(/\/$/, '') + WELL_KNOWN);
  return url.ok ? url : err(`nothing can be discovered by the issuer ${issuer.slice(0, 200)}: ${url.error}`);
}

/**
 * Reads an issuer's metadata: where its keys are. Its `issuer` must be the one that was asked for, byte for byte (OpenID Connect
 * Discovery 4.3): else whoever serves one issuer's metadata could put in the keys of another. Errors: text.
 */
export function parseProviderMetadata(bytes: Uint8Array, issuer: string): Result<BundleEndpointUrl, string> {
  const json = parseStrictJson(bytes);
  if (!json.ok) return err(`the metadata is not sound JSON: ${json.error}`);
  if (!isJsonObject(json.value)) return err('the metadata is not a JSON object');
  const named = json.value.get('issuer');
  if (named !== issuer)
    return err('the metadata is that of another issuer: its `issuer` is not the configured one');
  const url = parseBundleEndpointUrl(json.value.get('jwks_uri'));
  return url.ok ? url : err(`the jwks_uri of the metadata cannot be used: ${url.error}`);
}
