import { Duration } from '@marcbachmann/cel-js/evaluator';
import type { NamedField } from './condition-schema.js';
import { actorsOf, type Delegation, depthOf } from './delegation.js';
import {
  ConditionFault,
  type ConditionInput,
  type ConnectionFacts,
  type CredentialFacts,
  UnknownFact,
} from './facts.js';
import { splitPath } from './pattern.js';

/** Longer texts and lists make a condition fault: so its cost has a bound that no caller moves. */
const MAX_TEXT = 4096;
export const MAX_LIST = 128;

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

  #noted(error: unknown): unknown {
    if (error instanceof UnknownFact) this.unknown ??= error;
    return error;
  }
}

class View {
  constructor(protected readonly scope: ConditionScope) {}
}

export class RequestView extends View {
  #segments: readonly string[] | undefined;

  forget(): void {
    this.#segments = undefined;
  }

  get method(): string {
    return this.scope.input.request.method;
  }

  get host(): string {
    return this.scope.input.request.host;
  }

  get path(): string {
    return bounded(this.scope.input.path, PATH_TOO_LONG);
  }

  get segments(): readonly string[] {
    this.#segments ??= boundedList(splitPath(this.path), PATH_TOO_DEEP);
    return this.#segments;
  }

  get route(): string {
    return this.scope.input.request.route;
  }

  get destination(): string {
    return this.scope.input.request.destination;
  }
}

export class PrincipalView extends View {
  get id(): string {
    return this.scope.input.request.principal.uri;
  }

  get trustDomain(): string {
    return this.scope.input.request.principal.trustDomain;
  }

  get segments(): readonly string[] {
    return boundedList(this.scope.input.request.principal.segments, ID_TOO_DEEP);
  }

  get owner(): string {
    return this.scope.input.registered?.owner ?? '';
  }

  get environment(): string {
    return this.scope.input.registered?.environment ?? '';
  }

  get registered(): boolean {
    return this.scope.input.registered !== undefined;
  }
}

export class CredentialView extends View {
  get kind(): string {
    return this.scope.credentialFact('kind');
  }

  get issuer(): string {
    return bounded(this.scope.credentialFact('issuer'), ISSUER_TOO_LONG);
  }

  get age(): Duration {
    return durationOf(this.scope.input.request.nowMs - this.scope.credentialFact('notBeforeMs'));
  }

  get remaining(): Duration {
    return durationOf(this.scope.credentialFact('notAfterMs') - this.scope.input.request.nowMs);
  }

  get lifetime(): Duration {
    return durationOf(this.scope.credentialFact('notAfterMs') - this.scope.credentialFact('notBeforeMs'));
  }

  get notBefore(): Date {
    return dateOf(this.scope.credentialFact('notBeforeMs'));
  }

  get notAfter(): Date {
    return dateOf(this.scope.credentialFact('notAfterMs'));
  }
}

/** Empty throughout where the caller asks for itself. */
export class DelegationView extends View {
  get #delegation(): Delegation | undefined {
    return this.scope.input.request.behalfOf;
  }

  get subject(): string {
    return this.#delegation?.subject.uri ?? '';
  }

  get trustDomain(): string {
    return this.#delegation?.subject.trustDomain ?? '';
  }

  get segments(): readonly string[] {
    return boundedList(this.#delegation?.subject.segments ?? [], SUBJECT_TOO_DEEP);
  }

  /** CEL's whole numbers are BigInts here. */
  get depth(): bigint {
    const delegation = this.#delegation;
    return delegation === undefined ? 0n : BigInt(depthOf(delegation));
  }

  get by(): string {
    return this.#delegation?.by ?? '';
  }

  get actors(): readonly string[] {
    const { behalfOf, principal } = this.scope.input.request;
    const actors = behalfOf === undefined ? [] : actorsOf(behalfOf, principal);
    // what a loop costs is reckoned for items that are together no longer than one text may be
    let length = 0;
    for (const actor of actors) length += actor.length;
    if (length > MAX_TEXT) throw ACTORS_TOO_LONG;
    return boundedList(actors, ACTORS_TOO_DEEP);
  }
}

export class ConnectionView extends View {
  get listener(): string {
    return this.scope.input.request.listener;
  }

  get tlsVersion(): string {
    return this.scope.connectionFact('tlsVersion');
  }

  get resumed(): boolean {
    return this.scope.connectionFact('resumed');
  }
}

/** Seconds rounded down and the rest of them in nanoseconds: the one form in which the library adds durations rightly. */
export function durationOf(ms: number): Duration {
  const seconds = Math.floor(ms / 1000);
  return new Duration(seconds, Math.round((ms - seconds * 1000) * 1_000_000));
}

/** Every comparison with a date that is none is false: a deny would be passed by. */
function dateOf(ms: number): Date {
  if (!Number.isFinite(ms)) throw NO_TIME;
  return new Date(ms);
}

/** @throws `tooLong`, made beforehand: a caller who sends such texts must not make us walk the stack. */
export function bounded(text: string, tooLong: ConditionFault): string {
  if (text.length > MAX_TEXT) throw tooLong;
  return text;
}

function boundedList<T extends readonly string[]>(list: T, tooLong: ConditionFault): T {
  if (list.length > MAX_LIST) throw tooLong;
  return list;
}

export const tooLong = (name: string): ConditionFault =>
  new ConditionFault(`${name} is longer than ${MAX_TEXT} characters`);
const tooDeep = (name: string): ConditionFault =>
  new ConditionFault(`${name} has more than ${MAX_LIST} segments`);
const NO_TIME = new ConditionFault('a time is not known');
const PATH_TOO_LONG = tooLong('request.path');
const ISSUER_TOO_LONG = tooLong('credential.issuer');
const PATH_TOO_DEEP = tooDeep('request.segments');
const ID_TOO_DEEP = tooDeep('principal.segments');
const SUBJECT_TOO_DEEP = tooDeep('delegation.segments');
const ACTORS_TOO_LONG = tooLong('delegation.actors');
const ACTORS_TOO_DEEP = new ConditionFault(`delegation.actors are more than ${MAX_LIST}`);
