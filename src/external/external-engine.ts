import { readFileSync } from 'node:fs';
import type { ExternalDecisionConfig } from '../config/config.js';
import type { Diagnostics, ExternalAnswer, ExternalDecisions, ExternalQuestion } from '../listener/ports.js';
import { type EngineAnswer, parseExternalAnswer } from '../policy/external-answer.js';
import { externalBody } from '../policy/external-input.js';
import { err, type Result } from '../reasons.js';
import { AnswerCache, type Moment } from './answer-cache.js';
import { Circuit, type CircuitState, type Ticket } from './circuit.js';
import { type CallProblem, EngineConnections } from './decision-call.js';

/** How a question ended, as it is counted. */
export type ExternalResult = 'allow' | 'deny' | 'unavailable' | 'cached_allow' | 'cached_deny' | 'given_up';

export interface ExternalEngineParts {
  readonly metrics: {
    countExternal(result: ExternalResult): void;
    /** Of questions that were sent. */
    observeExternal(seconds: number): void;
  };
  readonly diagnostics: Diagnostics;
  nowMs(): number;
}

export interface ExternalStatus {
  /** `unusable`: it is configured, and cannot be asked at all. */
  readonly state: CircuitState | 'unusable';
  readonly inFlight: number;
  readonly cachedAnswers: number;
  /** The last time that there was no answer, and why. */
  readonly lastError: { readonly at: string; readonly problem: string } | undefined;
}

/** What belongs to one configuration: another has its own connections, circuit and cache. */
interface Engine {
  readonly config: ExternalDecisionConfig;
  readonly connections: EngineConnections;
  readonly circuit: Circuit;
  readonly cache: AnswerCache;
  inFlight: number;
  /** Another has taken its place: its connections go when its last question is answered. */
  isRetired: boolean;
}

/** Asks an engine by OPA's data API, and answers `unavailable` for everything that is not its plain word. */
export class ExternalEngine implements ExternalDecisions {
  readonly #parts: ExternalEngineParts;
  #engine: Engine | undefined;
  /** Of what is configured, usable or not. */
  #config: ExternalDecisionConfig | undefined;
  #policyRevision: string | undefined;
  /** Goes up when the cache is emptied: an answer to a question of before must not be kept. */
  #epoch = 0;
  #lastError: ExternalStatus['lastError'];
  #isAway = false;
  /** Why the present configuration cannot be used at all. */
  #broken = 'no engine is configured';

  constructor(parts: ExternalEngineParts) {
    this.#parts = parts;
  }

  /** Takes what is in force now. @returns what is wrong with it, where it cannot be used: every answer is a no then. */
  adopt(config: ExternalDecisionConfig | undefined, policyRevision: string | undefined): string | undefined {
    if (policyRevision !== this.#policyRevision) this.forget();
    this.#policyRevision = policyRevision;
    if (this.#engine !== undefined && isSame(config, this.#engine.config)) return undefined;
    this.#config = config;
    const problem = config === undefined ? 'no engine is configured' : this.#begin(config);
    if (problem === undefined) return undefined;
    this.#retire();
    this.#broken = problem;
    return config === undefined ? undefined : problem;
  }

  /** Begins anew with the same configuration: no answer kept, files read again, the circuit closed. */
  renew(): void {
    this.forget();
    if (this.#config !== undefined) this.#begin(this.#config);
  }

  /** Forgets every answer. */
  forget(): void {
    this.#epoch++;
    this.#engine?.cache.clear();
  }

  close(): void {
    this.#retire();
    this.#config = undefined;
    this.#broken = 'closed';
  }

  /** @returns why it cannot; what was in use stays then. */
  #begin(config: ExternalDecisionConfig): string | undefined {
    const ca = readCa(config.caFile);
    if (!ca.ok) {
      this.#parts.diagnostics.error({ problem: ca.error }, 'the external engine cannot be asked');
      return ca.error;
    }
    this.#retire();
    this.#lastError = undefined;
    this.#engine = {
      config,
      connections: new EngineConnections(config, ca.value),
      circuit: new Circuit(config.circuit.failures, config.circuit.openMs),
      cache: new AnswerCache(config.cacheEntries),
      inFlight: 0,
      isRetired: false,
    };
    return undefined;
  }

  /** Whoever waits for its answer still gets it. */
  #retire(): void {
    const engine = this.#engine;
    this.#engine = undefined;
    this.#epoch++;
    if (engine === undefined) return;
    engine.isRetired = true;
    if (engine.inFlight === 0) engine.connections.close();
  }

