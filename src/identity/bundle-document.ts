import type { JWK } from 'jose';
import { createLocalJWKSet } from 'jose/jwks/local';
import { err, ok, type Result } from '../reasons.js';
import type { Certificate } from './certificate.js';
import {
  createTrustBundle,
  parseAuthority,
  type TrustBundle,
  type TrustBundleSet,
} from './create-trust-bundle.js';
import { readPublicJwk } from './json-web-key.js';
import { decodeBase64 } from './pem.js';
import { parseTrustDomain, type TrustDomain } from './spiffe-id.js';
import {
  isJsonArray,
  isJsonObject,
  JsonNumber,
  type JsonObject,
  type JsonValue,
  parseStrictJson,
} from './strict-json.js';

/** Parses a SPIFFE bundle document (SPIFFE Trust Domain and Bundle 4) for a trust domain that the caller names. */
export function parseBundleDocument(
  trustDomain: TrustDomain,
  bytes: Uint8Array,
): Result<TrustBundle, string> {
  const json = parseStrictJson(bytes);
  return json.ok ? readBundle(trustDomain, json.value) : err(`the bundle is not sound JSON: ${json.error}`);
}

/** Parses a SPIFFE bundle map (SPIFFE Trust Domain and Bundle 5): all of its bundles or none. */
export function parseBundleMap(bytes: Uint8Array): Result<TrustBundleSet, string> {
  const json = parseStrictJson(bytes);
  if (!json.ok) return err(`the bundle map is not sound JSON: ${json.error}`);
  const domains = isJsonObject(json.value) ? json.value.get('trust_domains') : undefined;
  if (!isJsonObject(domains)) return err('trust_domains is missing or not an object');
  const bundles = new Map<string, TrustBundle>();
  for (const [name, value] of domains) {
    // Capitals are refused here, so that one domain cannot have two bundles by two spellings.
    const trustDomain = parseTrustDomain(name);
    if (!trustDomain.ok) return err(`${JSON.stringify(name)}: ${trustDomain.error}`);
    const bundle = readBundle(trustDomain.value, value);
    if (!bundle.ok) return err(`${name}: ${bundle.error}`);
    bundles.set(name, bundle.value);
  }
  return ok(bundles);
}

/** More than any domain signs tokens with; each key costs a look by OpenSSL, and each byte one by the JSON reader. */
const MAX_JWT_KEYS = 256;
const MAX_JWT_KEY_SET_BYTES = 256 * 1024;

/**
 * Parses the JWK set that the Workload API gives for a trust domain (Workload API 6.2.2). SPIRE leaves `use` out of these keys:
 * here what has none is for JWT-SVIDs; what says another use is not ours. Authorities are never read from it (5.2.1).
 */
export function parseJwtKeySet(trustDomain: TrustDomain, bytes: Uint8Array): Result<TrustBundle, string> {
  if (bytes.length > MAX_JWT_KEY_SET_BYTES) return err(`it is longer than ${MAX_JWT_KEY_SET_BYTES} bytes`);
  const json = parseStrictJson(bytes);
  if (!json.ok) return err(`the key set is not sound JSON: ${json.error}`);
  const keys = isJsonObject(json.value) ? json.value.get('keys') : undefined;
  if (!isJsonArray(keys)) return err('keys is missing or not an array');
  if (keys.length > MAX_JWT_KEYS) return err(`it holds ${keys.length} keys, more than ${MAX_JWT_KEYS}`);
  const jwtKeys = new Map<string, JWK>();
  for (const [index, key] of keys.entries()) {
    if (!isJsonObject(key)) continue;
    const use = key.get('use');
    if (use !== undefined && use !== 'jwt-svid') continue;
    const problem = readJwtKey(key, jwtKeys);
    if (problem !== undefined) return err(`key ${index + 1}: ${problem}`);
  }
  const refusal = problemOfKeySet([...jwtKeys.values()]);
  return refusal === undefined ? ok(createTrustBundle({ trustDomain, jwtKeys })) : err(refusal);
}

