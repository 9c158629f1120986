import { renameSync } from 'node:fs';
import type { Snapshot } from '../../src/snapshot.js';
import { SnapshotKeeper } from '../../src/sources/snapshot-keeper.js';
import type { WorkFolder } from '../support/work-folder.js';

/** The keeper of a proxy, without the proxy: what it adopts and refuses can be awaited. */
export class KeptTrust {
  readonly keeper: SnapshotKeeper;
  readonly #waiting: ((refusal: string | undefined) => void)[] = [];

  constructor(readonly folder: WorkFolder) {
    const answer = (refusal: string | undefined): void => this.#waiting.shift()?.(refusal);
    const events = {
      adopted: () => answer(undefined),
      refused: (source: string, error: string) => answer(`${source}: ${error}`),
      stale: (source: string, problem: string) => answer(`${source}: ${problem}`),
      drifted: () => undefined,
      found: () => undefined,
      noted: () => undefined,
      restartNeeded: () => undefined,
    };
    const readPeer = (): undefined => undefined; // nothing here comes over TLS
    this.keeper = new SnapshotKeeper(folder.file('countersign.yaml'), {}, Date.now, events, readPeer);
  }

  get snapshot(): Snapshot {
    if (this.keeper.current === undefined) throw new Error('nothing is in force');
    return this.keeper.current;
  }

  async start(): Promise<void> {
    const problems = await this.keeper.start();
    if (problems.length > 0) throw new Error(problems.join('\n'));
  }

  /** Writes a file beside the one in place. @returns what puts it there by rename and waits until it is in force. */
  prepare(name: string, content: string | Uint8Array): () => Promise<void> {
    const next = this.folder.write(`${name}.next`, content);
    return async () => {
      const answered = new Promise<string | undefined>((resolve) => this.#waiting.push(resolve));
      renameSync(next, this.folder.file(name));
      const refusal = await answered;
      if (refusal !== undefined) throw new Error(refusal);
    };
  }
}

/** A configuration with this `trust` section; own.pem and own-key.pem are in the folder. */
export const configYaml = (trust: string): string => `version: 1
identity: { files: { certificate: own.pem, key: own-key.pem } }
trust:
${trust}
listeners:
  - name: inbound
    address: 127.0.0.1:0
    routes: [{ name: everything, path: /**, upstream: origin }]
upstreams: { origin: { url: "http://127.0.0.1:9" } }
policy: policy.yaml
audit: { file: "-" }
`;

export const POLICY = 'version: 1\ndefault: deny\nrules: []\n';
