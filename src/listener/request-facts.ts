import { claimAt } from '../identity/token-template.js';
import { normaliseHeaderName } from '../message/header-names.js';
import type { RequestHead } from '../message/request-head.js';
import {
  ConditionFault,
  type ConnectionFacts,
  type CredentialFacts,
  type RequestFacts,
} from '../policy/facts.js';
import { readQueryParameter } from '../policy/query-parameter.js';
import type { Exchange } from './exchange.js';

/** What conditions may read of a live request. Made for every request, so it holds two references and no more. */
export class LiveFacts implements RequestFacts {
  constructor(
    readonly head: RequestHead,
    readonly of: Pick<Exchange, 'connection' | 'token' | 'isNamedByToken'>,
  ) {}

  /**
   * Of the lines that cross: what the upstream will not see decides nothing. Another spelling (`x_region`) is the same header
   * to a lax service and not to us: then nobody can say what it will read.
   */
  header(name: string): string | undefined {
    const { endToEnd } = this.head;
    let found: string | undefined;
    for (let i = 0; i < endToEnd.length; i += 2) {
      const line = endToEnd[i]!;
      if (line.length !== name.length) continue;
      if (line.toLowerCase() !== name) {
        if (normaliseHeaderName(line) !== name) continue;
        throw new ConditionFault(`header ${name} is there in another spelling`);
      }
      found = found === undefined ? endToEnd[i + 1]! : `${found}, ${endToEnd[i + 1]!}`;
    }
    return found;
  }

  query(name: string): string | undefined {
    return readQueryParameter(this.head.target.query, name);
  }

  claim(name: string): string | undefined {
    const { token } = this.of;
    if (token === undefined) return undefined;
    const value = claimAt(token.token.claims, name);
    if (typeof value === 'string' || value === undefined) return value;
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    throw new ConditionFault(`claim ${name} is neither text, number nor truth value`);
  }

  get credential(): CredentialFacts {
    const { token, isNamedByToken, connection } = this.of;
    if (token !== undefined && isNamedByToken) {
      const { kind, notBeforeMs, notAfterMs, iss } = token.token;
      return { kind: kind === 'jwt-svid' ? kind : 'oidc', notBeforeMs, notAfterMs, issuer: iss };
    }
    const { leaf } = connection.credential!.svid!;
    return {
      kind: 'x509',
      notBeforeMs: leaf.notBeforeMs,
      notAfterMs: leaf.notAfterMs,
      issuer: leaf.issuer,
    };
  }

  get connection(): ConnectionFacts {
    const { version = '', resumed } = this.of.connection.tls;
    return { tlsVersion: version, resumed };
  }
}
