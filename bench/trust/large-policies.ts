import { mintRoot } from '../../src/dev/pki.js';
import { pause } from '../support/bench-site.js';
import { WorkFolder } from '../support/work-folder.js';
import { type LoopReading, watchLoop } from './event-loop.js';
import { configYaml, KeptTrust, POLICY } from './kept-trust.js';

export interface LargePolicyResult extends LoopReading {
  readonly name: string;
}

const ROUNDS = 3;

/** Hot reloads of policies of `count` rules for 1,000 identities, a tenth with wildcards: what the event loop notices. */
export async function measureLargePolicies(count: number): Promise<LargePolicyResult[]> {
  const folder = new WorkFolder();
  const root = await mintRoot('example.org');
  const own = await root.issue('spiffe://example.org/sidecar');
  folder.write('own.pem', own.chainPem);
  folder.write('own-key.pem', own.keyPem);
  folder.write('bundle.pem', root.certPem);
  folder.write('policy.yaml', POLICY);
  folder.write(
    'countersign.yaml',
    configYaml('  - { trustDomain: example.org, bundle: { file: bundle.pem } }'),
  );
  const kept = new KeptTrust(folder);
  await kept.start();
  const results: LargePolicyResult[] = [];
  const size = count.toLocaleString('en');
  try {
    for (const [name, whenOf] of KINDS) {
      for (let round = 1; round <= ROUNDS; round++) {
        const replace = kept.prepare('policy.yaml', policyOf(count, round, whenOf));
        await pause(1500);
        results.push({ name: `${size} rules${name} (${round})`, ...(await watchLoop(replace)) });
        const held = kept.snapshot.policy.rules.length;
        if (held !== count) throw new Error(`${held} rules are in force`);
      }
    }
  } finally {
    kept.keeper.close();
    folder.remove();
  }
  return results;
}

type WhenOf = (i: number) => string | undefined;

const KINDS: readonly (readonly [string, WhenOf])[] = [
  ['', () => undefined],
  [
    ', a quarter with conditions of their own',
    (i) => (i % 4 === 0 ? `request.segments.size() > 1 && request.path != "/x${i}"` : undefined),
  ],
];

function policyOf(count: number, round: number, whenOf: WhenOf): string {
  const lines = Array.from({ length: count }, (_, i) => {
    const namespace = i % 10 === 0 ? '*' : 'prod';
    const when = whenOf(i);
    const condition = when === undefined ? '' : `, when: '${when}'`;
    return `  - { id: rule-${i}, owner: team-${round}, effect: ${i % 7 === 0 ? 'deny' : 'allow'}, principals: ["spiffe://example.org/ns/${namespace}/sa/w${i % 1000}"], destinations: [origin], methods: [GET, HEAD], paths: ["/items/${i}/**"]${condition} }\n`;
  });
  return `version: 1\ndefault: deny\nrules:\n${lines.join('')}`;
}
