import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { importJWK, type JWK, type JWTPayload, SignJWT } from 'jose';
import t, { type Test } from 'tap';
import { newSealKey } from '../support/seal-key.js';
import { World } from '../support/start-proxy.js';

const PYTHON = process.env.PYTHON ?? 'python3';
const hasPyJwt = spawnSync(PYTHON, ['-c', 'import jwt, cryptography']).status === 0;

const verifiers = [
  {
    name: 'Node, with jose',
    command: process.execPath,
    file: 'docs/verifiers/node/service.mjs',
    skip: false,
  },
  {
    name: 'Python, with PyJWT',
    command: PYTHON,
    file: 'docs/verifiers/python/service.py',
    skip: hasPyJwt ? false : 'Python with PyJWT[crypto] is not installed',
  },
  {
    name: 'Go, with go-jose',
    command: process.env.GO_VERIFIER ?? '',
    file: '',
    skip:
      process.env.GO_VERIFIER === undefined ? 'build docs/verifiers/go and name it in GO_VERIFIER' : false,
  },
] as const;

const ISSUER = 'spiffe://a.test/proxy';
const TYPE = 'identity-assertion+jwt';
const policy = `version: 1
default: deny
rules:
  - { id: all, effect: allow, principals: ["spiffe://a.test/**"], destinations: [u] }
`;
const routes = '[{ name: all, host: svc.test, path: /**, upstream: u }]';
const GET = 'GET /who HTTP/1.1\r\nHost: svc.test\r\nX-Identity-Assertion: forged\r\n\r\n';

/** The proxy in front of a verifier that fetches its keys, as a service would, by HTTP. */
class VerifierWorld {
  world!: World;
  port = 0;
  fetches = 0;
  #child: ChildProcess | undefined;
  #keys: Server | undefined;

  static async start(t: Test, verifier: (typeof verifiers)[number], key: string): Promise<VerifierWorld> {
    const made = new VerifierWorld();
    t.teardown(() => made.close());
    const jwks = await made.#serveKeys();
    made.port = await made.#spawn(verifier.command, verifier.file, jwks);
    made.world = await World.start({
      routes,
      policy,
      upstreams: `\n  u: { url: "http://127.0.0.1:${made.port}" }`,
      extra: 'forward: { assertion: { audience: billing, key: assert.jwk } }',
      files: { 'assert.jwk': key },
    });
    return made;
  }

  /** Where the admin listener is to be is not known before the service is. */
  async #serveKeys(): Promise<string> {
    this.#keys = createServer((_, response) => {
      this.fetches++;
      void fetch(`${this.world.adminUrl}/.well-known/jwks.json`).then(async (answer) => {
        response.end(await answer.text());
      });
    });
    await new Promise<void>((resolve) => this.#keys?.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#keys.address() as AddressInfo).port}/.well-known/jwks.json`;
  }

  #spawn(command: string, file: string, jwks: string): Promise<number> {
    const env = { ...process.env, JWKS: jwks, ISSUER, AUDIENCE: 'billing', PORT: '0' };
    const child = spawn(command, [file], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    let said = '';
    return new Promise((resolve, reject) => {
      child.stderr.on('data', (chunk: Buffer) => {
        said += chunk.toString();
      });
      child.stdout.on('data', (chunk: Buffer) => {
        const port = /listening on (\d+)/.exec(chunk.toString())?.[1];
        if (port !== undefined) resolve(Number(port));
      });
      child.once('exit', () => reject(new Error(`${file} ended: ${said}`)));
    });
  }

  /** As somebody who has found the way round the proxy. */
  async askDirectly(assertion: string | undefined): Promise<{ status: number; text: string }> {
    const headers = assertion === undefined ? {} : { 'x-identity-assertion': assertion };
    const answer = await fetch(`http://127.0.0.1:${this.port}/who`, { headers });
    return { status: answer.status, text: await answer.text() };
  }

  async close(): Promise<void> {
    await this.world?.close();
    this.#child?.kill();
    this.#keys?.closeAllConnections();
    this.#keys?.close();
  }
}

