import type { AdminView } from '../admin/ports.js';
import type { LifecycleRecord } from '../audit/record.js';
import type { Config } from '../config/config.js';
import { jwksOf, type PublicSigningKey } from '../identity/signing-key.js';
import { Ids } from '../listener/ids.js';
import type { Diagnostics } from '../listener/ports.js';
import { shareSockets, unshareSockets } from '../listener/unix-socket.js';
import { registerHeads } from '../telemetry/head-metric.js';
import { type MetricData, mergeMetrics, onlyCounts } from '../telemetry/merge-metrics.js';
import { SupervisorMetrics } from '../telemetry/supervisor-metrics.js';
import { type LostWorker, WorkerPool } from '../workers/worker-pool.js';
import { Endpoints } from './endpoints.js';
import { isRegularFile, Records } from './records.js';
import { SealKeyWatch } from './seal-key-watch.js';
import { type AuditView, mergeAuditViews } from './seals.js';
import { StartRefused } from './start-refused.js';
import { mergeConnections, mergeSnapshots } from './view.js';
import { WorkerOrders } from './worker-orders.js';

export interface SupervisorOptions {
  readonly config: Config;
  readonly workers: number;
  readonly diagnostics: Diagnostics;
}

/**
 * Several workers behind the same listeners. Each keeps its own snapshot from the same sources, so that none waits for
 * another; here are what there can be only one of: the admin and health listeners, and a record stream that is no file.
 */
export class Supervisor {
  readonly closed: Promise<void>;
  readonly #pool: WorkerPool;
  readonly #orders: WorkerOrders;
  readonly #metrics = new SupervisorMetrics(() => this.#pool.serving);
  readonly #endpoints = new Endpoints();
  readonly #records: Records;
  /** undefined where nothing is sealed. */
  readonly #sealKey: SealKeyWatch | undefined;
  #draining = false;
  /** What the workers that are gone had counted: a sum never goes back. */
  #lostCounts: Promise<readonly MetricData[]> = Promise.resolve([]);
  #closing: Promise<void> | undefined;
  /** The listeners of our own. */
  #opening: Promise<void> | undefined;
  #started: { resolve(): void; reject(cause: Error): void } | undefined;
  #resolveClosed: (cause?: Error) => void = () => undefined;

  /** Throws StartRefused where records cannot be written. */
  constructor(readonly options: SupervisorOptions) {
    const { config, workers, diagnostics } = options;
    this.closed = new Promise((resolve, reject) => {
      this.#resolveClosed = (cause) => (cause === undefined ? resolve() : reject(cause));
    });
    const relaysRecords = !isRegularFile(config.audit.file);
    this.#pool = new WorkerPool(
      {
        args: ['run', '-c', config.file],
        workers,
        relaysRecords,
        acknowledges: config.audit.durability !== 'buffered',
      },
      {
        started: (addresses) => this.#onStarted(addresses),
        refused: (problems, isAtStart) => this.#onRefused(problems, isAtStart),
        lost: (lost) => this.#onLost(lost),
        replaced: (index, pid) => {
          diagnostics.info({ worker: index, pid }, 'a worker was replaced');
          this.#lifecycle('process.worker_replaced', `worker ${index}, process ${pid}`);
        },
        crashLoop: (why) => this.#end(new CrashLoop(why)),
        line: (line, dealtWith) => this.#records.writer.relay(line, dealtWith),
        hasRoom: () => this.#records.writer.hasRoom,
      },
    );
    this.#orders = new WorkerOrders(this.#pool, workers);
    this.#sealKey = this.#watchSealKey();
    this.#records = this.#openRecords(relaysRecords);
    if (this.#records.seals !== undefined)
      registerHeads(this.#metrics.registry, () => this.#records.seals?.heads ?? []);
  }

  /** Resolves when every worker serves, or when it is told to stop before that; rejects with StartRefused when they cannot. */
  start(): Promise<void> {
    if (this.#draining) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#opening = this.#prepare().then(
        () => {
          if (!this.#draining) this.#pool.start();
        },
        (cause: Error) => {
          this.#pool.close();
          void this.#end(new StartRefused([`cannot start: ${cause.message}`]));
        },
      );
    });
  }

  async reload(): Promise<void> {
    this.#records.writer.look();
    void this.#sealKey?.look();
    await this.#pool.ask('reload');
  }

  drain(): Promise<void> {
    this.#draining = true;
    this.#started?.resolve(); // told to stop while it waited: that is no failed start
    this.#pool.drain();
    return this.#end();
  }

  close(): Promise<void> {
    this.#draining = true;
    this.#started?.resolve();
    this.#pool.close();
    return this.#end();
  }

