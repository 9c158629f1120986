import { mintRoot } from '../../src/dev/pki.js';
import { longCrl } from '../../test/support/long-crl.js';
import { pause } from '../support/bench-site.js';
import { WorkFolder } from '../support/work-folder.js';
import { type LoopReading, watchLoop } from './event-loop.js';
import { configYaml, KeptTrust, POLICY } from './kept-trust.js';

export interface LongListResult extends LoopReading {
  readonly name: string;
}

/** Hot reloads of revocation lists of these lengths, then of the bundle beside the longest: what the event loop notices. */
export async function measureLongLists(lengths: readonly number[]): Promise<LongListResult[]> {
  const folder = new WorkFolder();
  const root = await mintRoot('example.org');
  const own = await root.issue('spiffe://example.org/sidecar');
  folder.write('own.pem', own.chainPem);
  folder.write('own-key.pem', own.keyPem);
  folder.write('policy.yaml', POLICY);
  folder.write('bundle.pem', root.certPem);
  folder.write('ca.crl', longCrl(root, { entries: 10 }).pem);
  const trust =
    '  - { trustDomain: example.org, bundle: { file: bundle.pem }, revocation: { crls: [ca.crl] } }';
  folder.write('countersign.yaml', configYaml(trust));
  const kept = new KeptTrust(folder);
  await kept.start();
  const results: LongListResult[] = [];
  const measure = async (name: string, file: string, content: string | Uint8Array): Promise<void> => {
    const replace = kept.prepare(file, content);
    await pause(1500); // what the making of the list left behind, and a turn of the poll
    results.push({ name, ...(await watchLoop(replace)) });
  };
  try {
    let number = 1;
    for (const entries of lengths) {
      const size = entries.toLocaleString('en');
      const list = (): { der: Buffer; pem: string } =>
        longCrl(root, { entries, number: ++number, reasons: true });
      await measure(`${size} entries, DER`, 'ca.crl', list().der);
      await measure(`${size} entries, PEM`, 'ca.crl', list().pem);
      const held = kept.snapshot.revocationPolicies.get('example.org')?.crls[0]?.size;
      if (held !== entries) throw new Error(`${held} entries are in force`);
    }
    const spare = await mintRoot('example.org', { subject: 'CN=next root' });
    await measure('the bundle beside it', 'bundle.pem', root.certPem + spare.certPem);
  } finally {
    kept.keeper.close();
    folder.remove();
  }
  return results;
}
