import { mintRoot } from '../../src/dev/pki.js';
import { parseSpiffeId } from '../../src/identity/spiffe-id.js';
import { parseTrustBundle } from '../../src/identity/trust-bundle.js';
import {
  createSignatureCheck,
  type PeerChain,
  parsePeerChain,
  verifyX509Svid,
} from '../../src/identity/x509-svid.js';
import { CALLER, must } from '../support/bench-rules.js';
import type { MicroCase } from './harness.js';

const CHAINS = 48;

/** Parsing an ID, and what a peer's certificates cost: the first time, and each time after. */
export async function identityCases(): Promise<MicroCase[]> {
  const root = await mintRoot('example.org');
  const issuing = await root.intermediate({ pathLength: 0 });
  const trustDomain = must(parseSpiffeId(CALLER)).trustDomain;
  const bundle = must(parseTrustBundle(trustDomain, Buffer.from(root.certPem)));
  const bundles = new Map([[trustDomain, bundle]]);
  const presented: (readonly Buffer[])[] = [];
  for (let i = 0; i < CHAINS; i++) presented.push((await issuing.issue(CALLER)).chainDer);
  const nowMs = Date.now();
  const parse = ([leaf, ...rest]: readonly Buffer[]): PeerChain => must(parsePeerChain(leaf!, rest));
  const chains = presented.map(parse);
  const remembering = { clockSkewMs: 0, checkSignature: createSignatureCheck() };
  let next = 0;
  return [
    { name: 'parse a SPIFFE ID', run: () => must(parseSpiffeId(CALLER)) },
    {
      name: 'parse a presented chain (leaf, intermediate)',
      run: () => parse(presented[next++ % CHAINS]!),
    },
    {
      name: 'verify a chain, signatures never seen',
      run: () => {
        const fresh = { clockSkewMs: 0, checkSignature: createSignatureCheck() };
        return must(verifyX509Svid(chains[next++ % CHAINS]!, bundles, nowMs, fresh));
      },
    },
    {
      name: 'verify a chain, signatures seen',
      run: () => must(verifyX509Svid(chains[next++ % CHAINS]!, bundles, nowMs, remembering)),
    },
  ];
}
