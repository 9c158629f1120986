import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { WorkloadApiServer } from '../../src/dev/workload-api-server.js';
import type { Pacing } from '../../src/sources/pacing.js';
import {
  WorkloadApi,
  type WorkloadApiEvents,
  type WorkloadApiOptions,
  type WorkloadState,
} from '../../src/sources/workload-api.js';

export { pkcs8Der, svidMessage, svidResponse } from '../../src/dev/workload-api-messages.js';

/** What a client said, and a way to wait for it. */
export class Heard implements WorkloadApiEvents {
  readonly updates: WorkloadState[] = [];
  readonly problems: { readonly message: string; readonly revoked: boolean }[] = [];
  recoveries = 0;
  readonly #events = new EventEmitter();

  onUpdate(state: WorkloadState): void {
    this.updates.push(state);
    this.#events.emit('heard');
  }

  onProblem(message: string, { revoked }: { readonly revoked: boolean }): void {
    this.problems.push({ message, revoked });
    this.#events.emit('heard');
  }

  onRecovered(): void {
    this.recoveries++;
    this.#events.emit('heard');
  }

  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) await once(this.#events, 'heard');
  }

  get last(): WorkloadState {
    const state = this.updates.at(-1);
    if (state === undefined) throw new Error('nothing was heard yet');
    return state;
  }
}

interface Teardown {
  teardown(run: () => void): void;
}

/** A path for a Unix socket that is gone with the test. */
export function socketPath(t: Teardown): string {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-wapi-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'agent.sock');
}

export async function startServer(t: Teardown, path: string): Promise<WorkloadApiServer> {
  const server = await WorkloadApiServer.listen(`unix:${path}`);
  t.teardown(() => server.close());
  return server;
}

/** A client of the socket at this path, started. With `pacing` its clock is that one's. */
export function startClient(
  t: Teardown,
  path: string,
  options: Partial<WorkloadApiOptions> = {},
  pacing?: Pacing & { readonly nowMs: number },
): { readonly api: WorkloadApi; readonly heard: Heard } {
  const heard = new Heard();
  const api = new WorkloadApi(
    { socket: { kind: 'unix', path }, wants: { svids: true, jwtBundles: false }, ...options },
    heard,
    pacing === undefined ? Date.now : () => pacing.nowMs,
    pacing,
  );
  t.teardown(() => api.close());
  api.start();
  return { api, heard };
}
