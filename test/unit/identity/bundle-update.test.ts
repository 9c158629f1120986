import t from 'tap';
import { judgeBundleUpdate, refreshIntervalMs } from '../../../src/identity/bundle-update.js';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.js';
import {
  createTrustBundle,
  parseBundleDocument,
  type TrustBundle,
} from '../../../src/identity/trust-bundle.js';
import { bundleDocument, bundleOf } from '../../support/bundle-server.js';
import { type Authority, mintRoot } from '../../support/pki.js';
import { readVectors } from './vectors.js';

interface Published {
  readonly seq?: number | string;
  readonly roots?: readonly string[];
  readonly hint?: number;
}
interface UpdateInput {
  readonly current?: Published;
  readonly fetched?: Published | string | { readonly status: number };
}

const roots = new Map<string, Authority>();
for (const name of ['CA1', 'CA2', 'CA3'])
  roots.set(name, await mintRoot('a.test', { subject: `CN=${name}` }));

const publish = ({ seq, roots: names = [], hint }: Published): TrustBundle =>
  bundleOf(
    names.map((name) => roots.get(name)!),
    { ...(seq === undefined ? {} : { sequence: seq }), ...(hint === undefined ? {} : { hint }) },
  );

t.test('every vector of two bundles or of an interval is judged as it asks', async (t) => {
  let judged = 0;
  for (const { id, input, expect, why } of readVectors<UpdateInput>('bundle-update')) {
    const { current, fetched } = input;
    if (typeof fetched !== 'object' || 'status' in fetched) continue; // those need a server: bundle-endpoint.test.ts
    judged++;
    if (expect.outcome === 'poll') {
      t.equal(refreshIntervalMs(publish(fetched)), Number(expect.nextPollSeconds) * 1000, `${id}: ${why}`);
      continue;
    }
    const before = current === undefined ? undefined : publish(current);
    const { outcome } = judgeBundleUpdate(before, publish(fetched));
    const allowed = expect.allowed ?? [expect.outcome];
    t.ok(allowed.includes(outcome), `${id}: ${why} (${outcome})`);
    const inForce = outcome === 'replace' ? fetched.roots : current?.roots;
    if (Array.isArray(expect.roots)) t.same(inForce, expect.roots, id);
  }
  t.equal(judged, 5);
});

t.test('the sequence orders bundles and never goes back', async (t) => {
  const judge = (current: Published | undefined, fetched: Published) =>
    judgeBundleUpdate(current && publish(current), publish(fetched));
  t.same(judge(undefined, { roots: ['CA1'] }), { outcome: 'replace' });
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 6, roots: ['CA2'] }), { outcome: 'replace' });
  t.same(judge({ seq: 5, roots: ['CA1', 'CA2'] }, { seq: 6, roots: ['CA1'] }), { outcome: 'replace' });
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 6, roots: ['CA1'] }), { outcome: 'replace' }, 'counted on');
  const older = { outcome: 'keep', why: 'its sequence number 4 is older than 5, which is in force' };
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 4, roots: ['CA2'] }), older);
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 4, roots: ['CA1'] }), older);
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 4, roots: [] }), older, 'an old revocation of all, too');
  t.same(judge({ seq: 5, roots: ['CA1', 'CA2'] }, { seq: 5, roots: ['CA2', 'CA1'] }), {
    outcome: 'no-change',
  });
  t.same(judge({ seq: 5, roots: ['CA1'] }, { seq: 5, roots: ['CA2'] }), {
    outcome: 'replace',
    why: 'the bundle changed without a new sequence number (5)',
  });
});

t.test('beyond 2^53 the sequence still counts by one', async (t) => {
  const at = (seq: string) => publish({ seq, roots: ['CA1'] });
  t.equal(judgeBundleUpdate(at('9007199254740993'), at('9007199254740992')).outcome, 'keep');
  t.equal(judgeBundleUpdate(at('9007199254740992'), at('9007199254740993')).outcome, 'replace');
  t.equal(judgeBundleUpdate(at('18446744073709551615'), at('18446744073709551614')).outcome, 'keep');
});

t.test('without a sequence number the latest retrieval wins', async (t) => {
  const judge = (current: Published, fetched: Published) =>
    judgeBundleUpdate(publish(current), publish(fetched));
  t.same(judge({ roots: ['CA1'] }, { roots: ['CA2'] }), { outcome: 'replace' });
  t.same(judge({ roots: ['CA1'] }, { roots: ['CA1'] }), { outcome: 'no-change' });
  t.same(judge({ roots: ['CA1'] }, { seq: 0, roots: ['CA1'] }), { outcome: 'replace' });
  t.same(judge({ seq: 5, roots: ['CA1'] }, { roots: ['CA2'] }), {
    outcome: 'replace',
    why: 'the bundle no longer carries a sequence number; the last one was 5',
  });
});

t.test('an empty bundle distrusts all and is said', async (t) => {
  const why = 'the bundle holds no X.509 authority: every X509-SVID of a.test is refused';
  const empty = publish({ seq: 6, roots: [] });
  t.same(judgeBundleUpdate(publish({ seq: 5, roots: ['CA1'] }), empty), { outcome: 'replace', why });
  t.same(judgeBundleUpdate(undefined, empty), { outcome: 'replace', why });
});

t.test("another domain's bundle never takes the place of this one", async (t) => {
  const other = parseTrustDomain('b.test');
  if (!other.ok) return t.fail(other.error);
  const fetched = parseBundleDocument(other.value, Buffer.from(bundleDocument([roots.get('CA1')!])));
  if (!fetched.ok) return t.fail(fetched.error);
  t.same(judgeBundleUpdate(publish({ roots: ['CA1'] }), fetched.value), {
    outcome: 'keep',
    why: 'the bundle is that of b.test',
  });
});

t.test(
  'a key that was replaced under its id is a change; revocation lists beside the bundle are none',
  async (t) => {
    const plain = publish({ seq: 1, roots: ['CA1'] });
    const key = (x: string) =>
      createTrustBundle({
        ...plain,
        jwtKeys: new Map([['k', { kty: 'EC', crv: 'P-256', x, y: 'y', kid: 'k' }]]),
      });
    t.equal(judgeBundleUpdate(key('x1'), key('x1')).outcome, 'no-change');
    t.equal(judgeBundleUpdate(key('x1'), key('x2')).outcome, 'replace');
    t.equal(judgeBundleUpdate(createTrustBundle({ ...plain, crls: [] }), plain).outcome, 'no-change');
  },
);

t.test('a refresh hint counts between ten seconds and a day', async (t) => {
  const interval = (hint: number) => refreshIntervalMs(publish({ hint }));
  t.equal(interval(600), 600_000);
  t.equal(interval(0), 10_000);
  t.equal(interval(9), 10_000);
  t.equal(interval(86_400), 86_400_000);
  t.equal(interval(86_401), 86_400_000);
  t.equal(interval(Number.MAX_SAFE_INTEGER), 86_400_000);
  t.equal(interval(-5), 300_000, 'no hint that makes sense');
  t.equal(refreshIntervalMs(publish({})), 300_000);
  t.equal(refreshIntervalMs(undefined), 300_000);
  t.equal(refreshIntervalMs(publish({ hint: 7 }), { defaultMs: 1, minMs: 2, maxMs: 5 }), 5);
});
