import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Examples, type RunningExample } from '../support/example.js';
import { mintRoot, type Svid } from '../support/pki.js';
import { newSealKey } from '../support/seal-key.js';
import { mintSigner, type Signer } from '../support/tokens.js';

const ISSUER = 'spiffe://example.org/ns/prod/sa/billing';
const NAME = 'billing.example.com';

/** config/tokens.yaml, with the service of docs/verifiers behind it, and a CI provider of our own. */
class CiWorld {
  readonly #service;
  port = 0;

  private constructor(
    readonly examples: Examples,
    readonly ci: Signer,
    readonly webRoot: string,
  ) {
    const env = {
      ...process.env,
      JWKS: join(examples.dir, 'pki/jwks.json'),
      ISSUER,
      AUDIENCE: 'billing',
      PORT: '0',
    };
    this.#service = spawn(process.execPath, ['docs/verifiers/node/service.mjs'], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
  }

  static async start(t: Test): Promise<[CiWorld, RunningExample]> {
    const examples = await Examples.mint(t);
    const ci = mintSigner('ES256', 'ci-1');
    const web = await mintRoot('web.example');
    const shown = await web.issue('spiffe://web.example/billing', { otherSans: [`DNS:${NAME}`] });
    examples.write('pki/billing-server.pem', shown.chainPem);
    examples.write('pki/billing-server-key.pem', shown.keyPem);
    examples.write('pki/ci-jwks.json', JSON.stringify({ keys: [ci.jwk] }));
    examples.write('pki/assertion.jwk', (await newSealKey()).text);
    const world = new CiWorld(examples, ci, web.certPem);
    t.teardown(() => world.#service.kill('SIGKILL'));
    const [line] = (await once(world.#service.stdout!, 'data')) as [Buffer];
    const service = /listening on (\d+)/.exec(line.toString())?.[1];
    const places = { '0.0.0.0:8443': '127.0.0.1:0', '127.0.0.1:8080': `127.0.0.1:${service}` };
    const example = await examples.run(t, 'tokens.yaml', places);
    world.port = example.port('inbound');
    return [world, example];
  }

  /** As a CI provider makes it for a job. */
  jobToken(repository: string, environment = 'prod', more: object = {}): string {
    const now = Math.floor(Date.now() / 1000);
    const dates = { iat: now, exp: now + 300 };
    const who = { iss: 'https://token.ci.example', sub: `repo:${repository}`, repository, environment };
    return this.ci.sign({ ...dates, ...who, aud: 'billing', jti: `job-${repository}`, ...more });
  }

  /** Without a certificate the client verifies who answers by the web's authorities, as curl in a CI job does. */
  ask(
    method: string,
    path: string,
    who: { token?: string; svid?: Svid },
  ): Promise<{ status: number; body: string; challenge: string | undefined }> {
    const { token, svid } = who;
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const tls =
      svid === undefined
        ? { ca: this.webRoot, servername: NAME }
        : { ca: this.webRoot, servername: NAME, cert: svid.chainPem, key: svid.keyPem };
    return new Promise((resolve, reject) => {
      const call = request(
        {
          host: '127.0.0.1',
          port: this.port,
          method,
          path,
          headers: { host: NAME, ...headers },
          agent: false,
          ...tls,
        },
        (answer) => {
          let body = '';
          answer.setEncoding('utf8').on('data', (chunk: string) => {
            body += chunk;
          });
          answer.on('end', () =>
            resolve({ status: answer.statusCode ?? 0, body, challenge: answer.headers['www-authenticate'] }),
          );
        },
      );
      call.on('error', reject);
      call.end();
    });
  }
}

t.test('tokens.yaml: a job with a token, at a service that verifies for itself who calls', async (t) => {
  const [world, example] = await CiWorld.start(t);
  const job = await world.ask('POST', '/deploys/42', { token: world.jobToken('octo-org/app') });
  t.same(
    [job.status, JSON.parse(job.body)],
    [200, { subject: 'ci:octo-org/app', caller: 'ci:octo-org/app', through: [] }],
  );
  const web = await world.ask('GET', '/invoices/7', { svid: world.examples.svid('web') });
  t.match(
    JSON.parse(web.body),
    { subject: 'spiffe://example.org/ns/prod/sa/web' },
    'a certificate does as well',
  );
  const reports = await world.ask('GET', '/invoices/7', { token: world.jobToken('octo-org/reports') });
  t.match(JSON.parse(reports.body), { subject: 'ci:octo-org/reports' });
  t.equal(
    (await world.ask('POST', '/deploys/42', { token: world.jobToken('octo-org/app', 'test') })).status,
    403,
  );
  t.equal((await world.ask('POST', '/deploys/42', { token: world.jobToken('evil-org/app') })).status, 403);
  t.match(await world.ask('POST', '/deploys/42', {}), { status: 401, challenge: 'Bearer' });
  const expired = world.jobToken('octo-org/app', 'prod', { iat: 1, exp: 300 });
  t.match(await world.ask('POST', '/deploys/42', { token: expired }), {
    status: 401,
    challenge: 'Bearer error="invalid_token"',
  });
  t.equal(
    (await world.ask('GET', '/admin/x', { token: world.jobToken('octo-org/app') })).status,
    403,
    'a certificate, as ever',
  );
  const records = await example.records(8);
  t.match(records, [
    {
      principal: { id: 'ci:octo-org/app', kind: 'token' },
      token: { entry: 'ci', jti: 'job-octo-org/app' },
      decision: { rule: 'ci-deploys' },
      request: { claims: { environment: 'prod' } },
    },
    { principal: { id: 'spiffe://example.org/ns/prod/sa/web' }, decision: { rule: 'web-reads-invoices' } },
    { decision: { rule: 'reports-read-invoices' } },
    { decision: { effect: 'deny', reason: 'no_rule_matched' } },
    { principal: { id: 'ci:evil-org/app' }, decision: { effect: 'deny' } },
    { decision: { reason: 'token_missing' } },
    { decision: { reason: 'token_expired' } },
    { decision: { reason: 'certificate_missing' } },
  ]);
  t.match(
    records[0]?.upstream?.assertion,
    /^\S{16,}$/,
    'the record names the assertion that the service got',
  );
});

t.test(
  'tokens.yaml: a key that the provider takes back ends what it signed, at the next request',
  async (t) => {
    const [world] = await CiWorld.start(t);
    const token = world.jobToken('octo-org/app');
    t.equal((await world.ask('POST', '/deploys/1', { token })).status, 200);
    const other = mintSigner('ES256', 'ci-2');
    world.examples.write('pki/ci-jwks.json.new', JSON.stringify({ keys: [other.jwk] }));

    renameSync(
      join(world.examples.dir, 'pki/ci-jwks.json.new'),
      join(world.examples.dir, 'pki/ci-jwks.json'),
    );
    let status = 200;
    for (let i = 0; i < 200 && status === 200; i++)
      ({ status } = await world.ask('POST', '/deploys/1', { token }));
    t.equal(status, 401);
    t.match(
      readFileSync(join(world.examples.dir, 'pki/jwks.json'), 'utf8'),
      /"kid"/,
      'the service reads our keys there',
    );
  },
);
