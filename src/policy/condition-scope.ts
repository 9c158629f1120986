import { dateOf } from './condition-bounds.js';
import type { NamedField } from './condition-schema.js';
import {
  ConnectionView,
  CredentialView,
  DelegationView,
  PrincipalView,
  RequestView,
} from './condition-views.js';
import type { Delegation } from './delegation.js';
import {
  ConditionFault,
  type ConditionInput,
  type ConnectionFacts,
  type CredentialFacts,
  UnknownFact,
} from './facts.js';

/**
 * What one condition sees while it is evaluated. One is made for each condition and used again, as evaluation is
 * synchronous: `begin` and `end` enclose it. Facts are asked for only when they are read.
 */
export class ConditionScope {
  readonly request = new RequestView(this);
  readonly principal = new PrincipalView(this);
  readonly credential = new CredentialView(this);
  readonly delegation = new DelegationView(this);
  readonly connection = new ConnectionView(this);
  /** The first fact that nobody wrote down, though an `||` may since have passed over it. */
  unknown: UnknownFact | undefined;
  /** Headers, query values and claims that were read, null where absent: asked for once, however often a loop reads them. */
  readonly values: (string | null | undefined)[] = [];
  #input: ConditionInput | undefined;

  begin(input: ConditionInput): void {
    this.#input = input;
    this.unknown = undefined;
  }

  /** Holds on to no request. */
  end(): void {
    this.#input = undefined;
    this.unknown = undefined;
    this.values.fill(undefined);
    this.request.forget();
  }

  get input(): ConditionInput {
    if (this.#input === undefined) throw new ConditionFault('read outside an evaluation');
    return this.#input;
  }

  get now(): Date {
    return dateOf(this.input.request.nowMs);
  }

  named(of: NamedField, name: string): string | undefined {
    const { facts } = this.input.request;
    try {
      switch (of) {
        case 'headers':
          return facts.header(name);
        case 'query':
          return facts.query(name);
        case 'claims':
          return facts.claim(name);
      }
    } catch (error) {
      throw this.#noted(error);
    }
  }

  credentialFact<K extends keyof CredentialFacts>(key: K): CredentialFacts[K] {
    try {
      return this.input.request.facts.credential[key];
    } catch (error) {
      throw this.#noted(error);
    }
  }

  connectionFact<K extends keyof ConnectionFacts>(key: K): ConnectionFacts[K] {
    try {
      return this.input.request.facts.connection[key];
    } catch (error) {
      throw this.#noted(error);
    }
  }

  /** Undefined where the caller asks for itself. */
  delegationFact<K extends 'by' | 'through'>(key: K): Delegation[K] | undefined {
    try {
      return this.input.request.behalfOf?.[key];
    } catch (error) {
      throw this.#noted(error);
    }
  }

  #noted(error: unknown): unknown {
    if (error instanceof UnknownFact) this.unknown ??= error;
    return error;
  }
}
