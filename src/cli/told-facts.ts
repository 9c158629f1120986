import { namespaceOf, type PrincipalId } from '../identity/principal-id.js';
import { judgeLeafDates } from '../identity/x509-svid.js';
import {
  type ConnectionFacts,
  type CredentialFacts,
  type RequestFacts,
  UnknownFact,
} from '../policy/facts.js';
import { readQueryParameter } from '../policy/query-parameter.js';

/** What a person, or a test of a policy file, tells of a request; each thing alone may be left out. */
export interface Told {
  /** By lower-case name; `null` where the request has none. */
  readonly headers: ReadonlyMap<string, string | null>;
  /** Of the caller's token; `null` where it has none. */
  readonly claims?: ReadonlyMap<string, string | null> | undefined;
  /** The token has no claim that is not told. */
  readonly isAllOfClaims?: boolean | undefined;
  /** The request has no header that is not told. */
  readonly isAllOfHeaders: boolean;
  /** Where the query is, which is known whole. */
  readonly url: string;
  /** Unix milliseconds. */
  readonly notBeforeMs?: number | undefined;
  readonly notAfterMs?: number | undefined;
  /** Left out: a certificate, or an OIDC token where the name is no SPIFFE ID. */
  readonly kind?: CredentialFacts['kind'] | undefined;
  readonly issuer?: string | undefined;
  /** As records have it: `TLSv1.3`. */
  readonly tlsVersion?: string | undefined;
  readonly resumed?: boolean | undefined;
}

/** The refusal that the credential's dates ask for before policy is asked, as far as they were told. */
export function judgeToldDates(
  { notBeforeMs = Number.NEGATIVE_INFINITY, notAfterMs = Number.POSITIVE_INFINITY }: Told,
  nowMs: number,
  clockSkewMs: number,
): ReturnType<typeof judgeLeafDates> {
  return judgeLeafDates({ notBeforeMs, notAfterMs }, nowMs, clockSkewMs);
}

/** What a caller of this name showed. */
export const toldKind = ({ kind }: Told, as: PrincipalId): CredentialFacts['kind'] =>
  kind ?? (namespaceOf(as.uri) === undefined ? 'x509' : 'oidc');

/** Facts of a request as they were told; of what was not, an UnknownFact. */
export class ToldFacts implements RequestFacts {
  readonly credential: CredentialFacts;
  readonly connection: ConnectionFacts;

  constructor(
    readonly told: Told,
    kind: CredentialFacts['kind'],
  ) {
    this.credential = new ToldCredential(told, kind);
    this.connection = new ToldConnection(told);
  }

  header(name: string): string | undefined {
    const value = this.told.headers.get(name) ?? undefined;
    if (value !== undefined || this.told.headers.has(name) || this.told.isAllOfHeaders) return value;
    throw new UnknownFact(`request.headers["${name}"]`);
  }

  claim(name: string): string | undefined {
    const { claims, isAllOfClaims } = this.told;
    const value = claims?.get(name);
    if (value === undefined && !isAllOfClaims) throw new UnknownFact(`credential.claims["${name}"]`);
    return value ?? undefined;
  }

  query(name: string): string | undefined {
    const { url } = this.told;
    const mark = url.indexOf('?');
    return mark < 0 ? undefined : readQueryParameter(url.slice(mark), name);
  }
}

/** Each is asked for alone: what nobody reads need not be told. */
class ToldCredential implements CredentialFacts {
  constructor(
    readonly told: Told,
    readonly kind: CredentialFacts['kind'],
  ) {}

  get notBeforeMs(): number {
    return known(this.told.notBeforeMs, 'credential.notBefore');
  }

  get notAfterMs(): number {
    return known(this.told.notAfterMs, 'credential.notAfter');
  }

  get issuer(): string {
    return known(this.told.issuer, 'credential.issuer');
  }
}

class ToldConnection implements ConnectionFacts {
  constructor(readonly told: Told) {}

  get tlsVersion(): string {
    return known(this.told.tlsVersion, 'connection.tlsVersion');
  }

  get resumed(): boolean {
    return known(this.told.resumed, 'connection.resumed');
  }
}

function known<T>(value: T | undefined, fact: string): T {
  if (value === undefined) throw new UnknownFact(fact);
  return value;
}

const OPTIONS: Readonly<Record<string, string>> = {
  'credential.notBefore': '--not-before TIME, or --credential FILE',
  'credential.notAfter': '--not-after TIME, or --credential FILE',
  'credential.issuer': '--issuer DN, or --credential FILE',
  'delegation.by': '--by token, assertion or xfcc',
  'delegation.actors': '--through ID for each actor before the caller, or --through none',
  'connection.tlsVersion': '--tls 1.3',
  'connection.resumed': '--resumed, or --no-resumed',
};

/** The option of `explain` that tells a fact. */
export function optionFor(fact: string): string {
  const header = headerOf(fact);
  if (header !== undefined) return `--header ${header}=VALUE, or --header ${header} where it has none`;
  const claim = claimOf(fact);
  return claim === undefined
    ? (OPTIONS[fact] ?? '')
    : `--claim ${claim}=VALUE, or --claim ${claim} where it has none`;
}

const KEYS: Readonly<Record<string, string>> = {
  'credential.notBefore': 'credential: { notBefore: TIME }',
  'credential.notAfter': 'credential: { notAfter: TIME }, or credential: { remaining: 1h }',
  'credential.issuer': 'credential: { issuer: DN }',
  'delegation.by': 'by: token',
  'delegation.actors': 'through: [ID], or through: [] where nobody acted before the caller',
  'connection.tlsVersion': 'tls: "1.3"',
  'connection.resumed': 'resumed: false',
};

/** The key of a policy file's test that tells a fact. */
export function keyFor(fact: string): string {
  const header = headerOf(fact);
  if (header !== undefined) return `headers: { ${header}: VALUE }, or headers: {} where it has none`;
  const claim = claimOf(fact);
  return claim === undefined
    ? (KEYS[fact] ?? '')
    : `claims: { ${claim}: VALUE }, or claims: {} where it has none`;
}

const claimOf = (fact: string): string | undefined => /^credential\.claims\["(.*)"\]$/.exec(fact)?.[1];
const headerOf = (fact: string): string | undefined => /^request\.headers\["(.*)"\]$/.exec(fact)?.[1];