function readBundle(trustDomain: TrustDomain, document: JsonValue): Result<TrustBundle, string> {
  if (!isJsonObject(document)) return err('the bundle is not a JSON object');
  const keys = document.get('keys');
  if (!isJsonArray(keys)) return err('keys is missing or not an array');
  const sequence = readSequence(document.get('spiffe_sequence'));
  if (!sequence.ok) return sequence;
  const authorities: Certificate[] = [];
  const jwtKeys = new Map<string, JWK>();
  for (const [index, key] of keys.entries()) {
    if (!isJsonObject(key)) continue; // an element that is not understood is ignored (4.2.1)
    const problem = readKey(key, authorities, jwtKeys);
    if (problem !== undefined) return err(`key ${index + 1}: ${problem}`);
  }
  const refusal = problemOfKeySet([...jwtKeys.values()]);
  if (refusal !== undefined) return err(refusal);
  return ok(
    createTrustBundle({
      trustDomain,
      authorities,
      jwtKeys,
      sequence: sequence.value,
      refreshHintSeconds: readHint(document.get('spiffe_refresh_hint')),
    }),
  );
}

/** jose verifies tokens by this set: what it would not take is found now, not at the first token. */
function problemOfKeySet(keys: JWK[]): string | undefined {
  try {
    createLocalJWKSet({ keys });
    return undefined;
  } catch (error) {
    return `the jwt-svid keys are no JWK set: ${(error as Error).message}`;
  }
}

/** Adds what the element holds; the problem when it claims a use that is ours and is broken. `use` alone decides the purpose. */
function readKey(key: JsonObject, authorities: Certificate[], jwtKeys: Map<string, JWK>): string | undefined {
  switch (key.get('use')) {
    case 'x509-svid':
      return readX509Key(key, authorities);
    case 'jwt-svid':
      return readJwtKey(key, jwtKeys);
    default:
      return undefined; // unknown, missing or wit-svid: ignored (4.2.2), case counts
  }
}

function readX509Key(key: JsonObject, authorities: Certificate[]): string | undefined {
  const kty = key.get('kty');
  if (typeof kty !== 'string' || !knownKeyTypes.has(kty)) return undefined; // 4.2.1
  const chain = key.get('x5c') ?? null;
  if (chain === null || (isJsonArray(chain) && chain.length === 0)) return undefined; // X509-SVID 6.2: ignored
  const first = isJsonArray(chain) ? chain[0] : undefined; // X509-SVID 6.2: only the first counts
  const der = typeof first === 'string' ? decodeBase64(first) : undefined;
  if (der === undefined) return 'x5c does not hold base64 DER';
  const authority = parseAuthority(der);
  if (!authority.ok) return authority.error;
  authorities.push(authority.value);
  return undefined;
}

const knownKeyTypes: ReadonlySet<string> = new Set(['EC', 'RSA', 'OKP', 'AKP']);
const knownJwtKeyTypes: ReadonlySet<unknown> = new Set(['EC', 'RSA']);

function readJwtKey(key: JsonObject, jwtKeys: Map<string, JWK>): string | undefined {
  const reading = readPublicJwk(key);
  if (reading.kind === 'secret') return 'it holds a private key';
  const kid = key.get('kid');
  if (typeof kid !== 'string' || kid === '') return undefined; // JWT-SVID 6.1: no token could name it
  // What is outside the JWT-SVID algorithms (JWT-SVID 2.1), or weak, is ignored.
  if (!knownJwtKeyTypes.has(key.get('kty')) || reading.kind === 'unusable') return undefined;
  if (jwtKeys.has(kid)) return `the key id ${JSON.stringify(kid)} is there twice`;
  jwtKeys.set(kid, { ...reading.jwk, kid });
  return undefined;
}

function readSequence(value: JsonValue | undefined): Result<bigint | undefined, string> {
  if (value === undefined) return ok(undefined);
  const sequence = value instanceof JsonNumber ? value.integer : undefined;
  return sequence === undefined || sequence < 0n
    ? err('spiffe_sequence is not a whole number')
    : ok(sequence);
}

/** Only a hint (4.1.2): one that makes no sense is no hint. */
function readHint(value: JsonValue | undefined): number | undefined {
  const seconds = value instanceof JsonNumber ? value.integer : undefined;
  return seconds === undefined || seconds < 0n || seconds > BigInt(Number.MAX_SAFE_INTEGER)
    ? undefined
    : Number(seconds);
}
