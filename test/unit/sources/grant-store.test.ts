import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { type ExceptionInput, HOUR_MS } from '../../../src/policy/exception.js';
import { parsePrincipalPattern } from '../../../src/policy/pattern.js';
import { type GrantHost, GrantStore } from '../../../src/sources/grant-store.js';

const NOW = Date.UTC(2026, 10, 21, 10);

function grantOf(id: string, destination: string): ExceptionInput {
  const pattern = parsePrincipalPattern('spiffe://a.test/web');
  if (!pattern.ok) throw new Error(pattern.error);
  const said = { owner: 'team', reason: 'r', by: 'alice', origin: 'grant' } as const;
  return { id, ...said, expiresMs: NOW + HOUR_MS, principals: [pattern.value], destinations: [destination] };
}

t.test('a withdrawn grant is not back in force while another is written under its id', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'countersign-grants-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const file = join(dir, 'grants.yaml');
  const store = new GrantStore(file, 2 * HOUR_MS, () => NOW);
  t.teardown(() => store.close());
  /** What a snapshot would hold that is joined at any time in between. */
  const inForce = (): string[] => store.grants.map(({ destinations }) => destinations.join());
  const seen: string[][] = [];
  let isBlind = false;
  const host: GrantHost = {
    look: async (source) => {
      seen.push(inForce());
      if (!isBlind) await source.refresh();
      seen.push(inForce());
    },
    rejoin: () => void seen.push(inForce()),
  };
  await store.source.loadNow();
  t.match(await store.add([grantOf('G-1', 'old')], host), { ok: true });
  t.same(inForce(), ['old']);
  const written = readFileSync(file);
  isBlind = true; // it cannot be taken out of the file for certain
  const withdrawn = await store.withdraw('G-1', host);
  t.type(withdrawn?.isKept, 'string');
  t.same(inForce(), []);
  writeFileSync(file, written); // and stands there still
  isBlind = false;
  seen.length = 0;
  t.match(await store.add([grantOf('G-1', 'new')], host), { ok: true });
  t.same(inForce(), ['new']);
  t.notOk(
    seen.some((each) => each.includes('old')),
    JSON.stringify(seen),
  );
});
