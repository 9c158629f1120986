import { type ConnectionFacts, type CredentialFacts, type RequestFacts, UnknownFact } from './facts.js';

/** `null` where it is known that there was none. */
export type GivenValues = ReadonlyMap<string, string | null>;

/** What is known of a request that is not here: told by a person, or by its record. */
export interface Given {
  readonly headers?: GivenValues | undefined;
  readonly query?: GivenValues | undefined;
  readonly claims?: GivenValues | undefined;
  /** There was no token: no claim is there. */
  readonly hasNoToken?: boolean | undefined;
  readonly credential?: CredentialFacts | undefined;
  readonly connection?: ConnectionFacts | undefined;
}

/** Facts of a request that is not here; of what nobody told, an UnknownFact. */
export class GivenFacts implements RequestFacts {
  constructor(readonly given: Given) {}

  header(name: string): string | undefined {
    return readValue(this.given.headers, name, `request.headers["${name}"]`);
  }

  query(name: string): string | undefined {
    return readValue(this.given.query, name, `request.query["${name}"]`);
  }

  claim(name: string): string | undefined {
    if (this.given.hasNoToken) return undefined;
    return readValue(this.given.claims, name, `credential.claims["${name}"]`);
  }

  get credential(): CredentialFacts {
    return known(this.given.credential, 'credential');
  }

  get connection(): ConnectionFacts {
    return known(this.given.connection, 'connection');
  }
}

const readValue = (values: GivenValues | undefined, name: string, fact: string): string | undefined =>
  known(values?.get(name), fact) ?? undefined;

function known<T>(value: T | undefined, fact: string): T {
  if (value === undefined) throw new UnknownFact(fact);
  return value;
}
