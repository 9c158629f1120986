import type { Duration } from '@marcbachmann/cel-js/evaluator';
import type { PrincipalId } from '../identity/principal-id.js';
import {
  bounded,
  boundedList,
  dateOf,
  durationOf,
  MAX_LIST,
  MAX_TEXT,
  tooDeep,
  tooLong,
} from './condition-bounds.js';
import type { ConditionScope } from './condition-scope.js';
import { actorsOf } from './delegation.js';
import { ConditionFault } from './facts.js';
import { splitPath } from './pattern.js';

const PATH_TOO_LONG = tooLong('request.path');
const ISSUER_TOO_LONG = tooLong('credential.issuer');
const PATH_TOO_DEEP = tooDeep('request.segments');
const ID_TOO_DEEP = tooDeep('principal.segments');
const SUBJECT_TOO_DEEP = tooDeep('delegation.segments');
const ACTORS_TOO_LONG = tooLong('delegation.actors');
const ACTORS_TOO_DEEP = new ConditionFault(`delegation.actors are more than ${MAX_LIST}`);

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
  get #subject(): PrincipalId | undefined {
    return this.scope.input.request.behalfOf?.subject;
  }

  get subject(): string {
    return this.#subject?.uri ?? '';
  }

  get trustDomain(): string {
    return this.#subject?.trustDomain ?? '';
  }

  get segments(): readonly string[] {
    return boundedList(this.#subject?.segments ?? [], SUBJECT_TOO_DEEP);
  }

  /** CEL's whole numbers are BigInts here. */
  get depth(): bigint {
    const through = this.scope.delegationFact('through');
    return through === undefined ? 0n : BigInt(through.length + 1);
  }

  get by(): string {
    return this.scope.delegationFact('by') ?? '';
  }

  get actors(): readonly string[] {
    const through = this.scope.delegationFact('through');
    const actors = through === undefined ? [] : actorsOf({ through }, this.scope.input.request.principal);
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
