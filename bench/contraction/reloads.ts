import { mintRoot } from '../../src/dev/pki.js';
import { LoadClient } from '../load/load-protocol.js';
import { type BenchSite, pause } from '../support/bench-site.js';
import { readCounter } from '../support/countersign-program.js';
import { getRequest } from '../support/raw-connection.js';
import { round } from '../support/statistics.js';

const CONNECTIONS = 50;
const EVERY_MS = 1000;

export interface ReloadsResult {
  readonly reloads: number;
  readonly adopted: number;
  readonly completed: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p99Ms: number;
}

/** Swaps between two bundles that are the same to every caller, once a second, under busy connections: nobody may notice. */
export async function reloadUnderLoad(site: BenchSite, reloads: number): Promise<ReloadsResult> {
  const { folder, pki, countersign } = site;
  const spare = await mintRoot('example.org', { subject: 'O=Bench,CN=next root' });
  const bundles = [pki.root.certPem + spare.certPem, pki.root.certPem];
  const client = new LoadClient();
  try {
    const identities = { file: folder.write('seen.json', JSON.stringify([pki.caller])), from: 0, count: 1 };
    const request = getRequest('/invoices/7').toString('latin1');
    const { port, adminPort } = countersign;
    await client.open({
      kind: 'keep-alive',
      port,
      connections: CONNECTIONS,
      request,
      identities,
      once: false,
    });
    const adoptedBefore = await adoptions(adminPort);
    const load = client.run((reloads * EVERY_MS) / 1000 + 0.5);
    for (let i = 0; i < reloads; i++) {
      folder.replace('bundle.pem', bundles[i % 2] ?? '');
      await pause(EVERY_MS);
    }
    const { completed, failed, seconds, p99Ms } = await load;
    const adopted = (await adoptions(adminPort)) - adoptedBefore;
    await client.close();
    return {
      reloads,
      adopted,
      completed,
      failed,
      perSecond: round(completed / seconds, 0),
      p99Ms: round(p99Ms),
    };
  } finally {
    client.stop();
  }
}

const adoptions = (adminPort: number): Promise<number> =>
  readCounter(adminPort, 'countersign_reloads_total', 'source="bundle:', 'result="adopted"');
