import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runAuditKeys } from '../../../src/cli/audit-keys.js';
import { runPki } from '../../../src/cli/pki.js';
import type { Config } from '../../../src/config/config.js';
import { checkSealKey } from '../../../src/config/seal-check.js';
import { err, ok } from '../../../src/reasons.js';
import { toldIo } from '../../support/told-io.js';

interface Run {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function run(verb: typeof runPki | typeof runAuditKeys, cwd: string, ...argv: string[]): Promise<Run> {
  const io = toldIo(cwd);
  return { code: await verb(argv, io), out: io.out, err: io.err };
}

t.test('a key that was made is for its owner alone, and its public half can be published', async (t) => {
  const dir = t.testdir();
  for (const [type, alg] of [
    ['ed25519', 'EdDSA'],
    ['p256', 'ES256'],
  ] as const) {
    const made = await run(runPki, dir, 'seal-key', `${type}.jwk`, '--type', type);
    t.equal(made.code, 0, made.err);
    t.match(made.out, /audit: \{ seal: \{ key: .*\.jwk \} \}/);
    t.match(made.out, /countersign audit keys .*\.jwk > seal-keys\.json/);
    const file = join(dir, `${type}.jwk`);
    t.equal(statSync(file).mode & 0o777, 0o600);
    const jwk = JSON.parse(readFileSync(file, 'utf8')) as { d: string; kid: string };
    const shown = await run(runAuditKeys, dir, `${type}.jwk`, `${type}.jwk`);
    t.equal(shown.code, 0);
    const { keys } = JSON.parse(shown.out) as { keys: { alg: string; kid: string }[] };
    t.same(
      keys.map((key) => [key.alg, key.kid]),
      [[alg, jwk.kid]],
      'each key once',
    );
    t.notOk(`${shown.out}${made.out}`.includes(jwk.d), 'nothing private');
    t.notOk(/"d"/.test(shown.out));
  }
});

t.test('a key is not written over by accident, only where that is asked for', async (t) => {
  const dir = t.testdir();
  await run(runPki, dir, 'seal-key', 'seal.jwk');
  const before = readFileSync(join(dir, 'seal.jwk'), 'utf8');
  const again = await run(runPki, dir, 'seal-key', 'seal.jwk');
  t.equal(again.code, 1);
  t.match(again.err, /is there already; --force replaces it/);
  t.equal(readFileSync(join(dir, 'seal.jwk'), 'utf8'), before);
  t.equal((await run(runPki, dir, 'seal-key', 'seal.jwk', '--force')).code, 0);
  t.not(readFileSync(join(dir, 'seal.jwk'), 'utf8'), before);
});

t.test('wrong usage, and files that hold no such key, are said', async (t) => {
  const dir = t.testdir({ 'text.jwk': '{"kty":"oct","k":"secret"', 'rsa.jwk': '{"kty":"RSA"}' });
  t.match(await run(runPki, dir, 'seal-key'), { code: 64, err: /needs one file to write/ });
  t.match(await run(runPki, dir, 'seal-key', 'a', '--type', 'rsa'), { code: 64, err: /ed25519 or p256/ });
  t.match(await run(runAuditKeys, dir), { code: 64, err: /say which files/ });
  t.match(await run(runAuditKeys, dir, '--nope'), { code: 64, err: /--nope/ });
  const bad = await run(runAuditKeys, dir, 'text.jwk', 'rsa.jwk', 'missing.jwk');
  t.equal(bad.code, 78);
  t.equal(bad.out, '');
  t.same(bad.err.trimEnd().split('\n'), [
    'text.jwk: is not the JSON of a JWK or a JWK set',
    'rsa.jwk: is neither an Ed25519 nor a P-256 (ES256) key',
    'missing.jwk: cannot be read (ENOENT)',
  ]);
});

t.test(
  'check says at the key what is wrong with its file, and warns of one that everybody may read',
  async (t) => {
    const dir = t.testdir();
    await run(runPki, dir, 'seal-key', 'seal.jwk');
    const file = join(dir, 'seal.jwk');
    const config = { audit: { seal: { keyFile: file, everyMs: 1000 } } } as Config;
    const check = () =>
      checkSealKey(
        config,
        (path, message) => ({ file: 'c.yaml', line: 1, column: 1, path: path.join('.'), message }),
        async (path) => {
          try {
            return ok(readFileSync(path));
          } catch {
            return err(`${path}: there is no such file`);
          }
        },
        async (path) => statSync(path).mode,
      );
    t.same(await check(), { problems: [], warnings: [] });
    chmodSync(file, 0o644);
    t.match(await check(), {
      problems: [],
      warnings: [{ path: 'audit.seal.key', message: /every user of this machine can read it/ }],
    });
    writeFileSync(file, '{}');
    t.match((await check()).problems, [
      { path: 'audit.seal.key', message: `${file}: is neither an Ed25519 nor a P-256 (ES256) key` },
    ]);
  },
);

t.test('pki assertion-key makes a key for its owner alone, and says where to name it', async (t) => {
  const dir = t.testdir();
  const made = await run(runPki, dir, 'assertion-key', 'assert.jwk', '--type', 'p256');
  t.equal(made.code, 0);
  t.match(
    made.out,
    /ES256 key [\w-]{43}\nName it in the configuration: forward: \{ assertion: \{ key: .*assert\.jwk/,
  );
  t.equal(statSync(join(dir, 'assert.jwk')).mode & 0o777, 0o600);
  const again = await run(runPki, dir, 'assertion-key', 'assert.jwk');
  t.match(again, { code: 1, err: /is there already; --force replaces it/ });
  t.match(await run(runPki, dir, 'assertion-key'), {
    code: 64,
    err: /assertion-key needs one file to write/,
  });
});
