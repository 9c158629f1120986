import { type Fields, fieldsOf, parseRecordTime } from '../record-line.js';
import { fieldOf, type RecordOpening, type ScannedRecord } from '../record-scanner.js';
import { isVerified } from '../recorded-request.js';
import { CappedMap, nameOf, OTHER } from './capped-map.js';

/** Who a record is about. */
export interface ReportCaller {
  /** Of a caller that was verified: its SPIFFE ID, or the name that its token gave. */
  readonly identity: string | undefined;
  /** What the certificate says where nothing verified it: anybody can say it. */
  readonly claim: string | undefined;
  readonly credential: CredentialTally | undefined;
}

export interface IdentityTally {
  readonly id: string;
  trustDomain: string;
  owner: string | undefined;
  registered: boolean | undefined;
  /** What it showed. */
  readonly kinds: Set<string>;
}

/** One certificate that was verified. */
export interface CredentialTally {
  readonly sha256: string;
  identity: string;
  keySha256: string;
  serial: string;
  issuer: string;
  authority: string;
  notBefore: string;
  notAfter: string;
  lifetimeMs: number | undefined;
  requests: number;
  last: string;
  readonly addresses: Set<string>;
}

/** Certificates of a day of short lives; some 20 MB. */
const MAX_CREDENTIALS = 40_000;
const MAX_IDENTITIES = 10_000;
export const MAX_ADDRESSES = 16;

/** Identities and credentials, found once for all records of a connection. */
export class ReportCallers {
  readonly identities = new CappedMap<IdentityTally>(MAX_IDENTITIES, (id) => ({
    id,
    trustDomain: '',
    owner: undefined,
    registered: undefined,
    kinds: new Set(),
  }));
  readonly credentials = new CappedMap<CredentialTally>(MAX_CREDENTIALS, newCredential);
  readonly #known = new WeakMap<RecordOpening, ReportCaller | 'unwanted'>();

  constructor(
    /** undefined: everybody. */
    readonly isWanted: ((identity: string) => boolean) | undefined,
  ) {}

  /** undefined: not one of those that are asked about. */
  of(record: ScannedRecord): ReportCaller | undefined {
    // without a certificate each request of a connection may be of somebody else
    if (Object.hasOwn(record.fields, 'principal')) return this.#find(record);
    const known = this.#known.get(record.opening);
    if (known !== undefined) return known === 'unwanted' ? undefined : known;
    const caller = this.#find(record);
    if (record.opening.fields.principal !== undefined) this.#known.set(record.opening, caller ?? 'unwanted');
    return caller;
  }

  #find(record: ScannedRecord): ReportCaller | undefined {
    const principal = fieldsOf(fieldOf(record, 'principal'));
    const id = nameOf(principal.id);
    const identity = isVerified(principal) && id !== '' ? id : undefined;
    if (this.isWanted !== undefined && (identity === undefined || !this.isWanted(identity))) return undefined;
    if (identity !== undefined) this.#tell(identity, principal);
    return {
      identity,
      claim: principal.kind === 'none' ? id : undefined,
      credential: identity === undefined ? undefined : this.#credentialOf(principal, identity, record),
    };
  }

  #tell(id: string, { trustDomain, owner, registered, credential }: Fields): void {
    const identity = this.identities.at(id);
    if (identity.id === OTHER) return;
    identity.trustDomain = nameOf(trustDomain);
    identity.kinds.add(credential === 'jwt-svid' || credential === 'oidc' ? credential : 'certificate');
    identity.owner = typeof owner === 'string' ? nameOf(owner) : identity.owner;
    if (typeof registered === 'boolean') identity.registered = registered;
  }

  #credentialOf(principal: Fields, identity: string, record: ScannedRecord): CredentialTally | undefined {
    const sha256 = nameOf(principal.sha256);
    if (sha256 === '') return undefined;
    const credential = this.credentials.at(sha256);
    if (credential.sha256 === OTHER) return credential;
    if (credential.identity === '') {
      const [from, to] = [parseRecordTime(principal.notBefore), parseRecordTime(principal.notAfter)];
      credential.identity = identity;
      credential.keySha256 = nameOf(principal.keySha256);
      credential.serial = nameOf(principal.serial);
      credential.issuer = nameOf(principal.issuer);
      credential.authority = nameOf(principal.authority);
      credential.notBefore = nameOf(principal.notBefore);
      credential.notAfter = nameOf(principal.notAfter);
      credential.lifetimeMs = from === undefined || to === undefined ? undefined : to - from;
    }
    const address = nameOf(fieldsOf(fieldOf(record, 'peer')).address);
    if (address !== '' && credential.addresses.size < MAX_ADDRESSES) credential.addresses.add(address);
    return credential;
  }
}

function newCredential(sha256: string): CredentialTally {
  return {
    sha256,
    identity: '',
    keySha256: '',
    serial: '',
    issuer: '',
    authority: '',
    notBefore: '',
    notAfter: '',
    lifetimeMs: undefined,
    requests: 0,
    last: '',
    addresses: new Set(),
  };
}
