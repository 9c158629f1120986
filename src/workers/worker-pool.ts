import cluster, { type Worker } from 'node:cluster';
import { randomBytes } from 'node:crypto';
import { type FromWorker, type MetricValues, type Question, setupInEnv, type ToWorker } from './protocol.js';
import { type RecordTaker, takeRecords } from './worker-records.js';

/** A worker that says nothing for so long is stopped: its open connections would outlive every revocation. */
const SILENT_MS = 10_000;
/** Reading 10,000 rules takes seconds; more than this is no start. */
const START_MS = 60_000;
const WATCH_MS = 1000;
const ANSWER_MS = 5000;
const BOOT_BYTES = 8;
/** So many workers lost within a minute are no accident. */
const LOOP_CRASHES = 5;
const LOOP_MS = 60_000;
const REPLACE_MS = 100;
const REPLACE_MAX_MS = 30_000;

export interface PoolOptions {
  /** Arguments of this program that make a worker of it. */
  readonly args: readonly string[];
  readonly workers: number;
  readonly relaysRecords: boolean;
  /** Workers wait until they hear that their records are kept. */
  readonly acknowledges: boolean;
}

export interface PoolEvents extends RecordTaker {
  /** Every worker serves. */
  started(addresses: ReadonlyMap<string, string>): void;
  /** The configuration is not good enough: nothing serves. Later on: a replacement could not start, and will be tried again. */
  refused(problems: readonly string[], isAtStart: boolean): void;
  lost(lost: LostWorker): void;
  replaced(index: number, pid: number): void;
  /** Nothing serves any more. */
  crashLoop(why: string): void;
}

interface Member {
  readonly index: number;
  /** What its records carry. */
  readonly boot: string;
  readonly worker: Worker;
  readonly pid: number;
  aliveMs: number;
  /** It serves. */
  isReady: boolean;
  /** It has said something: it can be asked. */
  isHeard: boolean;
  isRefused: boolean;
  /** Why we stopped it. */
  stopped: string | undefined;
  metrics: readonly MetricValues[] | undefined;
  readonly answers: Map<number, (value: unknown) => void>;
}

export interface LostWorker {
  readonly index: number;
  readonly boot: string;
  readonly pid: number;
  readonly why: string;
  /** What it had counted, as of its last word. */
  readonly metrics: readonly MetricValues[];
}

export interface Answer<T> {
  readonly index: number;
  readonly pid: number;
  readonly value: T;
}

/** Forks the workers, replaces the ones that are lost, asks all of them at once. Connections are dealt out in turn by node:cluster. */
export class WorkerPool {
  readonly closed: Promise<void>;
  readonly #members = new Map<number, Member>();
  readonly #crashes: number[] = [];
  #started = false;
  /** As workers were told: one that begins later is told as well. */
  #canRecord = true;
  #stopping = false;
  #stopWord: 'drain' | 'close' | undefined;
  #asked = 0;
  #failedReplacements = 0;
  #watch: NodeJS.Timeout | undefined;
  #lastWatchMs = performance.now();
  #resolveClosed: () => void = () => undefined;

  constructor(
    readonly options: PoolOptions,
    readonly events: PoolEvents,
  ) {
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
  }

