import type { Config } from '../config/config.js';
import { ExternalEngine } from '../external/external-engine.js';
import { Assertions } from '../listener/assertions.js';
import type { BorrowingExchange } from '../listener/borrowed.js';
import { CredentialIndex } from '../listener/credential.js';
import { DelegationIndex } from '../listener/delegation-index.js';
import { Ids } from '../listener/ids.js';
import { Listener, type ListenerTls } from '../listener/listener.js';
import { RequestLimits } from '../listener/request-limits.js';
import { Signals } from '../listener/signals.js';
import { TokenIndex } from '../listener/token-index.js';
import type { VerifierParts } from '../listener/token-verifier.js';
import { UnregisteredLog } from '../listener/unregistered.js';
import type { Snapshot } from '../snapshot.js';
import { SnapshotKeeper } from '../sources/snapshot-keeper.js';
import { registerHeads } from '../telemetry/head-metric.js';
import { type LiveGauges, Metrics } from '../telemetry/metrics.js';
import { clientContextOptions } from '../tls/client-context.js';
import { readPeerChain } from '../tls/peer-chain.js';
import { serverContextOptions, serverTlsOptions } from '../tls/server-context.js';
import { Upstreams } from '../upstream/upstreams.js';
import type { MetricValues, Question } from '../workers/protocol.js';
import type { App, AppOptions } from './app-face.js';
import { ChangeDesk } from './change-desk.js';
import { authoritiesInUse } from './dependents.js';
import { Endpoints } from './endpoints.js';
import { ExceptionWatch } from './exception-watch.js';
import { countStates } from './grants.js';
import { OperatorDesk, type RunState } from './operator-desk.js';
import { OwnSvidWatch } from './own-svid.js';
import { Records } from './records.js';
import { SpiffeServerTrust } from './server-trust.js';
import { countShared } from './signal-view.js';
import { StartRefused } from './start-refused.js';
import { countUpstreams } from './upstream-view.js';

const listenerTls: ListenerTls = {
  serverOptions: serverTlsOptions,
  contextOptions: serverContextOptions,
  readPeer: readPeerChain,
};

/** Starts the sidecar: the only place that knows every folder. Throws StartRefused with nothing opened. */
export async function startApp(options: AppOptions): Promise<App> {
  const running = new RunningApp(options);
  await running.start();
  return running;
}

class RunningApp implements App {
  readonly addresses = new Map<string, string>();
  foundNews: (source: string) => void = () => undefined;
  readonly closed: Promise<void>;
  readonly ready: Promise<void>;
  readonly #ids: Ids;
  readonly #metrics = new Metrics();
  readonly #credentials = new CredentialIndex();
  readonly #unregistered = new UnregisteredLog();
  readonly #upstreams: Upstreams;
  readonly #external: ExternalEngine;
  readonly #limits = new RequestLimits();
  readonly #listeners: Listener[] = [];
  readonly #endpoints = new Endpoints();
  readonly #keeper: SnapshotKeeper;
  readonly #tokens: TokenIndex;
  readonly #delegations: DelegationIndex;
  readonly #assertions: Assertions;
  readonly #serverTrust: SpiffeServerTrust;
  readonly #nowMs: () => number;
  #records: Records | undefined;
  #signals: Signals | undefined;
  readonly #operator: OperatorDesk;
  #state: RunState = 'starting';
  readonly #ownSvid: OwnSvidWatch;
  readonly #changes: ChangeDesk;
  readonly #exceptionWatch: ExceptionWatch;
  #ownTimer: NodeJS.Timeout | undefined;
  #resolveClosed: () => void = () => undefined;
  #resolveReady: () => void = () => undefined;
  #rejectReady: (cause: unknown) => void = () => undefined;
  #draining: Promise<void> | undefined;

