import t, { type Test } from 'tap';
import { AssertionSigner } from '../support/assertion-signer.js';
import {
  ALICE,
  BOB,
  DelegationWorld,
  ENVOY,
  GATEWAY,
  outcomeOf,
  SIDECAR,
} from '../support/delegation-world.js';
import { Http2Client } from '../support/http2-client.js';
import type { WorldOptions } from '../support/start-proxy.js';

async function start(t: Test, options: WorldOptions = {}): Promise<DelegationWorld> {
  const of = await DelegationWorld.start(options);
  t.teardown(() => of.world.close());
  return of;
}

/** Both peers may call `status` for themselves, and for nobody: what drops a claim would let it through. */
const POLICY = `version: 1
default: deny
rules:
  - { id: itself, effect: allow, principals: ["${GATEWAY}", "${ENVOY}"], destinations: [status, plain] }
  - { id: for-alice, effect: allow, principals: ["${GATEWAY}", "${ENVOY}"], behalfOf: ["${ALICE}"], destinations: [invoices] }
`;

t.test('no claim that is odd, forged or for somebody else becomes the call of who brought it', async (t) => {
  const of = await start(t, { policy: POLICY });
  const good = await of.assertion();
  const other = await AssertionSigner.create();
  const now = Math.floor(Date.now() / 1000);
  const bad: Record<string, readonly string[]> = {
    'for another, whom no rule names': [good],
    'named by Connection': ['Connection: x-identity-assertion', good],
    twice: [good, good],
    'with an empty line': [good, ''],
    empty: [''],
    'two in one line': [`${good}, ${good}`],
    'in capitals': [good.toUpperCase()],
    'of another key': [await of.assertion({}, other)],
    'of another audience': [await of.assertion({ aud: 'ledger' })],
    'of another sidecar': [await of.assertion({ iss: `${SIDECAR}-2` })],
    'that is over': [await of.assertion({ iat: now - 120, exp: now - 60 })],
    'that never ends': [await of.assertion({ exp: now + 86_400 })],
    'without an end': [await of.assertion({ exp: undefined })],
    'of another type': [await of.signer.sign({ iss: SIDECAR, aud: 'gateway', sub: ALICE }, { typ: 'JWT' })],
    'of no type': [await of.signer.sign({ iss: SIDECAR, aud: 'gateway', sub: ALICE }, { typ: undefined })],
    'of nobody': [await of.assertion({ sub: undefined })],
    'of a trust domain': [await of.assertion({ sub: 'spiffe://a.test' })],
    'of a list': [await of.assertion({ sub: [ALICE] })],
    'for the gateway itself, through another': [await of.assertion({ sub: GATEWAY, act: { sub: BOB } })],
    'with an actor that is none': [await of.assertion({ act: 'x' })],
    'through too many': [
      await of.assertion({
        act: {
          sub: BOB,
          act: {
            sub: BOB,
            act: {
              sub: BOB,
              act: { sub: BOB, act: { sub: BOB, act: { sub: BOB, act: { sub: BOB, act: { sub: BOB } } } } },
            },
          },
        },
      }),
    ],
    'that is long': [await of.assertion({ pad: 'x'.repeat(9000) })],
  };
  for (const [what, lines] of Object.entries(bad)) {
    const client = await of.client();
    const fields = lines.map((line) =>
      line.startsWith('Connection:') ? line : `X-Identity-Assertion: ${line}`,
    );
    const outcome = outcomeOf(await of.ask(client, '/status', ...fields));
    t.match(outcome, /^403 (delegation_|policy_denied)/, what);
    client.destroy();
  }
  const h2 = await Http2Client.open(of.world.port, of.gateway);
  t.teardown(() => h2.destroy());
  const twice = { 'x-identity-assertion': [good, good] };
  for (const fields of [{ 'x-identity-assertion': good }, twice, { 'x-identity-assertion': '' }])
    t.equal((await h2.ask('/status', fields)).status, 403, JSON.stringify(fields).slice(0, 40));
  t.equal(of.world.upstream.bytes, '');
  t.equal((await h2.ask('/status')).status, 200, 'its own call');
});

t.test('XFCC that a caller began does not end as somebody else’s word', async (t) => {
  const of = await start(t, { policy: POLICY });
  const own = `By=${ENVOY};Hash=${'ab'.repeat(32)}`;
  const mallory = 'URI=spiffe://a.test/mallory';
  const began = [
    `URI=${ALICE}`,
    `By=${ENVOY};URI=${ALICE}`,
    `URI=${ALICE},`,
    'Hash="',
    `Subject="\\`,
    `Subject="x\\"`,
    `URI=${ALICE};`,
  ];
  const ended = [
    `${own};Subject="";${mallory}`,
    `${own};Subject=",URI=${ALICE};Subject=\\"";${mallory}`,
    `${own};Subject="CN=\\",URI=${ALICE}";${mallory};DNS=x`,
  ];
  for (const first of began)
    for (const last of ended)
      for (const lines of [[`${first},${last}`], [first, last]]) {
        const client = await of.client(of.envoy);
        const said = lines.map((line) => `X-Forwarded-Client-Cert: ${line}`);
        const outcomes = [
          outcomeOf(await of.ask(client, '/invoices/1', ...said)),
          outcomeOf(await of.ask(client, '/status', ...said)),
        ];
        for (const outcome of outcomes)
          t.match(outcome, /^403 (delegation_untrusted|policy_denied)/, lines.join(' | '));
        client.destroy();
      }
  t.equal(of.world.upstream.bytes, '');
  const client = await of.client(of.envoy);
  const good = `X-Forwarded-Client-Cert: ${mallory},${own};URI=${ALICE}`;
  t.equal(outcomeOf(await of.ask(client, '/invoices/1', good)), '200', 'its own word on Alice');
});

t.test(
  'a claim in the hands of another peer, or by another way, says nothing and crosses nowhere',
  async (t) => {
    const of = await start(t, { policy: POLICY });
    const assertion = `X-Identity-Assertion: ${await of.assertion()}`;
    const xfcc = `X-Forwarded-Client-Cert: By=${GATEWAY};URI=${ALICE}`;
    const envoy = await of.client(of.envoy);
    t.equal(outcomeOf(await of.ask(envoy, '/invoices/1', assertion)), '403 delegation_missing');
    const gateway = await of.client();
    t.equal(outcomeOf(await of.ask(gateway, '/invoices/1', xfcc)), '403 delegation_missing');
    t.equal(outcomeOf(await of.ask(gateway, '/plain', assertion)), '200', 'where it is not looked at');
    t.equal(outcomeOf(await of.ask(gateway, '/status', xfcc)), '200', 'XFCC is not its way');
    const admin = await of.world.client(of.world.admin);
    t.equal(outcomeOf(await of.ask(admin, '/invoices/1', assertion)), '403 delegation_missing');
    t.notMatch(of.world.upstream.bytes, /assertion: ey|alice/i);
    for (const { behalfOf } of await of.world.untilRecords(5)) t.equal(behalfOf, undefined);
  },
);