  start(): void {
    const [exec] = process.argv.slice(1);
    cluster.setupPrimary({
      ...(exec === undefined ? {} : { exec }),
      args: [...this.options.args],
      // Its diagnostics are ours; its records come to us where they cannot go straight to a file.
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    this.#watch = setInterval(() => this.#lookForSilent(), WATCH_MS);
    for (let index = 1; index <= this.options.workers; index++) this.#fork(index);
  }

  /** Asks every worker that serves. One that does not answer in time is left out: nobody waits for a slow worker. */
  async ask<T>(question: Question, argument?: unknown): Promise<Answer<T>[]> {
    const ready = [...this.#members.values()].filter(({ isHeard }) => isHeard);
    const answers = await Promise.all(
      ready.map(async (member) => {
        const value = await this.#askOne(member, question, argument);
        return value === undefined ? [] : [{ index: member.index, pid: member.pid, value: value as T }];
      }),
    );
    return answers.flat();
  }

  /** Asks the first worker alone: for what is to be done once. undefined where it does not answer in time. */
  async askFirst<T>(question: Question, argument?: unknown): Promise<Answer<T> | undefined> {
    for (const member of this.#members.values()) {
      if (!member.isHeard) continue;
      const value = await this.#askOne(member, question, argument);
      return value === undefined ? undefined : { index: member.index, pid: member.pid, value: value as T };
    }
    return undefined;
  }

  tell(message: ToWorker): void {
    if (message.kind === 'records') this.#canRecord = message.available;
    for (const { worker } of this.#members.values()) if (worker.isConnected()) worker.send(message);
  }

  #tellOthers(member: Member, message: ToWorker): void {
    for (const other of this.#members.values())
      if (other !== member && other.worker.isConnected()) other.worker.send(message);
  }

  drain(): void {
    this.#stopping = true;
    this.#stopWord = 'drain';
    this.tell({ kind: 'drain' });
    this.#endIfEmpty();
  }

  close(): void {
    this.#stopping = true;
    this.#stopWord = 'close';
    this.tell({ kind: 'close' });
    this.#endIfEmpty();
  }

  /** Of those that are alive, as their records carry it. */
  get boots(): ReadonlySet<string> {
    return new Set([...this.#members.values()].map(({ boot }) => boot));
  }

  get serving(): number {
    return [...this.#members.values()].filter((member) => member.isReady).length;
  }

  #fork(index: number): void {
    const { workers, relaysRecords } = this.options;
    const boot = randomBytes(BOOT_BYTES).toString('hex');
    const worker = cluster.fork(setupInEnv({ index, workers, relaysRecords, boot }));
    const member: Member = {
      index,
      boot,
      worker,
      pid: worker.process.pid ?? 0,
      aliveMs: performance.now(),
      isReady: false,
      isHeard: false,
      isRefused: false,
      stopped: undefined,
      metrics: undefined,
      answers: new Map(),
    };
    this.#members.set(index, member);
    worker.on('message', (message: FromWorker) => this.#onMessage(member, message));
    worker.on('error', () => undefined); // a message that could not be sent: its exit tells
    // 'close' of the process comes when its output was read to the end too: no record of it may come later.
    worker.process.once('close', (code: number | null, signal: string | null) =>
      this.#onExit(member, signal ?? `code ${code}`),
    );
    if (!this.#canRecord) worker.send({ kind: 'records', available: false } satisfies ToWorker);
    takeRecords(worker, this.events, this.options.acknowledges);
  }

  #onMessage(member: Member, message: FromWorker): void {
    member.aliveMs = performance.now();
    if (!member.isHeard) this.#tellAgain(member);
    member.isHeard = true;
    switch (message.kind) {
      case 'ready':
        return this.#onReady(member, message.addresses);
      case 'refused':
        member.isRefused = true;
        return this.#onRefused(message.problems);
      case 'alive':
        member.metrics = message.metrics ?? member.metrics;
        return;
      case 'found':
        return this.#tellOthers(member, { kind: 'poll', source: message.source });
      case 'answer': {
        const answer = member.answers.get(message.ask);
        member.answers.delete(message.ask);
        return answer?.(message.value);
      }
    }
  }

  /** What was told before it could listen was lost: node:cluster hands messages on whether or not anybody is there. */
  #tellAgain({ worker }: Member): void {
    if (!worker.isConnected()) return;
    if (!this.#canRecord) worker.send({ kind: 'records', available: false } satisfies ToWorker);
    if (this.#stopWord !== undefined) worker.send({ kind: this.#stopWord } satisfies ToWorker);
  }

  #onReady(member: Member, addresses: readonly (readonly [string, string])[]): void {
    member.isReady = true;
    if (this.#stopping) return;
    if (this.#started) {
      this.#failedReplacements = 0;
      return this.events.replaced(member.index, member.pid);
    }
    if (this.serving < this.options.workers) return;
    this.#started = true;
    this.events.started(new Map(addresses));
  }

  #onRefused(problems: readonly string[]): void {
    if (this.#stopping) return;
    if (!this.#started) this.close();
    this.events.refused(problems, !this.#started);
  }

  #onExit(member: Member, how: string): void {
    member.isReady = false;
    member.isHeard = false;
    for (const answer of member.answers.values()) answer(undefined);
    if (this.#members.get(member.index) === member) this.#members.delete(member.index);
    if (this.#stopping) return this.#endIfEmpty();
    if (member.isRefused) return this.#replaceLater(member.index, ++this.#failedReplacements);
    const why = member.stopped ?? `ended with ${how}`;
    const { index, boot, pid, metrics = [] } = member;
    this.events.lost({ index, boot, pid, why, metrics });
    const nowMs = performance.now();
    this.#crashes.push(nowMs);
    while (this.#crashes.length > 0 && nowMs - this.#crashes[0]! > LOOP_MS) this.#crashes.shift();
    if (this.#crashes.length >= LOOP_CRASHES || !this.#started) {
      this.close();
      return this.events.crashLoop(
        this.#started
          ? `${this.#crashes.length} workers were lost within ${LOOP_MS / 1000} s; the last ${why}`
          : `a worker ${why} before it served`,
      );
    }
    this.#replaceLater(member.index, this.#crashes.length);
  }

  #replaceLater(index: number, attempt: number): void {
    const delayMs = attempt <= 1 ? 0 : Math.min(REPLACE_MAX_MS, REPLACE_MS * 2 ** attempt);
    setTimeout(() => {
      if (!this.#stopping) this.#fork(index);
    }, delayMs);
  }

  #askOne(member: Member, question: Question, argument: unknown): Promise<unknown> {
    const ask = ++this.#asked;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        member.answers.delete(ask);
        resolve(undefined);
      }, ANSWER_MS);
      member.answers.set(ask, (value) => {
        clearTimeout(timer);
        resolve(value);
      });
      if (member.worker.isConnected())
        member.worker.send({ kind: 'ask', ask, question, argument } satisfies ToWorker);
    });
  }

  #lookForSilent(): void {
    const nowMs = performance.now();
    const wasAway = nowMs - this.#lastWatchMs > WATCH_MS * 3; // we slept ourselves: nobody could have been heard
    this.#lastWatchMs = nowMs;
    for (const member of this.#members.values()) {
      if (wasAway) member.aliveMs = nowMs;
      else if (nowMs - member.aliveMs > (member.isHeard ? SILENT_MS : START_MS)) {
        member.stopped = `said nothing for ${Math.round((nowMs - member.aliveMs) / 1000)} s and was stopped`;
        member.worker.process.kill('SIGKILL');
      }
    }
  }

  #endIfEmpty(): void {
    if (this.#members.size > 0) return;
    clearInterval(this.#watch);
    this.#resolveClosed();
  }
}