  /** Throws StartRefused: without a place for records nothing starts. */
  #openRecords(relaysRecords: boolean): Records {
    const { config, diagnostics } = this.options;
    try {
      return new Records({
        config: config.audit,
        diagnostics,
        boot: new Ids().boot,
        worker: 0,
        sealKey: this.#sealKey?.source,
        isShared: !relaysRecords,
        isRelayed: false,
        nowMs: Date.now,
        metrics: this.#metrics,
        changed: (available) => {
          if (relaysRecords) this.#pool.tell({ kind: 'records', available });
        },
      });
    } catch (cause) {
      throw new StartRefused([`cannot start: ${(cause as Error).message}`]);
    }
  }

  /** What is ours, before anybody else writes. */
  async #prepare(): Promise<void> {
    const problem = await this.#sealKey?.start();
    if (problem !== undefined) throw new Error(problem);
    const { boot: own } = this.#records.options;
    await this.#records.ended.declareAll(({ boot }) => boot === own || this.#pool.boots.has(boot));
    await this.#endpoints.open(this.options.config, this.#view());
    await shareSockets(this.#unixSockets);
  }

  get #unixSockets(): readonly string[] {
    return this.options.config.listeners.flatMap(({ address }) =>
      address.kind === 'unix' ? [address.path] : [],
    );
  }

  #watchSealKey(): SealKeyWatch | undefined {
    const { config, diagnostics } = this.options;
    if (config.audit.seal === undefined) return undefined;
    const record = (event: LifecycleRecord['event'], detail: string): void => this.#lifecycle(event, detail);
    return new SealKeyWatch(config.audit.seal.keyFile, { diagnostics, record });
  }

  #onStarted(addresses: ReadonlyMap<string, string>): void {
    const { diagnostics, workers } = this.options;
    const all = Object.fromEntries([...addresses, ...this.#endpoints.addresses]);
    diagnostics.info({ addresses: all, workers }, 'countersign is ready');
    this.#started?.resolve();
  }

  #onRefused(problems: readonly string[], isAtStart: boolean): void {
    if (isAtStart) return void this.#end(new StartRefused(problems));
    this.options.diagnostics.error({ problems }, 'a worker could not be replaced; trying again');
  }

  #onLost({ index, boot, pid, why, metrics }: LostWorker): void {
    this.options.diagnostics.error({ worker: index, pid, why }, 'a worker was lost');
    this.#metrics.countLost();
    this.#lostCounts = this.#lostCounts.then((before) =>
      mergeMetrics([before, onlyCounts(metrics as unknown as MetricData[])]).data(),
    );
    this.#lifecycle('process.worker_lost', `worker ${index}, process ${pid}: ${why}`);
    void this.#records.ended.declareLost((stream) => stream.boot === boot);
  }

  /** When the workers are down: everything of ours, and only then is it said. */
  #end(cause?: Error): Promise<void> {
    this.#closing ??= this.#pool.closed.then(async () => {
      await this.#opening;
      await this.#closeOwn();
      if (cause !== undefined) this.#started?.reject(cause);
      this.#resolveClosed(cause);
    });
    return this.#closing;
  }

  async #closeOwn(): Promise<void> {
    await this.#endpoints.close();
    this.#sealKey?.close();
    unshareSockets(this.#unixSockets);
    this.#lifecycle('process.stopped', 'the supervisor of the workers');
    await this.#records.close();
  }

  #lifecycle(event: LifecycleRecord['event'], detail: string): void {
    const time = new Date().toISOString();
    const unknown = { source: undefined, policyRevision: undefined, trustRevision: undefined };
    this.#records.log.write({ time, event, ...unknown, detail });
  }

  /** Beside what the workers show: the stream of our own. */
  #withOwn(merged: { readonly audit?: AuditView }): object {
    const own = this.#records.seals?.describe();
    return { ...merged, audit: mergeAuditViews([merged.audit, own].filter((view) => view !== undefined)) };
  }

  #view(): AdminView {
    return {
      isReady: async () => {
        if (this.#draining) return { ready: false, why: 'draining' };
        const answers = await this.#pool.ask<{ ready: boolean; why: string }>('isReady');
        const ready = answers.some(({ value }) => value.ready);
        const whys = new Set(answers.filter(({ value }) => value.why !== '').map(({ value }) => value.why));
        if (answers.length < this.options.workers) {
          whys.add(`${answers.length} of ${this.options.workers} workers serve`);
        }
        return { ready, why: [...whys].join('; ') };
      },
      metrics: async () => {
        const answers = await this.#pool.ask<MetricData[]>('metricValues');
        return mergeMetrics([
          ...answers.map(({ value }) => value),
          await this.#lostCounts,
          await this.#metrics.data(),
        ]).text();
      },
      snapshot: async () => this.#withOwn(mergeSnapshots(await this.#pool.ask<object>('snapshot'))),
      keys: async () => {
        const answers = await this.#pool.ask<{ readonly keys: readonly PublicSigningKey[] }>('keys');
        return jwksOf([...(this.#records.seals?.keys ?? []), ...answers.flatMap(({ value }) => value.keys)]);
      },
      connections: async (limit) =>
        mergeConnections(await this.#pool.ask<object>('connections', limit), limit),
      reload: async () => {
        this.#records.writer.look();
        void this.#sealKey?.look();
        return this.#withOwn(mergeSnapshots(await this.#pool.ask<object>('reload')));
      },
      drain: () => void this.drain(),
      revocations: this.#orders.revocations,
      exceptions: this.#orders.exceptions,
    };
  }
}

/** Workers end as fast as they are started. */
export class CrashLoop extends Error {
  constructor(why: string) {
    super(`giving up: ${why}`);
    this.name = 'CrashLoop';
  }
}
