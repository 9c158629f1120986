import type { SecretKind } from '../audit/record.js';
import type { SignalSettings } from '../config/config.js';
import { tokenLifeOf } from './signal-token.js';

/** A secret that does not change from request to request; where it stood, and nothing of it. */
export interface FoundSecret {
  readonly kind: SecretKind;
  /** Name of the header or query parameter as the configuration writes it, never as the client did. */
  readonly name: string;
}

type Settings = Pick<SignalSettings, 'secretHeaders' | 'secretQuery' | 'tokenLifetimeMs'>;

/** Where a scheme's credential stands (RFC 9110 11.6.2, 11.7.2). */
const BY_SCHEME: readonly string[] = ['authorization', 'proxy-authorization'];
/** Schemes whose parameter is the key itself. Others prove a key without sending it (Digest, DPoP, AWS4, Negotiate, …). */
const KEY_SCHEMES: ReadonlySet<string> = new Set(['apikey', 'api-key', 'key', 'token']);
/** Servers stop looking there as well. */
const MAX_PARAMETERS = 256;
/** Credentials that somebody joined into one line by commas. */
const MAX_JOINED = 8;

/**
 * Finds static secrets in a request. Every request passes here, so a name that cannot be one of the listed costs two
 * characters: its first and its last. Names are compared by letters and digits alone, as lax services read them
 * (`X_Api_Key`, `x.api.key`).
 */
export class SecretFinder {
  readonly #headers: ReadonlyMap<string, string>;
  readonly #query: ReadonlyMap<string, string>;
  readonly #headerEnds: Uint8Array;
  readonly #queryEnds: Uint8Array;
  readonly #tokenLifetimeMs: number;

  constructor({ secretHeaders, secretQuery, tokenLifetimeMs }: Settings) {
    this.#headers = bySquashed([...secretHeaders, ...BY_SCHEME]);
    this.#query = bySquashed(secretQuery);
    this.#headerEnds = endsOf(this.#headers);
    this.#queryEnds = endsOf(this.#query);
    this.#tokenLifetimeMs = tokenLifetimeMs;
  }

  /** One of each kind, in the order met; undefined where there is none. All lines count, also those that do not cross. */
  find(rawHeaders: readonly string[], query: string, nowMs: number): readonly FoundSecret[] | undefined {
    let found: FoundSecret[] | undefined;
    for (let i = 0; i < rawHeaders.length; i += 2) {
      const line = rawHeaders[i]!;
      if (this.#headerEnds[endsKey(line)] !== 1) continue;
      const name = this.#headers.get(squashed(line));
      if (name !== undefined) found = this.#inHeader(name, rawHeaders[i + 1]!, nowMs, found);
    }
    return query.length > 1 ? this.#inQuery(query, found) : found;
  }

  #inHeader(name: string, value: string, nowMs: number, found: FoundSecret[] | undefined) {
    if (!BY_SCHEME.includes(name)) return withOne(found, name, this.#inKeyHeader(value, nowMs));
    const [first = '', ...joined] = value.split(',', MAX_JOINED);
    let all = withOne(found, name, this.#inCredential(first, true, nowMs));
    for (const part of joined) all = withOne(all, name, this.#inCredential(part, false, nowMs));
    return all;
  }

  /** What is a short-lived token is none, also where a key is expected. */
  #inKeyHeader(value: string, nowMs: number): SecretKind | undefined {
    const text = value.trim();
    if (text === '') return undefined;
    const token = /^bearer[ \t]+/i.test(text) ? text.slice(6).trim() : text;
    return tokenLifeOf(token, this.#tokenLifetimeMs, nowMs) === 'short' ? undefined : 'api_key';
  }

  /** `mayBeBare`: without a scheme it is a token all the same, as some services have it. */
  #inCredential(value: string, mayBeBare: boolean, nowMs: number): SecretKind | undefined {
    const text = value.trim();
    const end = text.search(/[ \t]/);
    if (end < 0) return mayBeBare && !SCHEME_ALONE.test(text) ? this.#inToken(text, nowMs) : undefined;
    const scheme = text.slice(0, end).toLowerCase();
    if (scheme === 'basic') return 'basic';
    if (scheme === 'bearer') return this.#inToken(text.slice(end).trim(), nowMs);
    return KEY_SCHEMES.has(scheme) ? 'api_key' : undefined;
  }

  #inToken(token: string, nowMs: number): SecretKind | undefined {
    if (token === '') return undefined;
    const life = tokenLifeOf(token, this.#tokenLifetimeMs, nowMs);
    if (life === 'short') return undefined;
    return life === 'long' ? 'bearer_long_lived' : 'bearer_opaque';
  }

  /** Whatever stands there is in the logs of everybody on the way, short-lived or not (RFC 6750 5.3). */
  #inQuery(query: string, found: FoundSecret[] | undefined): FoundSecret[] | undefined {
    const pairs = query.includes(';') ? query.replaceAll(';', '&') : query;
    const isEncoded = pairs.includes('%');
    let equals = 0;
    for (let from = 1, n = 0; from < pairs.length && n < MAX_PARAMETERS; n++) {
      const next = pairs.indexOf('&', from);
      const end = next < 0 ? pairs.length : next;
      if (equals < from) equals = pairs.indexOf('=', from); // never looked for twice: a long query must not cost its square
      if (equals < 0) return found;
      if (equals > from && equals < end - 1) {
        const name = this.#queryName(pairs.slice(from, equals), isEncoded);
        if (name !== undefined) return withOne(found, name, 'query');
      }
      from = end + 1;
    }
    return found;
  }

  #queryName(written: string, isEncoded: boolean): string | undefined {
    const decoded = isEncoded ? decodedName(written) : written;
    const bracket = decoded.indexOf('['); // PHP: `api_key[]`
    const name = bracket > 0 ? decoded.slice(0, bracket) : decoded;
    return this.#queryEnds[endsKey(name)] === 1 ? this.#query.get(squashed(name)) : undefined;
  }
}

const SCHEME_ALONE = /^(|basic|bearer|digest|negotiate|ntlm|kerberos)$/i;

function withOne(
  found: FoundSecret[] | undefined,
  name: string,
  kind: SecretKind | undefined,
): FoundSecret[] | undefined {
  if (kind === undefined || found?.some((one) => one.kind === kind)) return found;
  return found === undefined ? [{ kind, name }] : [...found, { kind, name }];
}

function decodedName(written: string): string {
  try {
    return decodeURIComponent(written);
  } catch {
    return written;
  }
}

const squashed = (name: string): string => name.toLowerCase().replace(/[^a-z0-9]/g, '');

/** Where several spellings of one name are listed, the first stands for all. */
const bySquashed = (names: readonly string[]): ReadonlyMap<string, string> =>
  new Map([...names].reverse().map((name) => [squashed(name), name]));

/** Both cases of a letter agree in five bits; what else agrees with them is looked up in vain. */
const endsKey = (name: string): number =>
  ((name.charCodeAt(0) & 31) << 5) | (name.charCodeAt(name.length - 1) & 31);

function endsOf(names: ReadonlyMap<string, string>): Uint8Array {
  const ends = new Uint8Array(1024);
  for (const name of names.keys()) ends[endsKey(name)] = 1;
  return ends;
}