  /** undefined where no engine is configured. */
  get status(): ExternalStatus | undefined {
    const engine = this.#engine;
    if (this.#config === undefined) return undefined;
    return {
      state: engine?.circuit.state(performance.now()) ?? 'unusable',
      inFlight: engine?.inFlight ?? 0,
      cachedAnswers: engine?.cache.size ?? 0,
      lastError: this.#lastError,
    };
  }

  async ask(question: ExternalQuestion): Promise<ExternalAnswer> {
    const { metrics } = this.#parts;
    const engine = this.#engine;
    const now = this.#now();
    if (engine === undefined) return this.#unavailable(this.#broken);
    const known = engine.cache.find(question.input, now);
    if (known !== undefined) {
      metrics.countExternal(`cached_${known.answer.effect}`);
      return answerOf(known.answer, true, known.validForMs);
    }
    const { maxConcurrent } = engine.config;
    const room = question.isBackground ? Math.ceil(maxConcurrent / 2) : maxConcurrent;
    if (engine.inFlight >= room) return this.#unavailable(`${room} questions are under way`, true);
    const ticket = engine.circuit.enter(now.tickMs);
    if (ticket === undefined) return this.#notAsked();
    engine.inFlight++;
    try {
      return await this.#askNow(engine, question, ticket, now);
    } catch (cause) {
      engine.circuit.givenUp(ticket);
      return this.#unavailable((cause as Error).message);
    } finally {
      engine.inFlight--;
      if (engine.isRetired && engine.inFlight === 0) engine.connections.close();
    }
  }

  async #askNow(
    engine: Engine,
    { input, signal }: ExternalQuestion,
    ticket: Ticket,
    askedAt: Moment,
  ): Promise<ExternalAnswer> {
    const { metrics } = this.#parts;
    const epoch = this.#epoch;
    const body = await engine.connections.ask(externalBody(input, askedAt.nowMs), signal);
    if (signal.aborted) {
      engine.circuit.givenUp(ticket);
      metrics.countExternal('given_up');
      return noAnswer('the client went away', false);
    }
    metrics.observeExternal((performance.now() - askedAt.tickMs) / 1000);
    const answer = body.ok ? readAnswer(body.value) : body;
    if (!answer.ok) return this.#failed(engine, ticket, answer.error);
    this.#succeeded(engine, ticket);
    if (epoch === this.#epoch) engine.cache.keep(input, answer.value, askedAt);
    metrics.countExternal(answer.value.effect);
    const aged = performance.now() - askedAt.tickMs;
    return answerOf(answer.value, false, Math.max(0, answer.value.ttlMs - aged));
  }

  /** What answers, if with nonsense, is not away: one caller's odd question must not keep everybody's from being asked. */
  #failed(engine: Engine, ticket: Ticket, { text, isAway }: CallProblem): ExternalAnswer {
    if (isAway) engine.circuit.failed(ticket, performance.now());
    else engine.circuit.succeeded(ticket);
    if (isAway && !this.#isAway) {
      this.#isAway = true;
      this.#parts.diagnostics.error({ problem: text }, 'the external engine does not answer');
    }
    return this.#unavailable(text);
  }

  #succeeded(engine: Engine, ticket: Ticket): void {
    engine.circuit.succeeded(ticket);
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#parts.diagnostics.info({}, 'the external engine answers again');
  }

  #unavailable(problem: string, isBusy = false): ExternalAnswer {
    const { metrics, nowMs } = this.#parts;
    metrics.countExternal('unavailable');
    this.#lastError = { at: new Date(nowMs()).toISOString(), problem };
    return noAnswer(`external engine: ${problem}`, isBusy);
  }

  /** Why it did not answer before stays the last error: that is what somebody has to mend. */
  #notAsked(): ExternalAnswer {
    this.#parts.metrics.countExternal('unavailable');
    return noAnswer('external engine: it did not answer before, and is not asked for a while', false);
  }

  #now(): Moment {
    return { tickMs: performance.now(), nowMs: this.#parts.nowMs() };
  }
}

const isSame = (a: ExternalDecisionConfig | undefined, b: ExternalDecisionConfig): boolean =>
  JSON.stringify(a) === JSON.stringify(b);

function readAnswer(body: Buffer): Result<EngineAnswer, CallProblem> {
  const answer = parseExternalAnswer(body);
  return answer.ok ? answer : err({ text: answer.error, isAway: false });
}

const answerOf = (
  { effect, id, detail }: EngineAnswer,
  cached: boolean,
  validForMs: number,
): ExternalAnswer => ({
  result: effect,
  id,
  cached,
  detail,
  validForMs,
  isBusy: false,
});

const noAnswer = (detail: string, isBusy: boolean): ExternalAnswer => ({
  result: 'unavailable',
  id: undefined,
  cached: false,
  detail,
  validForMs: 0,
  isBusy,
});

function readCa(file: string | undefined): Result<Buffer | undefined, string> {
  if (file === undefined) return { ok: true, value: undefined };
  try {
    return { ok: true, value: readFileSync(file) };
  } catch (cause) {
    return err(`externalDecision.ca: ${(cause as Error).message}`);
  }
}