const nowS = (): number => Math.floor(Date.now() / 1000);
const claims = (changes: JWTPayload = {}): JWTPayload => ({
  iss: ISSUER,
  sub: 'spiffe://a.test/web',
  aud: 'billing',
  iat: nowS(),
  exp: nowS() + 60,
  jti: 'x',
  ...changes,
});

async function sign(jwk: JWK, kid: string, payload: JWTPayload, typ = TYPE): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'EdDSA', kid, typ })
    .sign(await importJWK(jwk, 'EdDSA'));
}

for (const verifier of verifiers) {
  const { name, skip } = verifier;

  t.test(
    `${name}: the service learns who called, and goes on when the key is changed`,
    { skip },
    async (t) => {
      const [one, two] = [await newSealKey(), await newSealKey('p256')];
      const both = (first: string, second: string): string => `{"keys":[${first},${second}]}`;
      const made = await VerifierWorld.start(t, verifier, both(one.text, two.text));
      const client = await made.world.client();
      const ask = async (): Promise<object> => {
        const [answer] = await client.ask(GET);
        t.equal(answer?.status, 200);
        return JSON.parse(answer?.body ?? '') as object;
      };
      const web = { subject: 'spiffe://a.test/web', caller: 'spiffe://a.test/web', through: [] };
      t.same(await ask(), web);
      made.world.replace('assert.jwk', both(two.text, one.text));
      await made.world.untilSnapshot(() =>
        made.world.records.some(({ event }) => event === 'assertion.key_rotated'),
      );
      t.same(await ask(), web, 'signed by the next key, which was published before it signed');
      t.equal(made.fetches, 1);
    },
  );

  t.test(`${name}: the service knows the caller from whom it acts for`, { skip }, async (t) => {
    const { text, kid } = await newSealKey();
    const made = await VerifierWorld.start(t, verifier, text);
    const act = { sub: 'spiffe://a.test/gw', act: { sub: 'spiffe://a.test/edge', act: { sub: 'ci:first' } } };
    const answer = await made.askDirectly(await sign(JSON.parse(text) as JWK, kid, claims({ act })));
    t.equal(answer.status, 200);
    const through = ['spiffe://a.test/edge', 'ci:first'];
    t.same(JSON.parse(answer.text), {
      subject: 'spiffe://a.test/web',
      caller: 'spiffe://a.test/gw',
      through,
    });
  });

  t.test(
    `${name}: what was not signed for this service, by this sidecar, now, is refused`,
    { skip },
    async (t) => {
      const [own, other] = [await newSealKey(), await newSealKey()];
      const made = await VerifierWorld.start(t, verifier, own.text);
      const jwk = JSON.parse(own.text) as JWK;
      const good = await sign(jwk, own.kid, claims());
      t.equal((await made.askDirectly(good)).status, 200, 'so that the others fail for what they are');
      const [header = '', payload = '', signature = ''] = good.split('.');
      const none = Buffer.from(`{"alg":"none","typ":"${TYPE}"}`).toString('base64url');
      const { sub: _, ...nobody } = claims();
      const cases: readonly (readonly [string, string | undefined])[] = [
        ['nothing', undefined],
        ['no JWT', 'spiffe://a.test/web'],
        ['another key under the same kid', await sign(JSON.parse(other.text) as JWK, own.kid, claims())],
        ['an unknown key', await sign(JSON.parse(other.text) as JWK, other.kid, claims())],
        ['another audience', await sign(jwk, own.kid, claims({ aud: 'ledger' }))],
        ['another issuer', await sign(jwk, own.kid, claims({ iss: 'spiffe://a.test/other' }))],
        ['one that is over', await sign(jwk, own.kid, claims({ iat: nowS() - 120, exp: nowS() - 60 }))],
        ['one without a subject', await sign(jwk, own.kid, nobody)],
        ['another type', await sign(jwk, own.kid, claims(), 'countersign-seal')],
        ['no signature', `${none}.${payload}.`],
        [
          'another payload',
          `${header}.${Buffer.from(JSON.stringify(claims({ sub: 'root' }))).toString('base64url')}.${signature}`,
        ],
        ['two in one line', `${good}, ${good}`],
      ];
      for (const [what, assertion] of cases) {
        const { status, text } = await made.askDirectly(assertion);
        t.equal(status, 401, what);
        t.equal(text, 'not signed for this service\n', what);
      }
    },
  );
}