  constructor(readonly options: AppOptions) {
    this.#nowMs = options.nowMs ?? Date.now;
    this.#ids = new Ids(options.worker?.boot);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.ready = new Promise((resolve, reject) => {
      this.#resolveReady = resolve;
      this.#rejectReady = reject;
    });
    this.ready.catch(() => undefined); // for whoever waits for it
    const { diagnostics } = options;
    this.#external = new ExternalEngine({ metrics: this.#metrics, diagnostics, nowMs: this.#nowMs });
    this.#ownSvid = new OwnSvidWatch({
      diagnostics: options.diagnostics,
      setRevoked: (isRevoked) => this.#metrics.setOwnRevoked(isRevoked),
      record: (event, snapshot, detail) => this.#changes.record(event, undefined, snapshot, detail),
    });
    this.#keeper = new SnapshotKeeper(
      options.configFile,
      options.env,
      this.#nowMs,
      {
        adopted: (source, next, before, causeMs) => this.#adopted(source, next, before, causeMs),
        refused: (source, error, current) => this.#changes.refused(source, error, current),
        stale: (source, problem) =>
          options.diagnostics.error({ source, problem }, 'a source in force is out of date'),
        drifted: (source, problem, current) => {
          options.diagnostics.error(
            { source, problem },
            'what is on disk has not been in force for a minute',
          );
          this.#changes.record('source.drifted', source, current, problem);
        },
        found: (source) => this.foundNews(source),
        noted: (source, note) => options.diagnostics.warn({ source, note }, 'adopted, and worth a look'),
        restartNeeded: (what) =>
          options.diagnostics.warn(
            { restartNeeded: what },
            'the new configuration changes what only a restart can change',
          ),
      },
      (socket) => readPeerChain(socket),
      options.worker?.workers,
    );
    const verifying: VerifierParts = {
      snapshots: this.#keeper,
      authority: this.#keeper,
      clock: { nowMs: this.#nowMs },
      diagnostics,
      metrics: this.#metrics,
    };
    this.#tokens = new TokenIndex(verifying);
    this.#delegations = new DelegationIndex(verifying);
    this.#assertions = new Assertions(this.#ids, () => this.#metrics.countAssertion());
    this.#serverTrust = new SpiffeServerTrust({
      snapshots: this.#keeper,
      clock: { nowMs: this.#nowMs },
      diagnostics,
      metrics: this.#metrics.servers,
      readPeer: readPeerChain,
      clientTls: clientContextOptions,
    });
    this.#upstreams = new Upstreams({ metrics: this.#metrics, diagnostics }, this.#serverTrust);
    this.#changes = this.#changeDesk();
    this.#exceptionWatch = this.#watchExceptions();
    this.#operator = this.#operatorDesk();
  }

  #changeDesk(): ChangeDesk {
    const app = this;
    return new ChangeDesk({
      keeper: this.#keeper,
      metrics: this.#metrics,
      credentials: this.#credentials,
      listeners: this.#listeners,
      judgeServers: (cause) => {
        this.#serverTrust.judgeServers(cause);
        this.#upstreams.judgeServers();
      },
      diagnostics: this.options.diagnostics,
      nowMs: this.#nowMs,
      get records() {
        return app.#records?.log;
      },
    });
  }

  /** Of several workers one tells: their exceptions are the same. */
  #watchExceptions(): ExceptionWatch {
    const tells = (this.options.worker?.index ?? 1) === 1;
    return new ExceptionWatch({
      nowMs: this.#nowMs,
      record: (event, exception, detail) => {
        if (tells) this.#changes.recordException(event, exception, detail, this.#keeper.current);
      },
    });
  }

  /** What operators may see and do; asked at the moment of asking. */
  #operatorDesk(): OperatorDesk {
    const app = this;
    return new OperatorDesk({
      keeper: this.#keeper,
      metrics: this.#metrics,
      credentials: this.#credentials,
      listeners: this.#listeners,
      ownSvid: this.#ownSvid,
      exceptionWatch: this.#exceptionWatch,
      external: this.#external,
      upstreams: this.#upstreams,
      tokens: this.#tokens,
      delegations: this.#delegations,
      diagnostics: this.options.diagnostics,
      nowMs: this.#nowMs,
      get state() {
        return app.#state;
      },
      get seals() {
        return app.#records?.seals;
      },
      get signals() {
        return app.#signals;
      },
      get canRecord() {
        return app.#records?.log.available === true;
      },
      judged: () => this.#changes.judged(),
      reload: () => this.reload(),
      drain: () => void this.drain(),
      withdrawn: (detail) =>
        this.#changes.record('revocation.withdrawn', 'emergency-revocations', this.#keeper.current, detail),
    });
  }

  async start(): Promise<void> {
    const problems = await this.#keeper.start();
    if (problems.length > 0) {
      this.#keeper.close(); // what has to be asked for is being asked already
      throw new StartRefused(problems);
    }
    const config = this.#keeper.config!;
    try {
      this.#records = this.#openRecords(config);
      // Of several workers' file the supervisor has looked, before they began.
      if (this.options.worker === undefined)
        await this.#records.ended.declareAll(({ boot }) => boot === this.#ids.boot);
      this.#signals = new Signals({
        snapshots: this.#keeper,
        credentials: this.#credentials,
        records: this.#records.log,
        metrics: this.#metrics,
        clock: { nowMs: this.#nowMs },
      });
      const [broken] = this.#upstreams.configure(config);
      if (broken !== undefined) throw new Error(broken);
      const problem = this.#external.adopt(config.externalDecision, this.#keeper.current?.policy.revision);
      if (problem !== undefined) throw new Error(problem);
      this.#metrics.live = this.#liveGauges();
      if (this.options.worker === undefined) await this.#openEndpoints(config);
      const { current } = this.#keeper;
      if (current !== undefined) return await this.#serve(current);
    } catch (cause) {
      await this.close();
      throw new StartRefused([`cannot start: ${(cause as Error).message}`]);
    }
    this.#state = 'waiting';
    const { diagnostics } = this.options;
    diagnostics.warn({ addresses: Object.fromEntries(this.addresses) }, 'waiting for an SVID of our own');
  }

  #liveGauges(): LiveGauges {
    const keeper = this.#keeper;
    return {
      connections: () => new Map(this.#listeners.map(({ context, live }) => [context.name, live.size])),
      drifted: () => keeper.status.filter(({ drifted }) => drifted).map(({ name }) => name),
      authoritiesInUse: () =>
        [...authoritiesInUse(this.#credentials).values()].map(({ connections, ...use }) => ({
          ...use,
          count: connections,
        })),
      exceptions: () => countStates(keeper.current?.policy.exceptions ?? [], this.#nowMs()),
      sharedCredentials: () => countShared(this.#signals?.shared ?? []),
      upstreams: () => countUpstreams(this.#upstreams.status),
    };
  }

  /** With the first snapshot: nothing listens before there is something to decide by and to show. */
  async #serve(snapshot: Snapshot): Promise<void> {
    this.#metrics.describe(snapshot);
    for (const listener of snapshot.config.listeners) await this.#openListener(listener.name, snapshot);
    if (this.#isClosed()) return;
    // What was adopted while they opened: none of them may go on showing or believing what came before.
    const { current } = this.#keeper;
    if (current !== undefined && current !== snapshot)
      this.#changes.contract('start', current, snapshot, this.#nowMs());
    this.#state = 'running';
    this.#changes.record('process.started', undefined, snapshot);
    this.#ownSvid.look(snapshot, this.#nowMs());
    this.#exceptionWatch.adopted((this.#keeper.current ?? snapshot).policy.exceptions);
    const look = (): void => {
      this.#ownSvid.look(this.#keeper.current ?? snapshot, this.#nowMs());
      this.#changes.sweepServers();
    };
    this.#ownTimer = setInterval(look, OWN_SVID_MS).unref();
    const { diagnostics, worker } = this.options;
    if (worker !== undefined) diagnostics.info({ worker: worker.index }, 'a worker is ready');
    else diagnostics.info({ addresses: Object.fromEntries(this.addresses) }, 'countersign is ready');
    this.#resolveReady();
  }

  async reload(): Promise<void> {
    this.#records?.writer.look();
    this.#external.renew();
    await this.#keeper.reload();
    const config = this.#keeper.current?.config;
    if (config !== undefined) this.#configureUpstreams(config); // files of authorities are read again
  }

  answer(question: Question, argument: unknown): unknown {
    return this.#operator.answer(question, argument);
  }

  async metricValues(): Promise<readonly MetricValues[]> {
    return (await this.#metrics.registry.getMetricsAsJSON()) as unknown as readonly MetricValues[];
  }

  get remoteSources(): readonly string[] {
    return this.#keeper.status.filter(({ remote }) => remote !== undefined).map(({ name }) => name);
  }

  poll(source: string): void {
    this.#keeper.poll(source);
  }

  writeRecordsNow(): void {
    this.#records?.writer.writeNow();
  }

  recordsAvailable(available: boolean): void {
    this.#records?.supervisorWrites(available);
  }

  recordsTaken(lines: number): void {
    this.#records?.acknowledge(lines);
  }

  drain(): Promise<void> {
    this.#draining ??= this.#drain();
    return this.#draining;
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return this.closed;
    this.#state = 'closed';
    this.#keeper.close();
    this.#exceptionWatch.close();
    clearInterval(this.#ownTimer);
    await Promise.all(this.#listeners.map((listener) => listener.drain(0)));
    await this.#endpoints.close();
    await this.#upstreams.close();
    this.#external.close();
    this.#changes.record('process.stopped', undefined, this.#keeper.current);
    await this.#records?.close();
    this.#resolveClosed();
  }

  async #drain(): Promise<void> {
    if (this.#state !== 'running') return this.close();
    this.#state = 'draining';
    const { delayMs, deadlineMs } = this.#keeper.current!.config.drain;
    this.options.diagnostics.info({ delayMs, deadlineMs }, 'draining');
    this.#changes.record('process.draining', undefined, this.#keeper.current);
    for (const listener of this.#listeners) listener.beginDrain();
    await this.#delay(delayMs);
    if (this.#isClosed()) return this.closed;
    await Promise.all(this.#listeners.map((listener) => listener.drain(deadlineMs)));
    await this.close();
  }

  /** Ends early when everything is closed meanwhile (a second signal). */
  #delay(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      void this.closed.then(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #configureUpstreams(config: Config): void {
    for (const problem of this.#upstreams.configure(config))
      this.options.diagnostics.error({ problem }, 'authorities of an upstream cannot be read');
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #openRecords({ audit }: Config): Records {
    const { diagnostics, worker } = this.options;
    const isRelayed = worker?.relaysRecords === true;
    const records = new Records({
      config: audit,
      diagnostics,
      boot: this.#ids.boot,
      worker: worker?.index ?? 0,
      sealKey: this.#keeper.sealKey,
      isShared: worker !== undefined && !isRelayed,
      isRelayed,
      nowMs: this.#nowMs,
      metrics: this.#metrics,
    });
    if (records.seals !== undefined) registerHeads(this.#metrics.registry, () => records.seals?.heads ?? []);
    return records;
  }

  async #openListener(name: string, snapshot: Snapshot): Promise<void> {
    const context = {
      name,
      snapshots: this.#keeper,
      credentials: this.#credentials,
      tokens: this.#tokens,
      delegations: this.#delegations,
      assertions: this.#assertions,
      upstream: this.#upstreams,
      external: this.#external,
      upstreams: this.#upstreams,
      records: this.#records!.log,
      metrics: this.#metrics,
      diagnostics: this.options.diagnostics,
      clock: { nowMs: this.#nowMs },
      ids: this.#ids,
      unregistered: this.#unregistered,
      signals: this.#signals!,
      limits: this.#limits,
      borrowed: new Set<BorrowingExchange>(),
      draining: false,
    };
    const listener = new Listener(context, listenerTls, snapshot);
    const { address, socketMode } = snapshot.listeners.get(name)!.config;
    await listener.open(address, socketMode);
    this.#listeners.push(listener);
    this.addresses.set(name, listener.boundAddress);
  }

  async #openEndpoints(config: Config): Promise<void> {
    await this.#endpoints.open(config, this.#operator.view);
    for (const [name, address] of this.#endpoints.addresses) this.addresses.set(name, address);
  }

  #adopted(source: string, next: Snapshot, before: Snapshot | undefined, causeMs: number): void {
    this.#external.adopt(next.config.externalDecision, next.policy.revision);
    if (before === undefined) {
      if (this.#state === 'waiting') this.#serve(next).catch((cause: unknown) => this.#rejectReady(cause));
      return;
    }
    if (next.config !== before.config) this.#configureUpstreams(next.config);
    this.#changes.adopted(source, next, before, causeMs);
    this.#ownSvid.look(next, this.#nowMs());
    if (next.policy !== before.policy && this.#state !== 'waiting')
      this.#exceptionWatch.adopted(next.policy.exceptions);
  }
}

/** How often the own SVID is looked at where nothing but time changes. */
const OWN_SVID_MS = 1000;
