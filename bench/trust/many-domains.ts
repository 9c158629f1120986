import { mintRoot } from '../../src/dev/pki.js';
import { pause } from '../support/bench-site.js';
import { WorkFolder } from '../support/work-folder.js';
import { type LoopReading, watchLoop } from './event-loop.js';
import { configYaml, KeptTrust, POLICY } from './kept-trust.js';

export interface ManyDomainsResult extends LoopReading {
  readonly name: string;
}

const IDLE_MS = 5000;

/** A bundle file for each of many trust domains: loading them, doing nothing, replacing one, and reading all again on demand. */
export async function measureManyDomains(count: number): Promise<ManyDomainsResult[]> {
  const folder = new WorkFolder();
  const domains = Array.from({ length: count }, (_, i) => `d${i}.example`);
  const root = await mintRoot('example.org');
  const own = await root.issue('spiffe://example.org/sidecar');
  folder.write('own.pem', own.chainPem);
  folder.write('own-key.pem', own.keyPem);
  folder.write('policy.yaml', POLICY);
  folder.write('bundle.pem', root.certPem);
  for (const domain of domains) folder.write(`${domain}.pem`, (await mintRoot(domain)).certPem);
  const entry = (domain: string, file: string): string =>
    `  - { trustDomain: ${domain}, bundle: { file: ${file} } }`;
  const trust = [
    entry('example.org', 'bundle.pem'),
    ...domains.map((domain) => entry(domain, `${domain}.pem`)),
  ];
  folder.write('countersign.yaml', configYaml(trust.join('\n')));
  const kept = new KeptTrust(folder);
  const results: ManyDomainsResult[] = [];
  const measure = async (name: string, work: () => Promise<void>): Promise<void> => {
    results.push({ name, ...(await watchLoop(work)) });
  };
  try {
    await measure(`${count} domains: start`, () => kept.start());
    if (kept.snapshot.bundles.size !== count + 1) throw new Error(`${kept.snapshot.bundles.size} bundles`);
    await pause(1500);
    await measure(`${count} domains: ${IDLE_MS / 1000} s of nothing`, () => pause(IDLE_MS));
    const next = await mintRoot(domains[0]!);
    await measure(`${count} domains: one replaced`, kept.prepare(`${domains[0]}.pem`, next.certPem));
    await pause(1500);
    await measure(`${count} domains: all read on demand`, () => kept.keeper.reload());
  } finally {
    kept.keeper.close();
    folder.remove();
  }
  return results;
}
