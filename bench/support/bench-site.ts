import { Origin } from '../load/load-protocol.js';
import { type BenchPki, mintBenchPki } from './bench-pki.js';
import { type CountersignOptions, type CountersignProgram, startCountersign } from './countersign-program.js';
import { freePort, untilListening } from './free-port.js';
import { WorkFolder } from './work-folder.js';

/** One Countersign with an origin behind it and certificates for all, in a folder of its own. */
export interface BenchSite {
  readonly folder: WorkFolder;
  readonly pki: BenchPki;
  readonly origin: Origin;
  readonly countersign: CountersignProgram;
}

/** Runs `use` and takes everything down again, whatever comes of it. */
export async function withSite<T>(
  nodePath: string,
  use: (site: BenchSite) => Promise<T>,
  options: CountersignOptions | ((originPort: number) => CountersignOptions) = {},
): Promise<T> {
  const folder = new WorkFolder();
  const origin = new Origin(await freePort());
  let countersign: CountersignProgram | undefined;
  try {
    await untilListening(origin.port, () => false);
    const pki = await mintBenchPki(folder);
    const words = typeof options === 'function' ? options(origin.port) : options;
    countersign = await startCountersign(folder, pki, origin.port, nodePath, words);
    return await use({ folder, pki, origin, countersign });
  } finally {
    await countersign?.program.stop();
    origin.stop();
    folder.remove();
  }
}

export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
