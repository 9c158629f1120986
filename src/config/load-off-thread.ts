import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { type ConfigData, compileData, type LoadedConfig } from './config-data.js';
import type { Environment } from './environment.js';
import { readConfigData } from './load.js';

interface Order {
  readonly kind: 'read-config';
  readonly file: string;
  readonly env: Environment;
  readonly nowMs: number;
}

/**
 * `loadConfig` with the reading done in a thread of its own: a large policy takes over a second to read, and requests
 * on open connections must not wait for it. Rejects only when the thread itself breaks.
 */
export function loadConfigOffThread(
  file: string,
  env: Environment,
  nowMs = Date.now(),
): Promise<LoadedConfig> {
  const order: Order = { kind: 'read-config', file, env: { ...env }, nowMs };
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(import.meta.url), { workerData: order, env: {}, execArgv: [] });
    worker.once('message', (data: ConfigData) => resolve(compileData(data)));
    worker.once('error', reject);
    worker.once('exit', (code) => reject(new Error(`the reading thread ended early, code ${code}`)));
  });
}

const isOrder = (value: unknown): value is Order =>
  typeof value === 'object' && value !== null && (value as Partial<Order>).kind === 'read-config';

if (!isMainThread && parentPort !== null && isOrder(workerData)) {
  parentPort.postMessage(await readConfigData(workerData.file, workerData.env, workerData.nowMs));
}
