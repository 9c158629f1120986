import type { UpstreamConfig, UpstreamTarget } from '../config/config.js';
import type { Diagnostics, ForwardCall, ForwardHandler, ForwardRequest } from '../listener/ports.js';
import { Failure } from '../reasons.js';
import { Balancer } from './balancer.js';
import type { Connector, Opening, OpenOptions } from './connector.js';
import { monotonicMs, Target } from './target.js';
import type { TargetState } from './target-health.js';
import { type Lease, TunnelOpening } from './tunnel-opening.js';
import { type CallRouter, type Progress, UpstreamCall } from './upstream-call.js';

export interface UpstreamMetrics {
  countEjection(upstream: string): void;
  countRetry(upstream: string): void;
}

export interface UpstreamParts {
  readonly metrics: UpstreamMetrics;
  readonly diagnostics: Diagnostics;
}

export interface TargetStatus {
  readonly target: string;
  readonly state: TargetState;
  readonly open: number;
  readonly connections: number;
  readonly lastError: { readonly at: string; readonly problem: string } | undefined;
}

/** One configured upstream: its targets, whose turn it is, and what may be sent once more. */
export class Upstream implements CallRouter {
  #config: UpstreamConfig;
  #balancer: Balancer<Target> = new Balancer([], 'round_robin');
  /** By what a target hangs on: one that stays as it is keeps its connections and what is known of it. */
  #targets = new Map<string, Target>();
  #isClosed = false;
  #areAllOut = false;

  /** @param connect how a target is reached. */
  constructor(
    config: UpstreamConfig,
    readonly parts: UpstreamParts,
    connect: (target: UpstreamTarget) => Connector,
  ) {
    this.#config = config;
    this.configure(config, connect);
  }

  get config(): UpstreamConfig {
    return this.#config;
  }

  /** Takes over what is configured now; targets that are gone finish what they have. */
  configure(config: UpstreamConfig, connect: (target: UpstreamTarget) => Connector): void {
    const { targets, balance, retries: _retries, ...common } = config;
    const shared = JSON.stringify(common);
    const before = this.#targets;
    this.#config = config;
    this.#targets = new Map();
    for (const target of targets) {
      const key = `${target.name} ${shared}`;
      const kept = before.get(key);
      before.delete(key);
      this.#targets.set(key, kept ?? this.#open(target, connect(target)));
    }
    for (const gone of before.values()) gone.close();
    this.#balancer = new Balancer([...this.#targets.values()], balance);
  }

  forward(caller: string, request: ForwardRequest, handler: ForwardHandler): ForwardCall {
    const call = new UpstreamCall(caller, request, handler, this);
    // Octets that came with the head may show that the body is malformed: they are read first (a tick is too early, the
    // parser lets those run after each piece), and then the upstream sees nothing of it.
    if (request.body === undefined) this.#start(call);
    else setImmediate(() => this.#start(call));
    return call;
  }

  /**
   * Opens a transport for bytes to the target whose turn it is, or, where that one is out of reach, to another.
   * @param done called once, later. Who gets a lease ends it.
   */
  open(options: Partial<OpenOptions>, done: (result: Lease | Failure) => void): Opening {
    const { timeouts, retries } = this.#config;
    const whole = { ...options, connectMs: options.connectMs ?? timeouts.connectMs };
    return new TunnelOpening((without) => this.#choose(without), whole, retries, done);
  }

  reroute(call: UpstreamCall, _failure: Failure, progress: Progress): boolean {
    const from = call.place;
    if (this.#isClosed || from === undefined || call.retries >= this.#config.retries) return false;
    if ((progress === 'stale' || progress === 'lost') && !call.isRepeatable) return false;
    call.tried = [...(call.tried ?? []), from];
    let target = this.#choose(call.tried);
    // The server is there; only the connection was not: another one may do.
    const isSame = target === undefined && (progress === 'stale' || progress === 'unprocessed');
    if (isSame) target = this.#balancer.candidates.find((one) => one === from);
    if (target?.pool === undefined) return false;
    call.retries++;
    this.parts.metrics.countRetry(this.#config.name);
    from.left();
    target.take(call, target.pool, isSame);
    return true;
  }

  get status(): TargetStatus[] {
    const nowMs = monotonicMs();
    return [...this.#targets.values()].map(({ name, health, open, pool }) => ({
      target: name,
      state: health.state(nowMs),
      open,
      connections: pool?.connections ?? open,
      lastError: health.lastError && {
        at: new Date(performance.timeOrigin + health.lastError.atMs).toISOString(),
        problem: health.lastError.problem,
      },
    }));
  }

  /** Ends the kept connections that must carry no more. */
  judge(): void {
    for (const { pool } of this.#targets.values()) pool?.judge();
  }

  /** No longer configured: what it has is finished. */
  close(): void {
    this.#isClosed = true;
    for (const target of this.#targets.values()) target.close();
  }

  destroy(): void {
    this.#isClosed = true;
    for (const target of this.#targets.values()) target.destroy();
  }

  #open(target: UpstreamTarget, connector: Connector): Target {
    return new Target({
      config: this.#config,
      target,
      connector,
      onFailed: (failed, failure) => this.#failed(failed, failure),
      onTurned: (turned, problem) => this.#turned(turned, problem),
    });
  }

  #start(call: UpstreamCall): void {
    if (call.isFinished) return;
    const target = this.#choose();
    if (target?.pool !== undefined) return target.take(call, target.pool);
    call.fail(new Failure('internal_error', `no requests are spoken with ${this.#config.name}`));
  }

  #choose(without?: readonly unknown[]): Target | undefined {
    const target = this.#balancer.choose(without);
    if (without === undefined && this.#balancer.candidates.length > 1)
      this.#noteAllOut(target?.isOut() === true);
    return target;
  }

  #noteAllOut(areAllOut: boolean): void {
    if (areAllOut === this.#areAllOut) return;
    this.#areAllOut = areAllOut;
    const { diagnostics } = this.parts;
    const detail = { upstream: this.#config.name };
    if (areAllOut) diagnostics.error(detail, 'every target is out: all of them are used');
    else diagnostics.info(detail, 'a target is available again');
  }

  #failed(target: Target, failure: Failure): void {
    const problem = `${failure.code}: ${failure.message}`;
    if (!target.health.failed(problem, monotonicMs(), () => this.#mayEject(target))) return;
    const { metrics, diagnostics } = this.parts;
    const { name } = this.#config;
    metrics.countEjection(name);
    diagnostics.warn({ upstream: name, target: target.name, problem }, 'a target is taken out for a while');
  }

  #turned(target: Target, problem: string | undefined): void {
    const { diagnostics } = this.parts;
    const detail = { upstream: this.#config.name, target: target.name, problem };
    if (problem === undefined) diagnostics.info(detail, 'a target is healthy again');
    else diagnostics.warn(detail, 'a target is unhealthy');
  }

  /** Never the last, and never more than the configured share. */
  #mayEject(target: Target): boolean {
    const { ejection } = this.#config;
    if (ejection === false) return false;
    const nowMs = monotonicMs();
    const all = this.#balancer.candidates;
    const ejected = all.filter(({ health }) => health.state(nowMs) === 'ejected').length;
    const hasOther = all.some((one) => one !== target && health(one, nowMs) === 'available');
    return hasOther && ejected + 1 <= Math.floor(ejection.maxShare * all.length);
  }
}

const health = (target: Target, nowMs: number): TargetState => target.health.state(nowMs);
